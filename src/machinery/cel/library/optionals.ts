/** Optional values. Source: cel-go's optional types. */
import { global, type Library, member } from "../functions.ts";
import { bool, dyn, int, listOf, mapOf, optionalOf, param } from "../types.ts";
import {
  CelError,
  CelMap,
  CelObject,
  type CelValue,
  Double,
  Duration,
  elementAt,
  isMap,
  mapGet,
  mapSize,
  Optional,
  Timestamp,
  Uint,
} from "../values.ts";

const v = param("V");
const k = param("K");
const optional = optionalOf(v);

function present({ value }: Optional): CelValue {
  if (value === undefined) throw new CelError("optional.none() dereference");
  return value;
}

const zeroTimestamp = -62_135_596_800_000_000_000n;

function isZero(value: CelValue): boolean {
  if (value === null || value === false || value === 0 || value === "") return true;
  if (typeof value !== "object") return false;
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  if (value instanceof Double) return value.value === 0;
  if (value instanceof Uint) return value.value === 0n;
  if (value instanceof Duration) return value.ns === 0n;
  if (value instanceof Timestamp) return value.ns === zeroTimestamp;
  if (value instanceof Optional) return value.value === undefined;
  if (value instanceof CelObject && !(value instanceof CelMap)) return false;
  return isMap(value) && mapSize(value) === 0;
}

const maybe = (value: CelValue | undefined) => (value === undefined ? Optional.none : new Optional(value));

const at = (list: readonly CelValue[], index: CelValue) => maybe(elementAt(list, index));
const of = (map: CelValue, key: CelValue) => maybe(mapGet(map, key));

/** An index into what may not be there. */
function inner(container: Optional, index: CelValue): Optional {
  const { value } = container;
  if (value === undefined) return Optional.none;
  return Array.isArray(value) ? at(value, index) : of(value, index);
}

export const optionals: Library = [
  ["optional.of", global("optional_of", [v], optional, (value: CelValue) => new Optional(value))],
  [
    "optional.ofNonZeroValue",
    global("optional_ofNonZeroValue", [v], optional, (value: CelValue) =>
      isZero(value) ? Optional.none : new Optional(value),
    ),
  ],
  ["optional.none", global("optional_none", [], optional, () => Optional.none)],
  ["value", member("optional_value", [optional], v, present)],
  ["hasValue", member("optional_hasValue", [optional], bool, ({ value }: Optional) => value !== undefined)],
  [
    "or",
    member("optional_or_optional", [optional, optional], optional, (a: Optional, b: Optional) =>
      a.value === undefined ? b : a,
    ),
  ],
  [
    "orValue",
    member("optional_orValue_value", [optional, v], v, (a: Optional, b: CelValue) => a.value ?? orElse(a, b)),
  ],
  ["_?._", global("select_optional_field", [dyn, dyn], optionalOf(dyn), of)],
  [
    "_[?_]",
    global("list_optindex_optional_int", [listOf(v), int], optional, at),
    global("optional_list_optindex_optional_int", [optionalOf(listOf(v)), int], optional, inner),
    global("map_optindex_optional_value", [mapOf(k, v), k], optional, of),
    global("optional_map_optindex_optional_value", [optionalOf(mapOf(k, v)), k], optional, inner),
  ],
  [
    "_[_]",
    global("optional_list_index_int", [optionalOf(listOf(v)), int], optional, inner),
    global("optional_map_index_value", [optionalOf(mapOf(k, v)), k], optional, inner),
  ],
  ["first", member("list_first", [listOf(v)], optional, (list: readonly CelValue[]) => at(list, 0))],
  ["last", member("list_last", [listOf(v)], optional, (list: readonly CelValue[]) => at(list, list.length - 1))],
  ["optional.unwrap", global("optional_unwrap", [listOf(optional)], listOf(v), unwrap)],
  ["unwrapOpt", member("optional_unwrapOpt", [listOf(optional)], listOf(v), unwrap)],
];

/** A null inside counts as a value. */
function orElse({ value }: Optional, other: CelValue): CelValue {
  return value === undefined ? other : value;
}

function unwrap(list: readonly Optional[]): CelValue[] {
  return list.flatMap(({ value }) => (value === undefined ? [] : [value]));
}
