import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Group, groups } from "./groups.ts";

/** A field of a built-in type as the official client library describes it. */
export interface ModelField {
  /** Name on the wire. */
  readonly name: string;
  /** The library's type text: "Array<V1Container>", "string", "{ [key: string]: string; }", … */
  readonly type: string;
  readonly format: string;
  readonly required: boolean;
  readonly description: string | undefined;
}

export interface Model {
  /** Kubernetes' name of the type: "PodSpec". */
  readonly name: string;
  /** The library's name of it: "V1PodSpec". */
  readonly className: string;
  readonly group: Group;
  readonly description: string | undefined;
  readonly fields: readonly ModelField[];
}

/** The facts of one type that the library lacks, by field name; written as documented in src/api/schema-facts.ts. */
export type TypeFacts = Readonly<Record<string, string>>;

/** The models of every served group-version, by class name. */
export function readModels(genDir: string, factsDir: string): Map<string, Model> {
  const classNames = new Set(
    readdirSync(join(genDir, "models"))
      .filter((file) => file.endsWith(".d.ts"))
      .map((file) => file.slice(0, -".d.ts".length)),
  );
  const models = new Map<string, Model>();
  for (const group of groups) {
    for (const name of Object.keys(readFacts(factsDir, group))) {
      const version = `${group.version[0]!.toUpperCase()}${group.version.slice(1)}`;
      const specific = `${group.prefix}${version}${name}`;
      const className = classNames.has(specific) ? specific : `${version}${name}`;
      // Go packages hold types that no served resource reaches; the library leaves those out.
      if (!classNames.has(className)) continue;
      const earlier = models.get(className);
      const model = readModel(genDir, className, name, group);
      const known = Object.keys(readFacts(factsDir, group)[name]!).filter((field) => field !== "");
      const fits =
        model.fields.every(
          (field) => field.name === "apiVersion" || field.name === "kind" || known.includes(field.name),
        ) && known.length <= model.fields.length;
      if (!fits) continue;
      if (earlier) throw new Error(`Place type "${className}": it fits ${earlier.group.file} and ${group.file}`);
      models.set(className, model);
    }
  }
  return models;
}

const factsCache = new Map<string, Record<string, TypeFacts>>();

/** Our table of one group-version: type name → field name → facts. */
export function readFacts(factsDir: string, group: Group): Record<string, TypeFacts> {
  let facts = factsCache.get(group.file);
  if (!facts) {
    facts = JSON.parse(readFileSync(join(factsDir, `${group.file}.json`), "utf8")) as Record<string, TypeFacts>;
    factsCache.set(group.file, facts);
  }
  return facts;
}

function readModel(genDir: string, className: string, name: string, group: Group): Model {
  const types = readFileSync(join(genDir, "models", `${className}.js`), "utf8");
  const declarations = readFileSync(join(genDir, "models", `${className}.d.ts`), "utf8");
  const table = new RegExp(`${className}\\.attributeTypeMap = (\\[[^]*?\\n\\]|\\[\\]);`).exec(types);
  if (!table) throw new Error(`Read model "${className}": it has no attributeTypeMap`);
  const attributes = JSON.parse(table[1]!) as { name: string; baseName: string; type: string; format: string }[];
  const declared = new Map<string, { required: boolean; description: string | undefined }>();
  const [head = "", body = ""] = declarations.split(`export declare class ${className} {`);
  for (const match of body.matchAll(/(?:\/\*\*\s*\n\s*\* (.*)\n\s*\*\/\s*\n)?\s*'(\w+)'(\?)?: /g)) {
    declared.set(match[2]!, { required: match[3] === undefined, description: plainText(match[1]) });
  }
  return {
    name,
    className,
    group,
    description: plainText(/\/\*\*\s*\n\* (.*)\n\*\/\s*$/.exec(head)?.[1]),
    fields: attributes.map((attribute) => {
      const declaration = declared.get(attribute.name);
      if (!declaration) throw new Error(`Read model "${className}": field "${attribute.name}" is not declared`);
      return { name: attribute.baseName, type: attribute.type, format: attribute.format, ...declaration };
    }),
  };
}

/** The library's comments escape quotes, and comment ends. */
function plainText(text: string | undefined): string | undefined {
  return text?.replaceAll("\\'", "'").replaceAll('\\"', '"').replaceAll("*_/", "*/").trim();
}
