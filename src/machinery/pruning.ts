/** Pruning of custom resources: fields that the structural schema does not know go, all else keeps its text. */
import { isRecord } from "./json.ts";
import type { Schema } from "./schema.ts";

/**
 * Removes unknown fields, in place. `onUnknown` gets the path of each ("spec.list[0].foo"), for warnings and strict
 * validation; a removed subtree is reported once, at its top.
 */
export function pruneUnknown(schema: Schema, value: unknown, onUnknown?: (path: string) => void): void {
  prune(schema, value, "", onUnknown);
}

function prune(schema: Schema, value: unknown, path: string, onUnknown: ((path: string) => void) | undefined): void {
  if (Array.isArray(value)) {
    const { items } = schema;
    if (schema.type === "array" && items) {
      for (const [i, element] of value.entries()) prune(items, element, `${path}[${i}]`, onUnknown);
    }
    return;
  }
  if (!isRecord(value) || (schema.type !== "object" && schema.type !== "map")) return;
  for (const key of Object.keys(value)) {
    const below = path === "" ? key : `${path}.${key}`;
    const field = schema.fields && Object.hasOwn(schema.fields, key) ? schema.fields[key]!.schema : schema.items;
    if (field) prune(field, value[key], below, onUnknown);
    else if (!schema.preserveUnknownFields) {
      delete value[key];
      onUnknown?.(below);
    }
  }
}
