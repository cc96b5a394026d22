/**
 * The values of expressions. JSON is a value as it stands, so nothing is converted on the way in:
 *
 *     int        number when it is a safe integer, else bigint (one form for each value, so === compares)
 *     string, bool, null, list (array), map with string keys (plain object)
 *     the rest   the classes below, Uint8Array for bytes, CelMap for maps that an expression makes
 *
 * A JSON number with a fraction becomes a {@link Double} where it is first touched.
 */
import * as types from "./types.ts";
import { type CelType, formatType } from "./types.ts";

export type CelInt = number | bigint;
export type CelValue =
  | CelInt
  | string
  | boolean
  | null
  | Uint8Array
  | readonly CelValue[]
  | CelObject
  | { readonly [key: string]: unknown };

/** An error while evaluating; not an Error, since expressions absorb many of them (`||`) and a stack trace costs. */
export class CelError {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }

  toString(): string {
    return this.message;
  }
}

/** The cost limit is reached; nothing absorbs it. */
export class CelCostExceeded extends CelError {
  constructor() {
    super("operation cancelled: actual cost limit exceeded");
  }
}

export const noSuchOverload = () => new CelError("no such overload");
export const noSuchKey = (key: unknown) => new CelError(`no such key: ${String(key)}`);

/** What is neither JSON nor bytes. */
export abstract class CelObject {
  abstract readonly type: CelType;
  abstract equals(other: CelValue): boolean;
  /** What size() and costs see; 1 for scalars. */
  get size(): number {
    return 1;
  }
}

export class Double extends CelObject {
  readonly value: number;

  constructor(value: number) {
    super();
    this.value = value;
  }

  get type(): CelType {
    return types.double;
  }

  equals(other: CelValue): boolean {
    if (other instanceof Double) return this.value === other.value;
    // As doubles, whatever that loses: cel-go's rule.
    if (other instanceof Uint) return this.value === Number(other.value);
    return (typeof other === "number" || typeof other === "bigint") && this.value === Number(other);
  }
}

export class Uint extends CelObject {
  readonly value: bigint;

  constructor(value: bigint) {
    super();
    this.value = value;
  }

  get type(): CelType {
    return types.uint;
  }

  equals(other: CelValue): boolean {
    if (other instanceof Uint) return this.value === other.value;
    if (other instanceof Double) return other.equals(this);
    // biome-ignore lint/suspicious/noDoubleEquals: compares a number with a bigint exactly.
    return (typeof other === "number" || typeof other === "bigint") && this.value == other;
  }
}

export class Timestamp extends CelObject {
  /** Nanoseconds since 1970. */
  readonly ns: bigint;

  constructor(ns: bigint) {
    super();
    this.ns = ns;
  }

  get type(): CelType {
    return types.timestamp;
  }

  equals(other: CelValue): boolean {
    return other instanceof Timestamp && other.ns === this.ns;
  }
}

export class Duration extends CelObject {
  readonly ns: bigint;

  constructor(ns: bigint) {
    super();
    this.ns = ns;
  }

  get type(): CelType {
    return types.duration;
  }

  equals(other: CelValue): boolean {
    return other instanceof Duration && other.ns === this.ns;
  }
}

/** A type as a value: `type(x)`, `int`. */
export class TypeValue extends CelObject {
  readonly value: CelType;

  constructor(value: CelType) {
    super();
    this.value = value;
  }

  get type(): CelType {
    return types.typeType;
  }

  equals(other: CelValue): boolean {
    return other instanceof TypeValue && other.value.name === this.value.name;
  }
}

export class Optional extends CelObject {
  static readonly none = new Optional(undefined);
  readonly value: CelValue | undefined;

  constructor(value: CelValue | undefined) {
    super();
    this.value = value;
  }

  get type(): CelType {
    return types.optionalOf(types.dyn);
  }

  equals(other: CelValue): boolean {
    if (!(other instanceof Optional)) return false;
    if (this.value === undefined || other.value === undefined) return this.value === other.value;
    return equalValues(this.value, other.value);
  }
}

/** A map that an expression made: keys may be int, uint, bool or string, and 1, 1u and 1.0 are the same key. */
export class CelMap extends CelObject {
  readonly entries = new Map<
    string | number | bigint | boolean,
    { readonly key: CelValue; readonly value: CelValue }
  >();

  get type(): CelType {
    return types.mapOf(types.dyn, types.dyn);
  }

  override get size(): number {
    return this.entries.size;
  }

  equals(other: CelValue): boolean {
    return equalMaps(this, other);
  }
}

/** The form in which a key is looked up; undefined for what cannot be one. */
export function keyForm(key: CelValue): string | number | bigint | boolean | undefined {
  switch (typeof key) {
    case "string":
    case "number":
    case "bigint":
    case "boolean":
      return key;
  }
  if (key instanceof Uint) return canonicalInt(key.value);
  if (key instanceof Double && Number.isInteger(key.value)) return canonicalInt(BigInt(key.value));
  return undefined;
}

