/**
 * Strategic merge patch: a merge patch that knows from the schema which lists merge by key, and that takes directives
 * ($patch, $retainKeys, $deleteFromPrimitiveList, $setElementOrder). Source: apimachinery's util/strategicpatch.
 */
import { cloneJson, getKey, isRecord, setKey, stringifyJson } from "./json.ts";
import { unprocessablePatch } from "./json-patch.ts";
import type { Field, Schema } from "./schema.ts";
import { badRequest } from "./status.ts";

const patchDirective = "$patch";
const retainKeysDirective = "$retainKeys";
const deleteListPrefix = "$deleteFromPrimitiveList/";
const elementOrderPrefix = "$setElementOrder/";

type Json = Record<string, unknown>;

/** What the schema says about the value at a key: its own schema, and how it merges. */
function fieldOf(
  schema: Schema | undefined,
  key: string,
): Pick<Field, "patchStrategy" | "patchMergeKey"> & {
  schema: Schema | undefined;
} {
  if (schema?.fields && Object.hasOwn(schema.fields, key)) return schema.fields[key]!;
  return { schema: schema?.type === "map" ? schema.items : undefined };
}

const keyText = (value: unknown) => (typeof value === "string" ? value : stringifyJson(value));

function mergeKeyOf(element: unknown, mergeKey: string): string {
  if (!isRecord(element)) throw unprocessablePatch(`list elements must be objects with the merge key ${mergeKey}`);
  const value = getKey(element, mergeKey);
  if (value === undefined) {
    throw unprocessablePatch(`map: ${stringifyJson(element)} does not contain declared merge key: ${mergeKey}`);
  }
  return keyText(value);
}

/** A patch value for which the document has nothing: without directives and nulls. */
function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) {
    const kept = value.filter((element) => !isRecord(element) || getKey(element, patchDirective) !== "delete");
    return kept
      .filter((element) => !(isRecord(element) && onlyDirective(element)))
      .map((element) => withoutDirectives(element));
  }
  if (!isRecord(value)) return value;
  if (getKey(value, patchDirective) === "delete") return {};
  const result: Json = {};
  for (const key of Object.keys(value)) {
    if (key === patchDirective || key === retainKeysDirective) continue;
    if (key.startsWith(deleteListPrefix) || key.startsWith(elementOrderPrefix)) continue;
    if (value[key] !== null) setKey(result, key, withoutDirectives(value[key]));
  }
  return result;
}

function onlyDirective(element: Json): boolean {
  return Object.hasOwn(element, patchDirective) && Object.keys(element).length === 1;
}

/** The identity of a list element: the merge key's value, or the scalar itself. */
type Identify = (element: unknown) => string;

/**
 * The order of a merged list: elements of the patch in the order it gives, those that only the server has where they
 * stood before those that both have, behind the patch's new ones.
 */
function ordered(merged: unknown[], patchOrder: string[], serverOrder: string[], identify: Identify): unknown[] {
  const wanted = new Map(patchOrder.map((id, i) => [id, i]));
  const server = new Map<string, number>();
  for (const [i, id] of serverOrder.entries()) if (!server.has(id)) server.set(id, i);
  const left = merged
    .filter((element) => wanted.has(identify(element)))
    .sort((a, b) => wanted.get(identify(a))! - wanted.get(identify(b))!);
  const right = merged.filter((element) => !wanted.has(identify(element)));
  const result: unknown[] = [];
  let i = 0;
  let j = 0;
  while (i < left.length || j < right.length) {
    if (j >= right.length) result.push(left[i++]);
    else if (i >= left.length) result.push(right[j++]);
    else {
      const l = server.get(identify(left[i]));
      const r = server.get(identify(right[j]));
      result.push(l !== undefined && r !== undefined && r < l ? right[j++] : left[i++]);
    }
  }
  return result;
}

function mergeScalars(original: unknown[], patch: unknown[], order: unknown[] | undefined): unknown[] {
  const seen = new Map([...original, ...patch].map((value) => [keyText(value), value]));
  return ordered([...seen.values()], (order ?? patch).map(keyText), original.map(keyText), keyText);
}

function mergeObjects(
  items: Schema | undefined,
  original: unknown[],
  patch: unknown[],
  order: unknown[] | undefined,
  mergeKey: string,
): unknown[] {
  const identify = (element: unknown) => mergeKeyOf(element, mergeKey);
  const plain: Json[] = [];
  const deleted = new Set<string>();
  let replace = false;
  for (const element of patch) {
    if (!isRecord(element)) throw unprocessablePatch(`list elements must be objects with the merge key ${mergeKey}`);
    const directive = getKey(element, patchDirective);
    if (directive === undefined) plain.push(element);
    else if (directive === "delete") deleted.add(identify(element));
    else if (directive === "replace") {
      replace = true;
      if (!onlyDirective(element)) plain.push(withoutDirectives(element) as Json);
    } else if (directive === "merge") {
      const { [patchDirective]: _, ...rest } = element;
      plain.push(rest);
    } else throw badRequest(`unknown patch type: ${keyText(directive)} in list element`);
  }
  if (replace) return plain.map(withoutDirectives);
  const merged = original.filter((element) => !deleted.has(identify(element)));
  const places = new Map<string, number>();
  for (const [i, element] of merged.entries()) if (!places.has(identify(element))) places.set(identify(element), i);
  for (const element of plain) {
    const at = places.get(identify(element));
    if (at !== undefined) merged[at] = mergeMap(items, merged[at] as Json, element);
    else {
      places.set(identify(element), merged.length);
      merged.push(withoutDirectives(element));
    }
  }
  const patchOrder = (order ?? plain).map(identify);
  return ordered(merged, patchOrder, original.map(identify), identify);
}

