/**
 * Semantic equality of wire objects, as Kubernetes' equality.Semantic compares them: an absent list, null and an empty
 * list are the same; so are equal quantities and times however they are written.
 */
import { isRecord } from "./json.ts";
import { parseQuantity } from "./quantity.ts";
import type { Schema } from "./schema.ts";

const unset = (value: unknown) => value === undefined || value === null || (Array.isArray(value) && value.length === 0);

function equalQuantities(a: unknown, b: unknown): boolean {
  try {
    return parseQuantity(a as string).compare(parseQuantity(b as string)) === 0;
  } catch {
    return false;
  }
}

/**
 * Compares two JSON values. Without a schema `{}` differs from an absent field, since it may be a set struct
 * (`emptyDir: {}`); with one, an empty map equals an absent one, and quantities and times compare by value.
 */
export function deepEqual(a: unknown, b: unknown, schema?: Schema): boolean {
  if (a === b) return true;
  if (schema?.type === "map") {
    if (unset(a)) a = {};
    if (unset(b)) b = {};
  }
  if (unset(a) || unset(b)) return unset(a) && unset(b);
  if (schema?.type === "quantity") return equalQuantities(a, b);
  if (schema?.type === "time" || schema?.type === "micro-time") {
    return typeof a === "string" && typeof b === "string" && Date.parse(a) === Date.parse(b);
  }
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!deepEqual(a[i], b[i], schema?.items)) return false;
    return true;
  }
  if (!isRecord(a) || !isRecord(b)) return false;
  const inner = (key: string) =>
    schema?.fields && Object.hasOwn(schema.fields, key) ? schema.fields[key]!.schema : schema?.items;
  for (const key of Object.keys(a)) {
    if (!deepEqual(a[key], Object.hasOwn(b, key) ? b[key] : undefined, inner(key))) return false;
  }
  for (const key of Object.keys(b)) {
    if (!Object.hasOwn(a, key) && !deepEqual(undefined, b[key], inner(key))) return false;
  }
  return true;
}