const maxSafe = BigInt(Number.MAX_SAFE_INTEGER);

/** The one form of an int: a number where that is exact. */
export function canonicalInt(value: bigint): CelInt {
  return value <= maxSafe && value >= -maxSafe ? Number(value) : value;
}

/** Is it a map: a JSON object, or one that an expression made? */
export function isMap(value: CelValue): value is CelMap | { readonly [key: string]: unknown } {
  return (
    value instanceof CelMap ||
    (typeof value === "object" &&
      value !== null &&
      !(value instanceof CelObject) &&
      !Array.isArray(value) &&
      !(value instanceof Uint8Array))
  );
}

/** A value that came from JSON without a schema to say what its numbers are. */
export function fromJson(value: unknown): CelValue {
  return typeof value === "number" && !Number.isSafeInteger(value) ? new Double(value) : (value as CelValue);
}

/** The value of a key, or undefined. */
export function mapGet(map: CelValue, key: CelValue): CelValue | undefined {
  if (map instanceof CelMap) {
    const form = keyForm(key);
    return form === undefined ? undefined : map.entries.get(form)?.value;
  }
  if (typeof key !== "string" || !Object.hasOwn(map as object, key)) return undefined;
  return fromJson((map as Record<string, unknown>)[key]);
}

/** The element at an index, which may be any number that is whole; undefined outside. */
export function elementAt(list: readonly CelValue[], index: CelValue): CelValue | undefined {
  const at = keyForm(index);
  if (typeof at !== "number" && typeof at !== "bigint") {
    throw new CelError(`unsupported index type '${typeNameOf(index)}' in list`);
  }
  return typeof at === "number" && at >= 0 && at < list.length ? fromJson(list[at]) : undefined;
}

export function elementOf(list: readonly CelValue[], index: CelValue): CelValue {
  const value = elementAt(list, index);
  if (value === undefined) throw new CelError(`index out of bounds: ${String(keyForm(index))}`);
  return value;
}

/** Puts an entry into a map that an expression makes. */
export function insert(map: CelMap, key: CelValue, value: CelValue): void {
  const form = key instanceof Double ? undefined : keyForm(key);
  if (form === undefined) throw new CelError("unsupported key type");
  if (map.entries.has(form)) throw new CelError(`insert failed: key ${String(form)} already exists`);
  map.entries.set(form, { key, value });
}

/** The keys of a map, in order. */
export function mapKeys(map: CelValue): CelValue[] {
  if (map instanceof CelMap) return [...map.entries.values()].map(({ key }) => key);
  return Object.keys(map as object);
}

export function mapSize(map: CelValue): number {
  return map instanceof CelMap ? map.entries.size : Object.keys(map as object).length;
}

function equalMaps(a: CelValue, b: CelValue): boolean {
  if (!isMap(b) || mapSize(a) !== mapSize(b)) return false;
  for (const key of mapKeys(a)) {
    const other = mapGet(b, key);
    if (other === undefined || !equalValues(mapGet(a, key)!, other)) return false;
  }
  return true;
}

/** CEL's equality: across numeric types, deep, and false between other types. */
export function equalValues(a: CelValue, b: CelValue): boolean {
  if (a instanceof CelObject) return a.equals(b);
  if (a === b) return true;
  if (b instanceof CelObject) return b.equals(a);
  if (typeof a === "number" && typeof b === "number") return false;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!equalValues(fromJson(a[i]), fromJson(b[i]))) return false;
    return true;
  }
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  return !Array.isArray(b) && !(b instanceof Uint8Array) && equalMaps(a, b);
}

/** Code points, as CEL and Go count strings; the common case needs no walk over surrogates. */
export function stringSize(text: string): number {
  let size = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0xd800 && code <= 0xdbff && i + 1 < text.length) {
      const next = text.charCodeAt(i + 1);
      if (next >= 0xdc00 && next <= 0xdfff) {
        size--;
        i++;
      }
    }
  }
  return size;
}

/** What costs count: elements, entries, code points, bytes; 1 for scalars. */
export function sizeOf(value: CelValue): number {
  if (typeof value === "string") return stringSize(value);
  if (typeof value !== "object" || value === null) return 1;
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length;
  return value instanceof CelObject ? value.size : Object.keys(value).length;
}

/** The type that a value has at run time; parameters are dyn. */
export function typeOfValue(value: CelValue): CelType {
  switch (typeof value) {
    case "number":
      return Number.isSafeInteger(value) ? types.int : types.double;
    case "bigint":
      return types.int;
    case "string":
      return types.string;
    case "boolean":
      return types.bool;
  }
  if (value === null) return types.nullType;
  if (Array.isArray(value)) return types.listOf(types.dyn);
  if (value instanceof Uint8Array) return types.bytes;
  return value instanceof CelObject ? value.type : types.mapOf(types.dyn, types.dyn);
}

/** The name of a value's type, for error texts. */
export const typeNameOf = (value: CelValue) => formatType(typeOfValue(value));
