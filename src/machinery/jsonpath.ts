/**
 * JSONPath as far as printer columns, selectable fields and scale paths of custom resources use it: fields (".a.b",
 * "['a.b']", "\\." in names), indexes and slices, "[*]", "..name", and filters "[?(@.type=="Ready")]".
 * Source: client-go's util/jsonpath.
 */
import { getKey, isRecord } from "./json.ts";

/** The path cannot be read; says where. */
export class JsonPathError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "JsonPathError";
  }
}

type Step = (values: unknown[]) => unknown[];

/** A compiled path: gives all values that it leads to. */
export type JsonPath = (root: unknown) => unknown[];

const children = (value: unknown): unknown[] =>
  Array.isArray(value) ? value : isRecord(value) ? Object.values(value) : [];

const fieldStep =
  (name: string): Step =>
  (values) =>
    values.flatMap((value) => {
      const inner = isRecord(value) ? getKey(value, name) : undefined;
      return inner === undefined ? [] : [inner];
    });

const wildcardStep: Step = (values) => values.flatMap(children);

/** The values themselves and all that is below them. */
function withDescendants(values: unknown[]): unknown[] {
  return values.flatMap((value) => [value, ...withDescendants(children(value))]);
}

function sliceStep(text: string): Step {
  const [start, end, step] = text.split(":").map((part) => (part.trim() === "" ? undefined : Number(part)));
  if (step !== undefined && step <= 0)
    throw new JsonPathError(`invalid array slice [${text}]: the step must be positive`);
  return (values) =>
    values.flatMap((value) =>
      Array.isArray(value) ? value.slice(start, end).filter((_, i) => i % (step ?? 1) === 0) : [],
    );
}

type Operand = (value: unknown) => unknown[];

function readOperand(text: string): Operand {
  const trimmed = text.trim();
  if (trimmed.startsWith("@")) {
    const path = compileSteps(trimmed.slice(1));
    return (value) => path([value]);
  }
  const quoted = /^(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')$/s.exec(trimmed);
  if (quoted) {
    const literal = (quoted[1] ?? quoted[2] ?? "").replace(/\\(.)/gs, "$1");
    return () => [literal];
  }
  if (trimmed === "true" || trimmed === "false") return () => [trimmed === "true"];
  if (trimmed !== "" && !Number.isNaN(Number(trimmed))) return () => [Number(trimmed)];
  throw new JsonPathError(`cannot read ${JSON.stringify(trimmed)} in a filter`);
}

const comparisons: Readonly<Record<string, (a: unknown, b: unknown) => boolean>> = {
  "==": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => (a as number) < (b as number),
  "<=": (a, b) => (a as number) <= (b as number),
  ">": (a, b) => (a as number) > (b as number),
  ">=": (a, b) => (a as number) >= (b as number),
};

function filterStep(text: string): Step {
  // The operator outside quotes.
  const match = /^((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^"'=!<>])*)(==|!=|<=|>=|<|>)(.*)$/s.exec(text);
  const left = readOperand(match ? match[1]! : text);
  const right = match ? readOperand(match[3]!) : undefined;
  const holds = (item: unknown) => {
    const found = left(item);
    if (!right) return found.length > 0;
    const wanted = right(item);
    return found.length > 0 && wanted.length > 0 && comparisons[match![2]!]!(found[0], wanted[0]);
  };
  return (values) => values.flatMap((value) => children(value).filter(holds));
}

/** The index of the bracket that closes the one at `open`, quotes and inner brackets aside. */
function closingBracket(text: string, open: number): number {
  let depth = 0;
  let quote = "";
  for (let i = open; i < text.length; i++) {
    const character = text[i]!;
    if (quote) {
      if (character === "\\") i++;
      else if (character === quote) quote = "";
    } else if (character === '"' || character === "'") quote = character;
    else if (character === "[") depth++;
    else if (character === "]" && --depth === 0) return i;
  }
  throw new JsonPathError(`unterminated array in ${JSON.stringify(text)}`);
}

function bracketStep(inner: string): Step {
  const text = inner.trim();
  if (text === "*") return wildcardStep;
  if (/^-?\d+$/.test(text)) {
    const index = Number(text);
    return (values) => values.flatMap((v) => (Array.isArray(v) && v.at(index) !== undefined ? [v.at(index)] : []));
  }
  if (/^-?\d*:-?\d*(:-?\d*)?$/.test(text)) return sliceStep(text);
  if (/^\?\(.*\)$/s.test(text)) return filterStep(text.slice(2, -1));
  const name = /^(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")$/s.exec(text);
  if (name) return fieldStep((name[1] ?? name[2] ?? "").replace(/\\(.)/gs, "$1"));
  if (/^[A-Za-z_][\w-]*$/.test(text)) return fieldStep(text);
  throw new JsonPathError(`invalid array index [${inner}]`);
}

function compileSteps(path: string): (values: unknown[]) => unknown[] {
  const steps: Step[] = [];
  let at = 0;
  while (at < path.length) {
    if (path[at] === "[") {
      const end = closingBracket(path, at);
      steps.push(bracketStep(path.slice(at + 1, end)));
      at = end + 1;
      continue;
    }
    if (path[at] === "." && path[at + 1] === ".") {
      steps.push(withDescendants);
      at += path[at + 2] === "[" ? 2 : 1;
      continue;
    }
    if (path[at] === ".") at++;
    const name = /^(?:\\.|[^.[\]\\\s])+/s.exec(path.slice(at));
    if (!name) {
      if (at >= path.length) break;
      if (path[at] === "[") continue;
      throw new JsonPathError(`unrecognized character in path: ${JSON.stringify(path.slice(at))}`);
    }
    at += name[0].length;
    steps.push(name[0] === "*" ? wildcardStep : fieldStep(name[0].replace(/\\(.)/gs, "$1")));
  }
  return (values) => steps.reduce((now, step) => step(now), values);
}

/** Compiles ".spec.replicas" (with or without braces and "$"). Throws {@link JsonPathError}. */
export function compileJsonPath(text: string): JsonPath {
  const bare = text.trim().replace(/^\{(.*)\}$/s, "$1");
  const steps = compileSteps(bare.replace(/^\$/, ""));
  return (root) => steps([root]);
}
