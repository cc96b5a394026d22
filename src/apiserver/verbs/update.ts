import type { ResourceFacts } from "../../api/resource.ts";
import { formatTime } from "../../machinery/clock.ts";
import { deepEqual } from "../../machinery/equality.ts";
import { cloneJson } from "../../machinery/json.ts";
import type { KubeObject } from "../../machinery/object.ts";
import {
  badRequest,
  conflict,
  fieldError,
  methodNotSupported,
  notFound,
  type StatusError,
} from "../../machinery/status.ts";
import type { Entry } from "../../store/store.ts";
import { type Call, type Core, groupResource } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { keyFor } from "../storage/codec.ts";
import { decodeEntry } from "../storage/decode-entries.ts";
import { admissionAttributes, admit, over, release, validateAdmission } from "./admit.ts";
import { create, settleNamespace } from "./create.ts";
import { newest } from "./newest.ts";
import { keepSystemFields, validateObjectMeta, validateObjectMetaUpdate } from "./object-meta.ts";
import { setReplicas, toScale } from "./scale-object.ts";
import { subresourceRule } from "./subresource-rules.ts";
import { encodeForStore, lostRace, refuse, track, unwritten, written } from "./write.ts";

/** What a write makes of the present object. */
export interface Proposal {
  /** The whole next object, private, in canonical form and defaulted. */
  readonly next: KubeObject;
  /** managedFields are already what they should be (server-side apply). */
  readonly tracked?: boolean;
}

export interface UpdateOutcome {
  readonly item: CachedObject;
  readonly created: boolean;
}

/** Races that a write without a resourceVersion of its own runs again before it gives up. */
const attempts = 30;

/**
 * Reads, proposes, checks and writes until nobody was in between. A proposal that names a resourceVersion is bound to
 * it: 409 when the object has another one.
 */
export async function guaranteedUpdate(
  core: Core,
  call: Call,
  propose: (current: CachedObject) => Promise<Proposal> | Proposal,
): Promise<CachedObject> {
  const { facts } = call;
  let current = await newest(core, facts, keyFor(facts, call.namespace, call.name));
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (!current) throw notFound(groupResource(facts), call.name);
    const proposal = await propose(current);
    const outcome = await tryUpdate(core, call, current, proposal);
    if (!("lost" in outcome)) return outcome.item;
    current = outcome.lost && (await decodeEntry(facts, outcome.lost));
  }
  throw lostRace(call);
}

async function tryUpdate(
  core: Core,
  call: Call,
  current: CachedObject,
  proposal: Proposal,
): Promise<{ item: CachedObject } | { lost: Entry | undefined }> {
  const { facts, subresource } = call;
  const old = current.object;
  let { next } = proposal;
  settleNamespace(call, next);
  bindToCurrent(call, next, old);
  keepSystemFields(next, old);
  const rule = subresource ? subresourceRule(facts, subresource) : undefined;
  rule?.(next, old, formatTime(core.clusterClock.now()));
  // Who sent it owns what was sent; what admission and the kind's own rules fill in afterwards belongs to nobody.
  if (!proposal.tracked) next = await track(core, call, old, next);
  const scale = subresource === "scale" ? toScale({ facts, object: next }) : undefined;
  const attributes = scale
    ? admissionAttributes(call, "UPDATE", scale, toScale(current))
    : admissionAttributes(call, "UPDATE", next, old);
  await admit(core, call, attributes);
  if (scale) setReplicas(facts, next, scale.spec.replicas ?? 0);
  let done = false;
  try {
    if (!rule) prepare(facts, subresource, next, old);
    // Of a built-in kind, a status is written by components alone; a custom one has only its schema to be held to.
    const validated = (subresource !== "status" || facts.custom) && !facts.strategy.ratchets;
    refuse(facts, call.name, [
      ...validateObjectMeta(facts, next),
      ...validateObjectMetaUpdate(next, old),
      ...(facts.strategy.validate && validated ? facts.strategy.validate(next) : []),
      ...(facts.strategy.validateUpdate?.(next, old, subresource) ?? []),
    ]);
    if (subresource !== "status") for (const text of facts.strategy.warnings?.(next, old) ?? []) call.warn(text);
    await validateAdmission(core, call, scale ? attributes : { ...attributes, object: next });
    if (sameObject(next, old)) return { item: current };
    next.metadata.resourceVersion = old.metadata.resourceVersion!;
    if (call.dryRun) return { item: unwritten(facts, current.key, next, current.revision) };

    call.signal?.throwIfAborted();
    if (isFinished(next)) {
      const result = await core.store.delete(current.key, current.revision);
      if (!result.ok) return { lost: result.current };
      done = true;
      return { item: unwritten(facts, current.key, next, result.revision).at(result.revision) };
    }
    const value = await encodeForStore(facts, next);
    const { ttlSeconds, gather } = facts.storage ?? {};
    if (gather && gather.namespace === call.namespace) await core.gathering.wait(gather.namespace, gather.windowMs);
    call.signal?.throwIfAborted();
    const result = await core.store.update(
      current.key,
      value,
      current.revision,
      ttlSeconds === undefined ? {} : { ttlSeconds },
    );
    if (!result.ok) return { lost: result.current };
    done = true;
    const createRevision = result.previous?.createRevision ?? result.revision;
    const entry = { key: current.key, value, createRevision, modRevision: result.revision };
    return { item: await written(core, facts, entry) };
  } finally {
    if (!done) release(core, call, attributes);
    over(core, call, attributes);
  }
}

