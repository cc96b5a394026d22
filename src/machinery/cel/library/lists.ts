/** Kubernetes' lists library, and cel-go's sets. */
import { global, type Library, member, type Overload } from "../functions.ts";
import { costs } from "../sizes.ts";
import { bool, bytes, type CelType, double, duration, int, listOf, param, string, timestamp, uint } from "../types.ts";
import {
  CelError,
  type CelValue,
  Double,
  Duration,
  equalValues,
  fromJson,
  isMap,
  mapGet,
  mapKeys,
  Uint,
} from "../values.ts";
import { checkedInt } from "./numbers.ts";
import { compareValues } from "./standard.ts";

const a = param("T");
const listOfA = listOf(a);

/** What a walk over the whole value costs. */
export function traversalCost(value: CelValue): number {
  if (typeof value === "string") return Math.floor(Buffer.byteLength(value) * costs.stringTraversal);
  if (typeof value !== "object" || value === null) return 1;
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + traversalCost(fromJson(item)), 0);
  if (value instanceof Uint8Array) return Math.floor(value.length * costs.stringTraversal);
  if (!isMap(value)) return 1;
  return mapKeys(value).reduce((sum: number, key) => sum + traversalCost(key) + traversalCost(mapGet(value, key)!), 0);
}

const walk = ([list]: readonly CelValue[]) => traversalCost(list!);

type List = readonly CelValue[];

function isSorted(list: List): boolean {
  for (let i = 1; i < list.length; i++) if (compareValues(fromJson(list[i - 1]), fromJson(list[i])) > 0) return false;
  return true;
}

function extreme(list: List, sign: 1 | -1, name: string): CelValue {
  if (list.length === 0) throw new CelError(`${name} called on empty list`);
  let best = fromJson(list[0]);
  for (const item of list) if (compareValues(fromJson(item), best) * sign > 0) best = fromJson(item);
  return best;
}

function sumOf(list: List, zero: "int" | "uint" | "double" | "duration"): CelValue {
  switch (zero) {
    case "int":
      return checkedInt(list.reduce((sum: bigint, item) => sum + BigInt(item as number), 0n));
    case "uint": {
      const sum = list.reduce((total: bigint, item) => total + (item as Uint).value, 0n);
      if (sum >= 2n ** 64n) throw new CelError("unsigned integer overflow");
      return new Uint(sum);
    }
    case "double":
      return new Double(list.reduce((sum: number, item) => sum + (fromJson(item) as Double).value, 0));
    case "duration":
      return new Duration(list.reduce((sum: bigint, item) => sum + (item as Duration).ns, 0n));
  }
}

const indexOf = (list: List, wanted: CelValue) => list.findIndex((item) => equalValues(fromJson(item), wanted));
const lastIndexOf = (list: List, wanted: CelValue) => list.findLastIndex((item) => equalValues(fromJson(item), wanted));

export const summable: readonly CelType[] = [int, uint, double, duration];
export const comparable: readonly CelType[] = [int, uint, double, bool, duration, timestamp, string, bytes];

const each = (types: readonly CelType[], name: string, make: (type: CelType, id: string) => Overload) =>
  types.map((type) => make(type, `list_${type.kind}_${name}_${type.kind}`));

export const lists: Library = [
  ["isSorted", ...each(comparable, "is_sorted", (type, id) => member(id, [listOf(type)], bool, isSorted, walk))],
  [
    "sum",
    ...each(summable, "sum", (type, id) =>
      member(id, [listOf(type)], type, (list: List) => sumOf(list, type.kind as "int"), walk),
    ),
  ],
  [
    "max",
    ...each(comparable, "max", (type, id) =>
      member(id, [listOf(type)], type, (list: List) => extreme(list, 1, "max"), walk),
    ),
  ],
  [
    "min",
    ...each(comparable, "min", (type, id) =>
      member(id, [listOf(type)], type, (list: List) => extreme(list, -1, "min"), walk),
    ),
  ],
  ["indexOf", member("list_a_index_of_int", [listOfA, a], int, indexOf, walk)],
  ["lastIndexOf", member("list_a_last_index_of_int", [listOfA, a], int, lastIndexOf, walk)],
];

const has = (list: List, wanted: CelValue) => list.some((item) => equalValues(fromJson(item), fromJson(wanted)));
const containsAll = (list: List, wanted: List) => wanted.every((item) => has(list, item));

/** Every element is compared with every other. */
const product = ([x, y]: readonly CelValue[]) => 1 + (x as List).length * (y as List).length;

export const sets: Library = [
  ["sets.contains", global("list_sets_contains_list", [listOfA, listOfA], bool, containsAll, product)],
  [
    "sets.equivalent",
    global(
      "list_sets_equivalent_list",
      [listOfA, listOfA],
      bool,
      (x: List, y: List) => containsAll(x, y) && containsAll(y, x),
      (args) => 2 * product(args) - 1,
    ),
  ],
  [
    "sets.intersects",
    global(
      "list_sets_intersects_list",
      [listOfA, listOfA],
      bool,
      (x: List, y: List) => x.some((item) => has(y, item)),
      product,
    ),
  ],
];
