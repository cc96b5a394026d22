/** cel-go's lists extension, version 3, as Kubernetes has it since v1.34; first and last are with the optionals. */
import { global, type Library, member, pricedByResult } from "../functions.ts";
import { dyn, int, listOf, param } from "../types.ts";
import { CelError, type CelInt, type CelValue, equalValues, fromJson } from "../values.ts";
import { comparable } from "./lists.ts";
import { compareValues } from "./standard.ts";

const a = param("T");
const listOfA = listOf(a);

type List = readonly CelValue[];

/** No evaluation could afford to look at more. */
const maxRange = 1_000_000;

function range(count: CelInt): number[] {
  if (count > maxRange) throw new CelError(`lists.range() of more than ${maxRange} elements`);
  return Array.from({ length: Math.max(0, Number(count)) }, (_, i) => i);
}

function slice(list: List, from: CelInt, to: CelInt): List {
  if (from < 0 || to < 0) throw new CelError(`cannot slice(${from}, ${to}), negative indexes not supported`);
  if (from > to) throw new CelError("cannot slice, start index must be less than or equal to end index");
  if (to > list.length) throw new CelError(`cannot slice(${from}, ${to}), list is length ${list.length}`);
  return list.slice(Number(from), Number(to));
}

function flatten(list: List, depth: CelInt = 1): CelValue[] {
  if (depth < 0) throw new CelError("level must be non-negative");
  // The type of a list in lists of any depth is beyond the compiler.
  return (list as readonly unknown[]).flat(Number(depth) as 1) as CelValue[];
}

function distinct(list: List): CelValue[] {
  const found: CelValue[] = [];
  for (const item of list) {
    const value = fromJson(item);
    if (!found.some((other) => equalValues(other, value))) found.push(value);
  }
  return found;
}

const sort = (list: List) => list.map(fromJson).sort(compareValues);

function sortByKeys(list: List, keys: List): CelValue[] {
  if (list.length !== keys.length) throw new CelError("sortBy() needs a key for each element");
  const order = list.map((_, i) => i).sort((x, y) => compareValues(fromJson(keys[x]), fromJson(keys[y])));
  return order.map((i) => fromJson(list[i]));
}

/** A call, and the list it makes. */
const base = 11;
const madeCost = (made: CelValue) => base + (made as List).length;
const walk = ([list]: readonly CelValue[]) => base + (list as List).length;
/** Every element is compared with every other at worst. */
function square(list: CelValue): number {
  const [first] = list as List;
  const factor = typeof first === "string" || first instanceof Uint8Array ? 2.1 : 2;
  return base + Math.floor((list as List).length ** 2 * factor);
}

export const listExtension: Library = [
  ["lists.range", pricedByResult(global("lists_range", [int], listOf(int), range), madeCost)],
  ["slice", pricedByResult(member("list_slice", [listOfA, int, int], listOfA, slice), madeCost)],
  [
    "flatten",
    member("list_flatten", [listOf(listOfA)], listOfA, flatten, walk),
    member("list_flatten_int", [listOf(dyn), int], listOf(dyn), flatten, ([list, depth]) => {
      return base + (list as List).length * Math.max(0, Number(depth));
    }),
  ],
  ["distinct", member("list_distinct", [listOfA], listOfA, distinct, ([list]) => square(list!))],
  ["reverse", member("list_reverse", [listOfA], listOfA, (list: List) => list.toReversed(), walk)],
  [
    "sort",
    ...comparable.map((type) =>
      member(`list_${type.kind}_sort`, [listOf(type)], listOf(type), sort, ([list]) => square(list!)),
    ),
  ],
  [
    "@sortByAssociatedKeys",
    ...comparable.map((type) =>
      member(`list_${type.kind}_sortByAssociatedKeys`, [listOfA, listOf(type)], listOfA, sortByKeys, ([, keys]) =>
        square(keys!),
      ),
    ),
  ],
];
