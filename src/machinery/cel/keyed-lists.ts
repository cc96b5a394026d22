/**
 * Lists that are sets or maps by key (x-kubernetes-list-type): order does not count when they are compared, and + joins
 * them as apply would. What a list is, only its type tells, so comparisons are made from types.
 */
import type { CelType } from "./types.ts";
import { type CelValue, equalValues, fromJson, isMap, mapGet, mapKeys, mapSize } from "./values.ts";

type Equal = (a: CelValue, b: CelValue) => boolean;
type List = readonly CelValue[];

const comparisons = new WeakMap<CelType, { readonly equal: Equal | undefined }>();

/** How values of the type compare; undefined: as all values do. */
export function equalityOf(type: CelType | undefined): Equal | undefined {
  if (!type) return undefined;
  let known = comparisons.get(type);
  if (!known) {
    known = { equal: makeEquality(type) };
    comparisons.set(type, known);
  }
  return known.equal;
}

function makeEquality(type: CelType): Equal | undefined {
  switch (type.kind) {
    case "list": {
      const inner = equalityOf(type.params[0]);
      if (type.keyed) return keyedEquality(type, inner ?? equalValues);
      return inner && listEquality(inner);
    }
    case "map": {
      const inner = equalityOf(type.params[1]);
      return inner && mapEquality(() => inner);
    }
    case "object": {
      const fields = new Map<string, Equal>();
      for (const { key, type: of } of type.fields?.values() ?? []) {
        const inner = equalityOf(of);
        if (inner) fields.set(key, inner);
      }
      return fields.size === 0 ? undefined : mapEquality((key) => fields.get(String(key)) ?? equalValues);
    }
    default:
      return undefined;
  }
}

const listEquality =
  (equal: Equal): Equal =>
  (a, b) => {
    if (!Array.isArray(a) || !Array.isArray(b)) return equalValues(a, b);
    return a.length === b.length && a.every((item, i) => equal(fromJson(item), fromJson(b[i])));
  };

const mapEquality =
  (equalOf: (key: CelValue) => Equal): Equal =>
  (a, b) => {
    if (!isMap(a) || !isMap(b)) return equalValues(a, b);
    if (mapSize(a) !== mapSize(b)) return false;
    return mapKeys(a).every((key) => {
      const other = mapGet(b, key);
      return other !== undefined && equalOf(key)(mapGet(a, key)!, other);
    });
  };

/** What makes an element the same one: itself, or its keys. */
function identityOf({ keyed }: CelType): Equal {
  const keys = keyed && !keyed.set ? (keyed.keys ?? []) : undefined;
  if (!keys) return equalValues;
  return (a, b) => {
    if (!isMap(a) || !isMap(b)) return false;
    return keys.every((key) => equalValues(mapGet(a, key) ?? null, mapGet(b, key) ?? null));
  };
}

function keyedEquality(type: CelType, equal: Equal): Equal {
  const same = identityOf(type);
  return (a, b) => {
    if (!Array.isArray(a) || !Array.isArray(b)) return equalValues(a, b);
    if (a.length !== b.length) return false;
    return a.every((item: CelValue) => {
      const other = b.find((candidate: CelValue) => same(fromJson(item), fromJson(candidate)));
      return other !== undefined && equal(fromJson(item), fromJson(other));
    });
  };
}

/** + of the left operand's type; undefined: plain concatenation. */
export function concatenationOf(type: CelType | undefined): ((a: List, b: List) => List) | undefined {
  if (!type?.keyed) return undefined;
  const same = identityOf(type);
  const { set } = type.keyed;
  return (a, b) => {
    const joined = [...a];
    for (const item of b) {
      const at = joined.findIndex((present) => same(fromJson(present), fromJson(item)));
      if (at < 0) joined.push(item);
      else if (!set) joined[at] = item;
    }
    return joined;
  };
}
