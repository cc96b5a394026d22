import { type Group, groups } from "./groups.ts";
import { type Model, type ModelField, readFacts } from "./models.ts";

/** Fields that hold any JSON, with the name of the Go type behind them where it is not RawExtension. */
const rawTypes: Readonly<Record<string, string>> = {
  "ManagedFieldsEntry.fieldsV1": "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
  "JSONSchemaProps.default": jsonType("JSON"),
  "JSONSchemaProps.example": jsonType("JSON"),
  "JSONSchemaProps.enum": jsonType("JSON"),
  "JSONSchemaProps.items": jsonType("JSONSchemaPropsOrArray"),
  "JSONSchemaProps.additionalProperties": jsonType("JSONSchemaPropsOrBool"),
  "JSONSchemaProps.additionalItems": jsonType("JSONSchemaPropsOrBool"),
  "CustomResourceSubresources.status": jsonType("CustomResourceSubresourceStatus"),
  "JSONSchemaProps.dependencies": jsonType("JSONSchemaPropsOrStringArray"),
};

function jsonType(name: string): string {
  return `io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.${name}`;
}

type SchemaData = Record<string, Record<string, string>>;

/** The text of generated/schema-data.ts: one JSON text a group-version, in the notation of src/api/schemas.ts. */
export function renderSchemaData(factsDir: string, models: ReadonlyMap<string, Model>): string {
  const entries = groups.map((group) => {
    const data: SchemaData = {};
    for (const model of models.values()) {
      if (model.group === group) data[model.name] = typeData(factsDir, model, models);
    }
    return `  ${JSON.stringify(group.package)}: ${literal(JSON.stringify(data))},`;
  });
  const type = "Readonly<Record<string, string>>";
  return `// Made by \`npm run generate\`; changes here are lost.\n\nexport const schemaData: ${type} = {\n${entries.join("\n")}\n};\n`;
}

/** The text of generated/descriptions.ts: by package a JSON text of { type: { "": its own, field: … } }. */
export function renderDescriptions(models: ReadonlyMap<string, Model>): string {
  const entries = groups.map((group) => {
    const data: SchemaData = {};
    for (const model of models.values()) {
      if (model.group !== group) continue;
      const texts: Record<string, string> = {};
      if (model.description) texts[""] = model.description;
      for (const field of model.fields) if (field.description) texts[field.name] = field.description;
      data[model.name] = texts;
    }
    return `  ${JSON.stringify(group.package)}: ${literal(JSON.stringify(data))},`;
  });
  const type = "Readonly<Record<string, string>>";
  return `// Made by \`npm run generate\`; changes here are lost.\n\nexport const descriptionData: ${type} = {\n${entries.join("\n")}\n};\n`;
}

/** A JavaScript literal with as few escapes as possible. */
function literal(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

function typeData(factsDir: string, model: Model, models: ReadonlyMap<string, Model>): Record<string, string> {
  const facts = readFacts(factsDir, model.group)[model.name]!;
  const data: Record<string, string> = {};
  if (facts[""]) data[""] = facts[""];
  for (const field of model.fields) {
    let fact = facts[field.name];
    // TypeMeta is inlined in Go, and outside the message in protobuf.
    if (fact === undefined && (field.name === "apiVersion" || field.name === "kind")) fact = " o";
    if (fact === undefined) throw new Error(`Render ${model.className}: src/api/facts lacks field "${field.name}"`);
    const [proto = "", empty = "", ...rest] = fact.split(" ");
    const quantity = rest[0] === "q";
    if (quantity) rest.shift();
    const type = typeCode(model, field, quantity, models);
    data[field.name] = [`${type}${field.required ? "!" : ""}`, proto, empty, ...rest].join(" ");
  }
  return data;
}

function typeCode(model: Model, field: ModelField, quantity: boolean, models: ReadonlyMap<string, Model>): string {
  const code = (type: string): string => {
    const array = /^Array<(.*)>$/.exec(type);
    if (array) return `[${code(array[1]!)}`;
    const map = /^\{ \[key: string\]: (.*); \}$/.exec(type);
    if (map) return `{${code(map[1]!)}`;
    switch (type) {
      case "string":
        return quantity ? "q" : field.format === "byte" ? "y" : "s";
      case "number":
        return { int32: "i", int64: "l", double: "d" }[field.format] ?? "i";
      case "boolean":
        return "b";
      case "Date":
        return "t";
      case "V1MicroTime":
        return "u";
      case "IntOrString":
        return "x";
      case "any":
        return `*${rawTypes[`${model.name}.${field.name}`] ?? "io.k8s.apimachinery.pkg.runtime.RawExtension"}`;
      default: {
        const target = models.get(type);
        if (!target) throw new Error(`Render ${model.className}: type "${type}" is in no served group`);
        return target.group === model.group ? `.${target.name}` : `.${target.group.package}.${target.name}`;
      }
    }
  };
  return code(field.type);
}

/** The text of generated/resources.ts. */
export function renderResources(
  resources: readonly {
    group: Group;
    resource: string;
    model: Model;
    namespaced: boolean;
    verbs: ReadonlySet<string>;
    subresources: ReadonlyMap<string, { verbs: ReadonlySet<string>; body: string | undefined }>;
  }[],
  models: ReadonlyMap<string, Model>,
): string {
  const rows = resources.map((entry) => {
    const subresources = [...entry.subresources].sort(([a], [b]) => (a < b ? -1 : 1));
    const texts = subresources.map(([name, { verbs, body }]) => {
      const model = body ? models.get(body) : undefined;
      const other =
        model && model !== entry.model
          ? `, group: ${JSON.stringify(model.group.group)}, version: ${JSON.stringify(model.group.version)}, kind: ${JSON.stringify(model.name)}`
          : "";
      return `${name}: { verbs: ${JSON.stringify([...verbs].sort())}${other} }`;
    });
    return `  { package: ${JSON.stringify(entry.group.package)}, group: ${JSON.stringify(entry.group.group)}, version: ${JSON.stringify(entry.group.version)}, resource: ${JSON.stringify(entry.resource)}, kind: ${JSON.stringify(entry.model.name)}, namespaced: ${entry.namespaced}, verbs: ${JSON.stringify([...entry.verbs].sort())}, subresources: { ${texts.join(", ")} } },`;
  });
  return `// Made by \`npm run generate\`; changes here are lost.
import type { SubresourceFacts, Verb } from "../resource.ts";

export interface ServedResource {
  readonly package: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly Verb[];
  readonly subresources: Readonly<Record<string, SubresourceFacts>>;
}

export const servedResources: readonly ServedResource[] = [
${rows.join("\n")}
];
`;
}
