/** The fieldPath of a rule: ".spec.replicas", ".limits['cpu']". */
import type { JsonSchemaProps } from "../schema-from-openapi.ts";

const simpleEscapes: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "'": "'",
  "\\": "\\",
};
const step = /\.([^.[\]']+)|\['((?:[^'\\]|\\[abfnrtv'\\])*)'\]/y;

/** The path as field errors write it; undefined: it leads nowhere in the schema. */
export function normalizedFieldPath(path: string, props: JsonSchemaProps): string | undefined {
  let at: JsonSchemaProps | undefined = props;
  let result = "";
  let from = 0;
  while (from < path.length) {
    step.lastIndex = from;
    const match = step.exec(path);
    if (!match) return undefined;
    from = step.lastIndex;
    const name = match[1] ?? match[2]!.replace(/\\(.)/g, (_, letter: string) => simpleEscapes[letter]!);
    if (at.properties) {
      at = Object.hasOwn(at.properties, name) ? at.properties[name] : undefined;
      result += result === "" ? name : `.${name}`;
    } else {
      at = typeof at.additionalProperties === "object" ? at.additionalProperties : undefined;
      result += `[${name}]`;
    }
    if (!at) return undefined;
  }
  return result === "" ? undefined : result;
}
