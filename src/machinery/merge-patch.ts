/** JSON merge patch (RFC 7386). */
import { cloneJson, isRecord, setKey } from "./json.ts";

/** The patched document, as a new value; null removes, objects merge, all else replaces. */
export function applyMergePatch(document: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return cloneJson(patch);
  const result: Record<string, unknown> = {};
  if (isRecord(document)) {
    for (const key of Object.keys(document)) {
      if (!Object.hasOwn(patch, key)) setKey(result, key, cloneJson(document[key]));
      else if (patch[key] !== null) setKey(result, key, applyMergePatch(document[key], patch[key]));
    }
  }
  for (const key of Object.keys(patch)) {
    if (patch[key] === null || Object.hasOwn(result, key)) continue;
    setKey(result, key, applyMergePatch(undefined, patch[key]));
  }
  return result;
}

/** The merge patch that turns `from` into `to` (null where a key goes away). */
export function createMergePatch(from: unknown, to: unknown, equal: (a: unknown, b: unknown) => boolean): unknown {
  if (!isRecord(from) || !isRecord(to)) return cloneJson(to);
  const patch: Record<string, unknown> = {};
  for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) setKey(patch, key, null);
  for (const key of Object.keys(to)) {
    const before = Object.hasOwn(from, key) ? from[key] : undefined;
    if (!equal(before, to[key])) setKey(patch, key, createMergePatch(before, to[key], equal));
  }
  return patch;
}
