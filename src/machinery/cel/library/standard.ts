/** What every CEL environment has besides numbers and times. Source: the CEL language definition. */
import { global, type Library, member } from "../functions.ts";
import { matches } from "../regex.ts";
import { costs } from "../sizes.ts";
import { bool, bytes, duration, int, listOf, mapOf, param, string, timestamp, typeOf } from "../types.ts";
import {
  CelError,
  CelMap,
  type CelValue,
  Double,
  type Duration,
  elementOf,
  equalValues,
  fromJson,
  insert,
  mapGet,
  mapKeys,
  mapSize,
  noSuchOverload,
  sizeOf,
  stringSize,
  type Timestamp,
  TypeValue,
  typeOfValue,
} from "../values.ts";
import { noConversion, numericOrder } from "./numbers.ts";

const a = param("A");
const b = param("B");
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const walk = (size: number) => Math.ceil(size * costs.stringTraversal);
const walkFirst = ([text]: readonly CelValue[]) => walk(sizeOf(text!));
const walkSecond = ([, text]: readonly CelValue[]) => walk(sizeOf(text!));
const walkBoth = ([x, y]: readonly CelValue[]) => walk(sizeOf(x!) + sizeOf(y!));
const walkShorter = ([x, y]: readonly CelValue[]) => walk(Math.min(sizeOf(x!), sizeOf(y!)));

/** RE2's work: the text's length times the expression's. */
export const matchCost = ([text, pattern]: readonly CelValue[]) =>
  walk(sizeOf(text!) + 1) * Math.ceil(sizeOf(pattern!) * costs.regexLength);

/** Code points decide, not UTF-16 units: they differ above U+FFFF. */
export function compareText(x: string, y: string): number {
  if (x === y) return 0;
  const end = Math.min(x.length, y.length);
  for (let i = 0; i < end; i++) {
    const [p, q] = [x.charCodeAt(i), y.charCodeAt(i)];
    if (p !== q) {
      const isHigh = (code: number) => code >= 0xd800 && code <= 0xdfff;
      return isHigh(p) === isHigh(q) ? p - q : isHigh(p) ? 1 : -1;
    }
  }
  return x.length - y.length;
}

/** Any two values of one type that has an order, less than zero when the first comes first. */
export function compareValues(x: CelValue, y: CelValue): number {
  if (typeof x === "string" && typeof y === "string") return compareText(x, y);
  if (typeof x === "boolean" && typeof y === "boolean") return Number(x) - Number(y);
  if (x instanceof Uint8Array && y instanceof Uint8Array) return Buffer.compare(x, y);
  const plain = (value: CelValue) => {
    if (typeof value === "number" || typeof value === "bigint") return value;
    if (value instanceof Double) return value.value;
    if (typeof value === "object" && value !== null) {
      if ("ns" in value) return value["ns"] as bigint;
      if ("value" in value && typeof value["value"] === "bigint") return value["value"];
    }
    throw noSuchOverload();
  };
  const [p, q] = [plain(x), plain(y)];
  return p < q ? -1 : p > q ? 1 : 0;
}

function order(name: string, symbol: string, holds: (sign: number) => boolean): Library[number] {
  const text = (x: string, y: string) => holds(compareText(x, y));
  const compare = (x: number | bigint, y: number | bigint): boolean => {
    if (symbol === "_<_") return x < y;
    if (symbol === "_<=_") return x <= y;
    return symbol === "_>_" ? x > y : x >= y;
  };
  const moments = (x: Timestamp | Duration, y: Timestamp | Duration) => compare(x.ns, y.ns);
  return [
    symbol,
    global(`${name}_bool`, [bool, bool], bool, (x: boolean, y: boolean) => holds(Number(x) - Number(y))),
    ...numericOrder(name, compare),
    global(`${name}_string`, [string, string], bool, text, walkShorter),
    global(
      `${name}_bytes`,
      [bytes, bytes],
      bool,
      (x: Uint8Array, y: Uint8Array) => holds(Buffer.compare(x, y)),
      walkShorter,
    ),
    global(`${name}_timestamp`, [timestamp, timestamp], bool, moments),
    global(`${name}_duration`, [duration, duration], bool, moments),
  ];
}

function inList(value: CelValue, list: readonly CelValue[]): boolean {
  for (const item of list) if (equalValues(value, fromJson(item))) return true;
  return false;
}

function decode(value: Uint8Array): string {
  try {
    return utf8.decode(value);
  } catch {
    throw new CelError("invalid UTF-8 in bytes, cannot convert to string");
  }
}

function toBool(text: string): boolean {
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(text)) return false;
  throw noConversion("bool");
}