/** A deleted object whose last finalizer went: writing it means removing it. */
export function isFinished(object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata;
  return Boolean(deletionTimestamp) && !finalizers?.length && !deletionGracePeriodSeconds && !specFinalizers(object);
}

/** Namespaces carry finalizers in their spec, too. */
function specFinalizers(object: KubeObject): boolean {
  if (object.kind !== "Namespace" || object.apiVersion !== "v1") return false;
  return Boolean((object as KubeObject & { spec?: { finalizers?: string[] } }).spec?.finalizers?.length);
}

/** Checks resourceVersion and uid of the new object against the present one. */
function bindToCurrent(call: Call, next: KubeObject, old: KubeObject): void {
  const { facts, name } = call;
  const { resourceVersion, uid } = next.metadata;
  if (uid && uid !== old.metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`;
    throw conflict(groupResource(facts), name, why);
  }
  if (!resourceVersion || resourceVersion === "0") {
    if (facts.strategy.allowUnconditionalUpdate === false) {
      refuse(facts, name, [fieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")]);
    }
    return;
  }
  if (resourceVersion !== old.metadata.resourceVersion) throw lostRace(call);
}

function prepare(facts: ResourceFacts, subresource: string | undefined, next: KubeObject, old: KubeObject): void {
  const { strategy } = facts;
  if (subresource === "status") {
    if (!strategy.prepareForStatusUpdate) throw methodNotSupported(groupResource(facts), "update");
    if (facts.custom) {
      // What a status writer says of the metadata does not count, but for managedFields. Built-in kinds take it.
      const { managedFields } = next.metadata;
      next.metadata = { ...cloneJson(old.metadata), ...(managedFields ? { managedFields } : {}) };
    }
    strategy.prepareForStatusUpdate(next, old);
  } else strategy.prepareForUpdate?.(next, old);
}

/** Equality of two objects, but for the times in managedFields and the revision. */
export function sameObject(next: KubeObject, old: KubeObject): boolean {
  return deepEqual(comparable(next), comparable(old));
}

function comparable({ metadata, ...rest }: KubeObject): object {
  const { managedFields, resourceVersion: _resourceVersion, ...meta } = metadata;
  return { ...rest, metadata: { ...meta, managedFields: managedFields?.map(({ time: _time, ...entry }) => entry) } };
}

/** PUT. Creates the object where its kind allows that. */
export async function update(core: Core, call: Call, object: KubeObject): Promise<UpdateOutcome> {
  const { facts, name } = call;
  const found = object.metadata.name;
  if (!found) {
    throw badRequest(`name must be provided`);
  }
  if (found !== name) {
    throw badRequest(`the name of the object (${found}) does not match the name on the URL (${name})`);
  }
  try {
    const item = await guaranteedUpdate(core, call, () => ({ next: cloneJson(object) }));
    return { item, created: false };
  } catch (error) {
    const missing = (error as StatusError).reason === "NotFound" && !call.subresource;
    const { resourceVersion } = object.metadata;
    if (!missing || !facts.strategy.allowCreateOnUpdate || (resourceVersion && resourceVersion !== "0")) throw error;
    return { item: await create(core, call, object), created: true };
  }
}
