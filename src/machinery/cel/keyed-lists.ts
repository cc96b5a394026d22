/**
 * Lists that are sets or maps by key (x-kubernetes-list-type): order does not count when they are compared, and + joins
 * them as apply would. What a list is, only its type tells, so comparisons are made from types.
 */
import type { CelType } from "./types.ts";
import { CelObject, type CelValue, equalValues, fromJson, isMap, mapGet, mapKeys, mapSize } from "./values.ts";

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

/** A text that is the same for the same element: of itself, or of its keys. */
function identityOf({ keyed }: CelType): (item: CelValue) => string {
  const keys = keyed && !keyed.set ? (keyed.keys ?? []) : undefined;
  if (!keys) return textOf;
  return (item) => (isMap(item) ? keys.map((key) => textOf(mapGet(item, key) ?? null)).join("\0") : textOf(item));
}

function textOf(value: CelValue): string {
  if (isMap(value)) {
    const entries = mapKeys(value).map((key) => `${String(key)}\u0001${textOf(mapGet(value, key)!)}`);
    return `{${entries.sort().join("\u0002")}}`;
  }
  if (Array.isArray(value)) return `[${value.map((item) => textOf(fromJson(item))).join("\u0002")}]`;
  if (value instanceof CelObject || value instanceof Uint8Array) {
    return JSON.stringify(value, (_key, item) => (typeof item === "bigint" ? String(item) : item));
  }
  return `${typeof value}:${String(value)}`;
}

function keyedEquality(type: CelType, equal: Equal): Equal {
  const identity = identityOf(type);
  return (a, b) => {
    if (!Array.isArray(a) || !Array.isArray(b)) return equalValues(a, b);
    if (a.length !== b.length) return false;
    const others = new Map<string, CelValue>(b.map((item: unknown) => [identity(fromJson(item)), fromJson(item)]));
    return a.every((item: unknown) => {
      const other = others.get(identity(fromJson(item)));
      return other !== undefined && equal(fromJson(item), other);
    });
  };
}

/** + of the left operand's type; undefined: plain concatenation. */
export function concatenationOf(type: CelType | undefined): ((a: List, b: List) => List) | undefined {
  if (!type?.keyed) return undefined;
  const identity = identityOf(type);
  const { set } = type.keyed;
  return (a, b) => {
    const joined = new Map<string, CelValue>(a.map((item) => [identity(fromJson(item)), item]));
    for (const item of b) {
      const key = identity(fromJson(item));
      if (!set || !joined.has(key)) joined.set(key, item);
    }
    return [...joined.values()];
  };
}
