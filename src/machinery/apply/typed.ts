/**
 * What a schema makes of a value: which parts are one leaf, which lists are keyed, which keys an element has; and the
 * walks over values that apply needs. Source: sigs.k8s.io/structured-merge-diff, typed.
 */
import { getKey, isRecord, setKey, stringifyJson } from "../json.ts";
import type { Schema } from "../schema.ts";
import {
  FieldSet,
  fieldElement,
  keyElement,
  type Path,
  type PathElement,
  printPath,
  valueElement,
} from "./field-set.ts";

/** How apply treats a value: as one leaf, as fields or keys, or as list elements with an identity. */
export type Shape = "leaf" | "map" | "list";

/** Below fields that a schema does not know, kept because it says so: maps are granular, lists are leaves. */
const deduced: Schema = { type: "object", preserveUnknownFields: true };

export function shapeOf(schema: Schema | undefined, value: unknown): Shape {
  if (isRecord(value)) {
    if (schema?.type === "map") return schema.mapType === "atomic" ? "leaf" : "map";
    if (schema?.type === "object" && schema.mapType !== "atomic") return "map";
  } else if (Array.isArray(value) && schema?.type === "array") {
    if (schema.listType === "map" || schema.listType === "set") return "list";
  }
  return "leaf";
}

/** The schema of a field or key; undefined when the schema does not know it. */
export function fieldSchema(schema: Schema, key: string): Schema | undefined {
  if (schema.fields && Object.hasOwn(schema.fields, key)) return schema.fields[key]!.schema;
  if (schema.items) return schema.items;
  return schema.preserveUnknownFields ? deduced : undefined;
}

const isDeclared = (schema: Schema, key: string) => schema.fields !== undefined && Object.hasOwn(schema.fields, key);

/** The value does not fit its schema in a way that apply cannot work with. */
export class TypedError extends Error {
  constructor(path: Path, message: string) {
    super(`${printPath(path)}: ${message}`);
    this.name = "TypedError";
  }
}

/** The identity of an element of a keyed list or set. Throws {@link TypedError} when a key is missing. */
export function elementOf(schema: Schema, value: unknown, path: Path): PathElement {
  if (schema.listType === "set") return valueElement(value);
  if (!isRecord(value)) throw new TypedError(path, "associative list with keys may not have non-map elements");
  const keys: Record<string, unknown> = {};
  for (const key of schema.listMapKeys ?? []) {
    const own = getKey(value, key) ?? schema.items?.fields?.[key]?.default;
    // An absent key without a default still identifies when another key is there.
    if (own !== undefined && own !== null) keys[key] = own;
  }
  if (Object.keys(keys).length === 0) {
    const names = (schema.listMapKeys ?? []).map((key) => JSON.stringify(key)).join(", ");
    throw new TypedError(
      path,
      `associative list with keys has an element that omits key field ${names} (and doesn't have default value)`,
    );
  }
  return keyElement(keys);
}

/** The elements of a list by identity, in order; a list may hold the same identity twice. */
export function elementsOf(schema: Schema, list: readonly unknown[], path: Path): Map<PathElement, unknown[]> {
  const elements = new Map<PathElement, unknown[]>();
  for (const value of list) {
    const element = elementOf(schema, value, path);
    const same = elements.get(element);
    if (same) same.push(value);
    else elements.set(element, [value]);
  }
  return elements;
}

/** Equality of JSON values; the order of keys does not matter. */
export function equalJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((value, i) => equalJson(value, b[i]));
  }
  if (!isRecord(a) || !isRecord(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => Object.hasOwn(b, key) && equalJson(a[key], b[key]));
}

const isEmptyMap = (value: unknown) => isRecord(value) && Object.keys(value).length === 0;

/** The fields that a value sets: what its applier owns. Throws {@link TypedError}. */
export function fieldSetOf(schema: Schema, value: unknown): FieldSet {
  const set = new FieldSet();
  if (shapeOf(schema, value) === "map") collect(schema, value, set, []);
  return set;
}

/** Adds what is set inside a map or list to `set`, which stands at its path. */
function collect(schema: Schema, value: unknown, set: FieldSet, path: Path): void {
  if (Array.isArray(value)) {
    for (const [element, same] of elementsOf(schema, value, path)) {
      set.members.add(element);
      for (const item of same) collectBelow(schema.items, item, set, [...path, element]);
    }
    return;
  }
  for (const [key, inner] of Object.entries(value as Record<string, unknown>)) {
    const element = fieldElement(key);
    const below = fieldSchema(schema, key);
    const shape = shapeOf(below, inner);
    if (inner === null || isEmptyMap(inner) || !isDeclared(schema, key) || shape === "leaf") set.members.add(element);
    collectBelow(below, inner, set, [...path, element]);
  }
}