function mergeList(field: ReturnType<typeof fieldOf>, original: unknown[], patch: unknown[], order?: unknown[]) {
  if (!field.patchStrategy?.includes("merge")) return patch.map(withoutDirectives);
  const sample = original.length > 0 ? original[0] : (patch[0] ?? order?.[0]);
  if (Array.isArray(sample)) throw unprocessablePatch("lists of lists are not supported");
  if (!isRecord(sample)) return mergeScalars(original, patch, order);
  if (!field.patchMergeKey) throw unprocessablePatch("cannot merge lists without merge key");
  return mergeObjects(field.schema?.items, original, patch, order, field.patchMergeKey);
}

/** Checks that the patch's elements stand in the order that $setElementOrder gives. */
function checkOrder(patch: unknown[], order: unknown[], mergeKey: string | undefined): void {
  const identify: Identify = mergeKey ? (element) => mergeKeyOf(element, mergeKey) : keyText;
  const places = order.map(identify);
  let last = -1;
  for (const element of patch) {
    if (isRecord(element) && Object.hasOwn(element, patchDirective)) continue;
    const place = places.indexOf(identify(element));
    if (place < last || place < 0) {
      throw unprocessablePatch(
        `The order in patch list:\n${stringifyJson(patch)}\n doesn't match $setElementOrder list:\n${stringifyJson(order)}\n`,
      );
    }
    last = place;
  }
}

function asList(value: unknown, key: string): unknown[] {
  if (!Array.isArray(value)) throw badRequest(`invalid patch format: ${JSON.stringify(key)} must be a list`);
  return value;
}

function retainKeys(original: Json, patch: Json): Json {
  const keys = getKey(patch, retainKeysDirective);
  if (keys === undefined) return original;
  const kept = new Set(asList(keys, retainKeysDirective));
  for (const key of Object.keys(patch)) {
    if (!key.startsWith("$") && patch[key] !== null && !kept.has(key)) {
      throw badRequest("$retainKeys directive must contain all the fields present in the patch");
    }
  }
  return Object.fromEntries(Object.entries(original).filter(([key]) => kept.has(key)));
}

function mergeMap(schema: Schema | undefined, document: Json, patch: Json): Json {
  const directive = getKey(patch, patchDirective);
  if (directive === "delete") return {};
  if (directive === "replace") return withoutDirectives({ ...patch, [patchDirective]: undefined }) as Json;
  if (directive !== undefined && directive !== "merge") {
    throw badRequest(`unknown patch type: ${keyText(directive)} in map`);
  }
  const result: Json = {};
  const original = retainKeys(document, patch);
  for (const key of Object.keys(original)) setKey(result, key, original[key]);

  const orders = new Map<string, unknown[]>();
  for (const key of Object.keys(patch)) {
    if (key.startsWith(elementOrderPrefix)) orders.set(key.slice(elementOrderPrefix.length), asList(patch[key], key));
  }

  for (const key of Object.keys(patch)) {
    if (key === patchDirective || key === retainKeysDirective) continue;
    if (key.startsWith(deleteListPrefix) || key.startsWith(elementOrderPrefix)) continue;
    const value = patch[key];
    const now = getKey(result, key);
    const field = fieldOf(schema, key);
    const order = orders.get(key);
    if (order && Array.isArray(value)) {
      checkOrder(value, order, isRecord(value[0]) ? field.patchMergeKey : undefined);
    }
    if (value === null) delete result[key];
    else if (Array.isArray(value) && Array.isArray(now)) {
      setKey(result, key, mergeList(field, now, value, order));
    } else if (isRecord(value) && isRecord(now) && !field.patchStrategy?.includes("replace")) {
      setKey(result, key, mergeMap(field.schema, now, value));
    } else setKey(result, key, withoutDirectives(value));
    orders.delete(key);
  }

  // An order without a list only moves elements.
  for (const [key, order] of orders) {
    const now = getKey(result, key);
    if (Array.isArray(now)) setKey(result, key, mergeList(fieldOf(schema, key), now, [], order));
  }
  // Last, so that a value that the patch both adds and deletes is gone.
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(deleteListPrefix)) continue;
    const list = key.slice(deleteListPrefix.length);
    const gone = new Set(asList(patch[key], key).map(keyText));
    const now = getKey(result, list);
    if (!Array.isArray(now) || !Object.hasOwn(document, list)) continue;
    const kept = now.filter((value) => !gone.has(keyText(value)));
    setKey(result, list, kept);
  }
  return result;
}

/** The patched document, as a new value. Throws StatusError: 400 for a malformed patch, 422 for one that does not apply. */
export function applyStrategicMergePatch(schema: Schema, document: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) throw badRequest("invalid patch format: the patch must be an object");
  return cloneJson(mergeMap(schema, isRecord(document) ? document : {}, patch));
}
