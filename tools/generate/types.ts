import type { Group } from "./groups.ts";
import type { Model, ModelField } from "./models.ts";
import type { ServedResource } from "./operations.ts";

/** Types that stand in machinery/object.ts, because everything shares them. */
const objectTypes = new Set(["ObjectMeta", "OwnerReference", "ManagedFieldsEntry", "ListMeta"]);

/** The text of generated/<group>-<version>.ts: wire interfaces, and a constant for each resource. */
export function renderTypes(group: Group, models: ReadonlyMap<string, Model>, resources: ServedResource[]): string {
  const own = [...models.values()].filter((model) => model.group === group && !objectTypes.has(model.name));
  const imports = new Map<string, Set<string>>();
  const use = (file: string, name: string): string => {
    const names = imports.get(file) ?? new Set();
    imports.set(file, names.add(name));
    return name;
  };
  const refer = (className: string): string => {
    const model = models.get(className);
    if (!model) throw new Error(`Render ${group.file}: type "${className}" is in no served group`);
    if (objectTypes.has(model.name)) return use("../../machinery/object.ts", model.name);
    if (model.group === group) return model.name;
    return use(`./${model.group.file}.ts`, model.name);
  };
  const bodies = own.map((model) => renderModel(model, refer, use));
  const constants = resources.map((entry) => {
    use("../../machinery/object.ts", "ResourceType");
    const facts = [
      `group: ${JSON.stringify(group.group)}`,
      `version: ${JSON.stringify(group.version)}`,
      `resource: ${JSON.stringify(entry.resource)}`,
      `kind: ${JSON.stringify(entry.model.name)}`,
      `namespaced: ${entry.namespaced}`,
    ];
    const name = constantName(entry.model.name, entry.resource);
    return `export const ${name}: ResourceType<${refer(entry.model.className)}> = { ${facts.join(", ")} };`;
  });
  const importLines = [...imports]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([file, names]) => `import type { ${[...names].sort().join(", ")} } from "${file}";`);
  const head = "// Made by `npm run generate` from @kubernetes/client-node; changes here are lost.";
  return `${[head, importLines.join("\n"), ...bodies, constants.join("\n")].filter((part) => part !== "").join("\n\n")}\n`;
}

/** "ReplicaSet", "replicasets" → "replicaSets"; "CSINode", "csinodes" → "csiNodes". */
export function constantName(kind: string, resource: string): string {
  let same = 0;
  while (same < kind.length && kind[same]!.toLowerCase() === resource[same]) same++;
  const plural = kind.slice(0, same) + resource.slice(same);
  return plural.replace(/^[A-Z]+(?![a-z])|^[A-Z]/, (start) => start.toLowerCase());
}

function renderModel(
  model: Model,
  refer: (className: string) => string,
  use: (file: string, name: string) => string,
): string {
  const items = model.fields.find((field) => field.name === "items");
  const metadata = model.fields.find((field) => field.name === "metadata");
  if (items && metadata?.type === "V1ListMeta") {
    const element = /^Array<(\w+)>$/.exec(items.type)![1]!;
    return `export type ${model.name} = ${use("../../machinery/object.ts", "KubeList")}<${refer(element)}>;`;
  }
  const topLevel = model.fields.some((field) => field.name === "apiVersion") && metadata?.type === "V1ObjectMeta";
  const lines = model.fields.map((field) => {
    const required = field.required || (topLevel && field.name === "metadata");
    const name = /^[A-Za-z_]\w*$/.test(field.name) ? field.name : JSON.stringify(field.name);
    return `${comment(field.description, "  ")}  ${name}${required ? "" : "?"}: ${typeText(field, refer)};`;
  });
  return `${comment(model.description, "")}export interface ${model.name} {\n${lines.join("\n")}\n}`;
}

function comment(text: string | undefined, indent: string): string {
  return text ? `${indent}/** ${text.replaceAll("*/", "*∕")} */\n` : "";
}

function typeText(field: ModelField, refer: (className: string) => string): string {
  const text = (type: string): string => {
    const array = /^Array<(.*)>$/.exec(type);
    if (array) {
      const element = text(array[1]!);
      return element.includes("|") ? `(${element})[]` : `${element}[]`;
    }
    const map = /^\{ \[key: string\]: (.*); \}$/.exec(type);
    if (map) return `Record<string, ${text(map[1]!)}>`;
    switch (type) {
      case "string":
      case "number":
      case "boolean":
        return type;
      case "Date":
      case "V1MicroTime":
        return "string";
      case "any":
        return "unknown";
      case "IntOrString":
        return "number | string";
      default:
        return refer(type);
    }
  };
  return text(field.type);
}
