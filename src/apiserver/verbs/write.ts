/** Pieces that all writing verbs share. */
import { randomUUID } from "node:crypto";
import type { ResourceFacts } from "../../api/resource.ts";
import { trackUpdate } from "../../machinery/apply/update.ts";
import type { Versions } from "../../machinery/apply/versions.ts";
import { apiVersionOf, type KubeObject } from "../../machinery/object.ts";
import { conflict, type FieldError, invalid, optimisticLockMessage, StatusError } from "../../machinery/status.ts";
import type { Entry } from "../../store/store.ts";
import { type Call, type Core, groupKind, groupResource } from "../core.ts";
import { CachedObject } from "../storage/cached-object.ts";
import { decodeEntry, encodeEntry } from "../storage/decode-entries.ts";
import { otherVersions } from "./other-versions.ts";

/** etcd's default limit for one request; objects beyond it are refused whatever the store could take. */
const objectMaxBytes = 1.5 * 1024 * 1024;

/** Bytes for the store. Throws 413 with etcd's text for an object that is too large, 500 for one that cannot be converted. */
export async function encodeForStore(facts: ResourceFacts, object: KubeObject): Promise<Buffer> {
  const bytes = await encodeEntry(facts, object);
  if (bytes.length > objectMaxBytes) {
    throw new StatusError(413, "RequestEntityTooLarge", "etcdserver: request is too large");
  }
  return bytes;
}

/** What a write answers: the cache's own object where it has it, so that nothing is encoded twice. */
export async function written(core: Core, facts: ResourceFacts, entry: Entry): Promise<CachedObject> {
  const cache = core.caches.of(facts);
  // Where objects are converted, the cache does that once for all; when it fails it may be for another's sake.
  if (facts.storage?.convert) await cache.barrier().catch(() => {});
  const cached = cache.get(entry.key);
  return cached?.revision === entry.modRevision ? cached : decodeEntry(facts, entry);
}

/** The answer of a dry run, which has no revision of its own. */
export function unwritten(facts: ResourceFacts, key: string, object: KubeObject, revision: number): CachedObject {
  return new CachedObject(facts, key, revision, object);
}

export function newUid(): string {
  return randomUUID();
}

/** Throws 422 when there are any. */
export function refuse(facts: ResourceFacts, name: string, errors: readonly FieldError[]): void {
  if (errors.length > 0) throw invalid(groupKind(facts), name, errors);
}

export function lostRace(call: Call): StatusError {
  return conflict(groupResource(call.facts), call.name, optimisticLockMessage);
}

/** Sets managedFields for a write that is no apply. */
export function track(
  core: Core,
  call: Call,
  live: KubeObject | undefined,
  next: KubeObject,
): KubeObject | Promise<KubeObject> {
  return trackUpdate({
    schema: call.facts.schema,
    live,
    next,
    manager: call.fieldManager,
    apiVersion: apiVersionOf(call.facts),
    subresource: call.subresource ?? "",
    nowMs: core.clusterClock.now(),
    resetFields: resetFieldsOf(call.facts, call.subresource),
    versions: versionsOf(core, call),
  });
}

/** The versions in which other owners may have written the call's object. */
export function versionsOf(core: Core, { facts, subresource }: Call): Versions {
  return otherVersions(core, facts, (other) => resetFieldsOf(other, subresource));
}

const reset = new WeakMap<ResourceFacts, Map<string, readonly (readonly string[])[]>>();

/** Fields that this endpoint does not take, so that nobody comes to own them through it. */
export function resetFieldsOf(facts: ResourceFacts, subresource = ""): readonly (readonly string[])[] {
  const known = reset.get(facts) ?? new Map<string, readonly (readonly string[])[]>();
  reset.set(facts, known);
  let fields = known.get(subresource);
  if (!fields) {
    const all = Object.keys(facts.schema.fields ?? {});
    const kept = ["apiVersion", "kind", "metadata", "status"];
    fields =
      subresource === "status"
        ? all.filter((field) => !kept.includes(field)).map((field) => [field])
        : "status" in facts.subresources
          ? [["status"]]
          : [];
    known.set(subresource, fields);
  }
  return fields;
}

/** Checks `preconditions` of a delete or update against what is there. Throws 409 with Kubernetes' texts. */
export function checkPreconditions(
  call: Call,
  object: KubeObject,
  wanted: { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined } | undefined,
): void {
  const { uid, resourceVersion } = object.metadata;
  const why =
    wanted?.uid && wanted.uid !== uid
      ? `Precondition failed: UID in precondition: ${wanted.uid}, UID in object meta: ${uid}`
      : wanted?.resourceVersion && wanted.resourceVersion !== resourceVersion
        ? `Precondition failed: ResourceVersion in precondition: ${wanted.resourceVersion}, ResourceVersion in object meta: ${resourceVersion}`
        : undefined;
  if (why) throw conflict(groupResource(call.facts), call.name, why);
}
