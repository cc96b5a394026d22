/** OpenAPI v2 of several servers in one document. */
import { isDeepStrictEqual } from "node:util";
import { isRecord } from "../../machinery/json.ts";

type Document = Record<string, unknown>;

const prefix = "#/definitions/";

/** Names of all definitions that a value refers to, over others or directly. */
export function reachable(value: unknown, definitions: Document): Set<string> {
  const found = new Set<string>();
  const visit = (part: unknown): void => {
    if (Array.isArray(part)) for (const item of part) visit(item);
    if (!isRecord(part)) return;
    for (const [key, item] of Object.entries(part)) {
      if (key !== "$ref" || typeof item !== "string" || !item.startsWith(prefix)) {
        visit(item);
        continue;
      }
      const name = item.slice(prefix.length);
      if (found.has(name)) continue;
      found.add(name);
      visit(definitions[name]);
    }
  };
  visit(value);
  return found;
}

function renamed(value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (Array.isArray(value)) return value.map((item) => renamed(item, names));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      if (key !== "$ref" || typeof item !== "string") return [key, renamed(item, names)];
      const name = item.slice(prefix.length);
      return [key, prefix + (names.get(name) ?? name)];
    }),
  );
}

const recordOf = (value: unknown): Document => (isRecord(value) ? value : {});

/**
 * `own` with the paths of `other` below `path` ("/apis/g/v/") and the definitions that these need. A definition of a name
 * that stands for something else already gets another name. Neither argument is changed.
 */
export function mergeOpenApiV2(own: Document, other: Document, path: string): Document {
  const definitions = { ...recordOf(own["definitions"]) };
  const paths = { ...recordOf(own["paths"]) };
  const foreign = recordOf(other["definitions"]);
  const added = Object.entries(recordOf(other["paths"])).filter(
    ([key]) => key.startsWith(path) && !Object.hasOwn(paths, key),
  );
  const needed = reachable(
    added.map(([, item]) => item),
    foreign,
  );
  const names = new Map<string, string>();
  for (const name of needed) {
    let free = name;
    for (let count = 2; Object.hasOwn(definitions, free); count++) {
      if (isDeepStrictEqual(definitions[free], foreign[name])) break;
      free = `${name}_v${count}`;
    }
    if (free !== name) names.set(name, free);
  }
  for (const name of needed) {
    if (foreign[name] !== undefined) definitions[names.get(name) ?? name] ??= renamed(foreign[name], names);
  }
  for (const [key, item] of added) paths[key] = renamed(item, names);
  return { ...own, paths, definitions };
}
