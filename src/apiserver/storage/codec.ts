import type { ResourceFacts } from "../../api/resource.ts";
import { canonicalize } from "../../machinery/canonical.ts";
import { parseJson, stringifyJson } from "../../machinery/json.ts";
import { apiVersionOf, type KubeObject } from "../../machinery/object.ts";
import type { Entry } from "../../store/store.ts";
import { keyRoot } from "./store-feed.ts";

/** Where the objects of a resource are stored; only stored resources get here. */
export function storageOf(facts: ResourceFacts) {
  if (!facts.storage) throw new Error(`${facts.resource}.${facts.group} is not a stored resource`);
  return facts.storage;
}

/** "pods/": what follows {@link keyRoot} in the keys of a resource. */
export function prefixOf(facts: ResourceFacts): string {
  return `${storageOf(facts).prefix}/`;
}

/** "/registry/pods/default/web", or "/registry/nodes/one" for a cluster-scoped resource. */
export function keyFor(facts: ResourceFacts, namespace: string | undefined, name: string): string {
  const inNamespace = facts.namespaced ? `${namespace}/` : "";
  return `${keyRoot}${prefixOf(facts)}${inNamespace}${name}`;
}

/** `{"kind":"Pod","apiVersion":"v1","metadata":{` — how every encoded object of a kind begins. */
export function headOf(type: { group: string; version: string; kind: string }): string {
  return `{"kind":${JSON.stringify(type.kind)},"apiVersion":${JSON.stringify(apiVersionOf(type))},"metadata":{`;
}

/**
 * The bytes of an object without its resourceVersion: kind and apiVersion first, then metadata, so that both can be
 * cut off and put on again without parsing.
 */
export function encodeObject(type: { group: string; version: string; kind: string }, object: KubeObject): Buffer {
  const { apiVersion: _apiVersion, kind: _kind, metadata, ...rest } = object;
  const { resourceVersion: _resourceVersion, ...meta } = metadata;
  return Buffer.from(
    stringifyJson({ kind: type.kind, apiVersion: apiVersionOf(type), metadata: meta, ...(rest as object) }),
  );
}

/** Parsed values whose bytes come back from the store in the event of their own write. */
const parsed = new WeakMap<Buffer, KubeObject>();

/** Bytes for the store, in the storage version. The object is remembered, so that its event need not parse it again. */
export function toStored(facts: ResourceFacts, object: KubeObject): Buffer {
  const storage = storageOf(facts);
  const stored = storage.toStorage ? storage.toStorage(object) : object;
  const bytes = encodeObject({ group: storage.group, version: storage.version, kind: kindIn(facts, stored) }, stored);
  if (!storage.toStorage) parsed.set(bytes, object);
  return bytes;
}

function kindIn(facts: ResourceFacts, stored: KubeObject): string {
  return stored.kind ?? facts.kind;
}

/** A conversion moves fields; which of them are left out when empty is for the version that is served to say. */
function converted(facts: ResourceFacts, object: KubeObject): KubeObject {
  return facts.custom ? object : (canonicalize(facts.schema, object) as KubeObject);
}

/**
 * The object of an entry in the version that `facts` serves, with its resourceVersion; `asStored`: the entry's bytes say
 * the same, but for the type.
 */
export function fromStored(
  facts: ResourceFacts,
  entry: Pick<Entry, "value" | "modRevision">,
): { object: KubeObject; asStored: boolean } {
  const own = parsed.get(entry.value);
  const storage = storageOf(facts);
  const stored = (own ?? parseJson(entry.value)) as KubeObject;
  // What was just written has been through its schema already.
  const refreshed = !own && storage.refresh?.(stored) === true;
  const source = storage.fromStorage ? converted(facts, storage.fromStorage(stored)) : stored;
  const { apiVersion: _apiVersion, kind: _kind, metadata, ...rest } = source;
  const object = {
    kind: facts.kind,
    apiVersion: apiVersionOf(facts),
    metadata: { ...metadata, resourceVersion: String(entry.modRevision) },
    ...rest,
  } as KubeObject;
  return { object, asStored: !refreshed && !storage.fromStorage };
}