/** A copy of a map with one more entry, or with those of another map. */
function mapInsert(map: CelValue, ...rest: CelValue[]): CelValue {
  const copy = new CelMap();
  for (const key of mapKeys(map)) insert(copy, key, mapGet(map, key)!);
  if (rest.length === 2) insert(copy, rest[0]!, rest[1]!);
  else for (const key of mapKeys(rest[0]!)) insert(copy, key, mapGet(rest[0]!, key)!);
  return copy;
}

const listOfA = listOf(a);
const mapOfAB = mapOf(a, b);

export const standard: Library = [
  // The compiler runs these, and indexing, itself; the checker needs their types.
  ["_?_:_", global("conditional", [bool, a, a], a, (c: boolean, x: CelValue, y: CelValue) => (c ? x : y))],
  ["_&&_", global("logical_and", [bool, bool], bool, (x: boolean, y: boolean) => x && y)],
  ["_||_", global("logical_or", [bool, bool], bool, (x: boolean, y: boolean) => x || y)],
  ["_==_", global("equals", [a, a], bool, equalValues)],
  ["_!=_", global("not_equals", [a, a], bool, (x: CelValue, y: CelValue) => !equalValues(x, y))],
  ["!_", global("logical_not", [bool], bool, (x: boolean) => !x)],
  ["@not_strictly_false", global("not_strictly_false", [bool], bool, (x: CelValue) => x !== false)],
  order("less", "_<_", (sign) => sign < 0),
  order("less_equals", "_<=_", (sign) => sign <= 0),
  order("greater", "_>_", (sign) => sign > 0),
  order("greater_equals", "_>=_", (sign) => sign >= 0),
  [
    "_+_",
    global("add_string", [string, string], string, (x: string, y: string) => x + y, walkBoth),
    global("add_bytes", [bytes, bytes], bytes, (x: Uint8Array, y: Uint8Array) => Buffer.concat([x, y]), walkBoth),
    global("add_list", [listOfA, listOfA], listOfA, (x: CelValue[], y: CelValue[]) => x.concat(y)),
  ],
  [
    "_[_]",
    global("index_list", [listOfA, int], a, elementOf),
    global("index_map", [mapOfAB, a], b, (map: CelValue, key: CelValue) => mapGet(map, key) ?? null),
  ],
  [
    "@in",
    global("in_list", [a, listOfA], bool, inList, ([, list]) => sizeOf(list!)),
    global("in_map", [a, mapOfAB], bool, (key: CelValue, map: CelValue) => mapGet(map, key) !== undefined),
  ],
  [
    "size",
    global("size_string", [string], int, stringSize),
    member("string_size", [string], int, stringSize),
    global("size_bytes", [bytes], int, (value: Uint8Array) => value.length),
    member("bytes_size", [bytes], int, (value: Uint8Array) => value.length),
    global("size_list", [listOfA], int, (list: readonly CelValue[]) => list.length),
    member("list_size", [listOfA], int, (list: readonly CelValue[]) => list.length),
    global("size_map", [mapOfAB], int, mapSize),
    member("map_size", [mapOfAB], int, mapSize),
  ],
  [
    "contains",
    member("contains_string", [string, string], bool, (x: string, y: string) => x.includes(y), containsCost),
  ],
  ["endsWith", member("ends_with_string", [string, string], bool, (x: string, y: string) => x.endsWith(y), walkFirst)],
  [
    "startsWith",
    member("starts_with_string", [string, string], bool, (x: string, y: string) => x.startsWith(y), walkFirst),
  ],
  [
    "matches",
    member("matches_string", [string, string], bool, matches, matchCost),
    global("matches", [string, string], bool, matches, matchCost),
  ],
  ["type", global("type", [a], typeOf(a), (value: CelValue) => new TypeValue(typeOfValue(value)))],
  ["bool", global("bool_to_bool", [bool], bool, (x: boolean) => x), global("string_to_bool", [string], bool, toBool)],
  [
    "bytes",
    global("bytes_to_bytes", [bytes], bytes, (x: Uint8Array) => x),
    global("string_to_bytes", [string], bytes, (x: string) => Buffer.from(x, "utf8"), walkFirst),
  ],
  [
    "string",
    global("string_to_string", [string], string, (x: string) => x),
    global("bool_to_string", [bool], string, (x: boolean) => String(x)),
    global("bytes_to_string", [bytes], string, decode, walkFirst),
  ],
  [
    "cel.@mapInsert",
    global("@mapInsert_map_map", [mapOfAB, mapOfAB], mapOfAB, mapInsert),
    global("@mapInsert_map_key_value", [mapOfAB, a, b], mapOfAB, mapInsert),
  ],
];

function containsCost(args: readonly CelValue[]): number {
  return walkFirst(args) * walkSecond(args);
}