function collectBelow(schema: Schema | undefined, value: unknown, set: FieldSet, path: Path): void {
  if (!schema || shapeOf(schema, value) === "leaf") return;
  if (Array.isArray(value) ? value.length > 0 : !isEmptyMap(value)) {
    collect(schema, value, set.descend(path.at(-1)!), path);
  }
}

/** What differs between two values. */
export interface Comparison {
  readonly added: FieldSet;
  readonly modified: FieldSet;
  readonly removed: FieldSet;
}

const absent = Symbol("absent");

/** Compares two objects field by field. Throws {@link TypedError}. */
export function compare(schema: Schema, before: unknown, after: unknown): Comparison {
  const comparison = { added: new FieldSet(), modified: new FieldSet(), removed: new FieldSet() };
  compareMaps(schema, before, after, comparison, []);
  return comparison;
}

/** `path` is one array that grows and shrinks with the walk: most fields are equal, and need no path of their own. */
function compareMaps(schema: Schema, before: unknown, after: unknown, to: Comparison, path: PathElement[]): void {
  const left = isRecord(before) ? before : {};
  const right = isRecord(after) ? after : {};
  for (const key of Object.keys(left)) {
    const is = Object.hasOwn(right, key) ? right[key] : absent;
    if (is === left[key]) continue;
    path.push(fieldElement(key));
    compareAt(fieldSchema(schema, key), left[key], is, to, path);
    path.pop();
  }
  for (const key of Object.keys(right)) {
    if (Object.hasOwn(left, key)) continue;
    path.push(fieldElement(key));
    compareAt(fieldSchema(schema, key), absent, right[key], to, path);
    path.pop();
  }
}

const isEmptyOrUnset = (value: unknown) =>
  value === absent || value === null || (Array.isArray(value) && value.length === 0) || isEmptyMap(value);

function compareAt(
  schema: Schema | undefined,
  before: unknown,
  after: unknown,
  to: Comparison,
  path: PathElement[],
): void {
  const shape = shapeOf(schema, after === absent || after === null ? before : after);
  const other = before === absent || before === null ? shape : shapeOf(schema, before);
  if (!schema || shape === "leaf" || shape !== other || (isEmptyOrUnset(before) && isEmptyOrUnset(after))) {
    if (before === absent) to.added.insert(path);
    else if (after === absent) to.removed.insert(path);
    else if (!equalJson(before, after)) to.modified.insert(path);
    // A leaf that became a container (or the reverse) leaves no trace of its former fields.
    return;
  }
  if (shape === "map") compareMaps(schema, before, after, to, path);
  else compareLists(schema, before, after, to, path);
  if (before === absent) to.added.insert(path);
  else if (after === absent) to.removed.insert(path);
}

function compareLists(schema: Schema, before: unknown, after: unknown, to: Comparison, path: PathElement[]): void {
  const left = elementsOf(schema, Array.isArray(before) ? before : [], path);
  const right = elementsOf(schema, Array.isArray(after) ? after : [], path);
  for (const element of new Set([...left.keys(), ...right.keys()])) {
    const was = left.get(element);
    const is = right.get(element);
    path.push(element);
    if ((was?.length ?? 1) === 1 && (is?.length ?? 1) === 1) {
      compareAt(schema.items, was ? was[0] : absent, is ? is[0] : absent, to, path);
    } else if (!was) to.added.insert(path);
    else if (!is) to.removed.insert(path);
    else if (!equalJson(was, is)) to.modified.insert(path);
    path.pop();
  }
}

/** Puts `applied` over `live`: leaves of `applied` win, what only `live` has stays. Values are shared, not copied. */
export function mergeTyped(schema: Schema | undefined, live: unknown, applied: unknown, path: Path = []): unknown {
  if (applied === undefined) return live;
  const shape = shapeOf(schema, applied);
  const nothing = live === undefined || live === null;
  if (!schema || nothing || shape === "leaf" || shapeOf(schema, live) !== shape) {
    return applied;
  }
  if (shape === "list") return mergeLists(schema, live as unknown[], applied as unknown[], path);
  const left = live as Record<string, unknown>;
  const right = applied as Record<string, unknown>;
  const merged: Record<string, unknown> = {};
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    const below = [...path, fieldElement(key)];
    setKey(merged, key, mergeTyped(fieldSchema(schema, key), getKey(left, key), getKey(right, key), below));
  }
  return merged;
}

/**
 * The applied order wins. Elements that only the live list has come as early as their place before the next shared
 * element allows.
 */
function mergeLists(schema: Schema, live: unknown[], applied: unknown[], path: Path): unknown[] {
  const right = elementsOf(schema, applied, path);
  for (const [element, same] of right) {
    if (same.length > 1) throw new TypedError(path, `duplicate entries for key ${printPath([element])}`);
  }
  const left = elementsOf(schema, live, path);
  const liveOrder = live.map((value) => elementOf(schema, value, path));
  const appliedOrder = [...right.keys()];
  const shared = appliedOrder.filter((element) => left.has(element));
  const merged: unknown[] = [];
  const take = (element: PathElement) => {
    if (element === shared[0]) shared.shift();
    const was = left.get(element);
    // Where the live list holds an identity twice, there is nothing to merge with.
    const base = was?.length === 1 ? was[0] : undefined;
    merged.push(mergeTyped(schema.items, base, right.get(element)![0], [...path, element]));
  };
  let i = 0;
  let j = 0;
  while (i < liveOrder.length || j < appliedOrder.length) {
    const mine = liveOrder[i];
    if (mine === undefined) take(appliedOrder[j++]!);
    else if (!right.has(mine)) merged.push(live[i++]);
    // A shared element whose turn is over, or has not come: it is put where the applied list has it.
    else if (j >= appliedOrder.length || (mine !== appliedOrder[j] && mine !== shared[0])) i++;
    else {
      if (mine === appliedOrder[j]) i++;
      take(appliedOrder[j++]!);
    }
  }
  return merged;
}

/** The value without the fields and elements of the set; containers that lose everything stay, empty. */
export function removeFields(schema: Schema | undefined, value: unknown, set: FieldSet, path: Path = []): unknown {
  const shape = shapeOf(schema, value);
  if (!schema || shape === "leaf" || set.empty) return value;
  if (shape === "list") {
    const kept: unknown[] = [];
    for (const item of value as unknown[]) {
      const element = elementOf(schema, item, path);
      if (set.members.has(element)) continue;
      const child = set.children.get(element);
      kept.push(child ? removeFields(schema.items, item, child, [...path, element]) : item);
    }
    return kept;
  }
  const kept: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value as Record<string, unknown>)) {
    const element = fieldElement(key);
    if (set.members.has(element)) continue;
    const child = set.children.get(element);
    setKey(kept, key, child ? removeFields(fieldSchema(schema, key), inner, child, [...path, element]) : inner);
  }
  return kept;
}

/** What an applied configuration must not contain. Returns texts such as ".spec.foo: field not declared in schema". */
export function validateTyped(schema: Schema, value: unknown, path: Path = []): string[] {
  const wrong = (message: string) => [`${printPath(path)}: ${message}`];
  if (value === null || value === undefined) return [];
  // An object that keeps everything and declares nothing stands for any value.
  if (schema.preserveUnknownFields && !isRecord(value) && !Object.keys(schema.fields ?? {}).length) return [];
  switch (schema.type) {
    case "object":
    case "map": {
      if (!isRecord(value)) return wrong(`expected map, got ${stringifyJson(value)}`);
      return Object.entries(value).flatMap(([key, inner]) => {
        const below = fieldSchema(schema, key);
        const at = [...path, fieldElement(key)];
        if (!below) return schema.mapType === "atomic" ? [] : [`${printPath(at)}: field not declared in schema`];
        return validateTyped(below, inner, at);
      });
    }
    case "array": {
      if (!Array.isArray(value)) return wrong(`expected list, got ${stringifyJson(value)}`);
      const keyed = schema.listType === "map" || schema.listType === "set";
      const seen = new Set<PathElement>();
      return value.flatMap((item, i) => {
        let element: PathElement = `i:${i}`;
        if (keyed) {
          try {
            element = elementOf(schema, item, path);
          } catch (error) {
            const text = (error as Error).message;
            return wrong(`element ${i}: ${text.slice(text.indexOf(": ") + 2)}`);
          }
          if (seen.has(element)) return wrong(`duplicate entries for key ${printPath([element])}`);
          seen.add(element);
        }
        return schema.items ? validateTyped(schema.items, item, [...path, element]) : [];
      });
    }
    case "string":
    case "time":
    case "micro-time":
    case "bytes":
      return typeof value === "string" ? [] : wrong(`expected string, got ${stringifyJson(value)}`);
    case "boolean":
      return typeof value === "boolean" ? [] : wrong(`expected boolean, got ${stringifyJson(value)}`);
    case "integer":
    case "number":
      return typeof value === "number" || typeof value === "bigint"
        ? []
        : wrong(`expected numeric (int or float), got ${stringifyJson(value)}`);
    default:
      return [];
  }
}
