import { formatTime } from "../../machinery/clock.ts";
import { generateName } from "../../machinery/names.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { alreadyExists, badRequest } from "../../machinery/status.ts";
import { type Call, type Core, groupResource } from "../core.ts";
import type { AdmissionAttributes } from "../request.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { keyFor } from "../storage/codec.ts";
import { admissionAttributes, admit, over, release, validateAdmission } from "./admit.ts";
import { validateObjectMeta } from "./object-meta.ts";
import { encodeForStore, newUid, refuse, track, unwritten, written } from "./write.ts";

/** Tries of a generated name that happens to be taken. */
const nameAttempts = 8;

/** Checks and completes the namespace of a body against its path. Throws 400 when they differ. */
export function settleNamespace(call: Call, object: KubeObject): void {
  const { metadata } = object;
  if (!call.facts.namespaced) return;
  if (metadata.namespace && metadata.namespace !== call.namespace) {
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  }
  if (call.namespace) metadata.namespace = call.namespace;
}

/**
 * Creates an object, which is in canonical form, defaulted, and private to this call. Throws 409 when it exists, 422
 * when it is not valid.
 */
export async function create(core: Core, call: Call, object: KubeObject): Promise<CachedObject> {
  settleNamespace(call, object);
  const { resourceVersion } = object.metadata;
  if (resourceVersion && resourceVersion !== "0") {
    throw badRequest("resourceVersion should not be set on objects to be created");
  }
  // Who sent it owns what was sent; what admission and the kind's own rules fill in afterwards belongs to nobody.
  const tracked = call.applied ? object : await track(core, call, undefined, object);
  const attributes = admissionAttributes(call, "CREATE", tracked, undefined);
  await admit(core, call, attributes);
  try {
    return await createAdmitted(core, call, tracked, attributes);
  } catch (error) {
    release(core, call, attributes);
    throw error;
  } finally {
    over(core, call, attributes);
  }
}

async function createAdmitted(
  core: Core,
  call: Call,
  object: KubeObject,
  attributes: AdmissionAttributes,
): Promise<CachedObject> {
  const generated = !object.metadata.name && object.metadata.generateName !== undefined;
  for (let attempt = 1; ; attempt++) {
    if (generated) object.metadata.name = generateName(object.metadata.generateName!);
    const item = await createOnce(core, { ...call, name: object.metadata.name ?? "" }, object, attributes);
    if (item) {
      if (call.dryRun) release(core, call, attributes);
      return item;
    }
    if (!generated || attempt === nameAttempts) {
      throw alreadyExists(groupResource(call.facts), object.metadata.name ?? "");
    }
  }
}

async function createOnce(
  core: Core,
  call: Call,
  object: KubeObject,
  attributes: AdmissionAttributes,
): Promise<CachedObject | undefined> {
  const { facts } = call;
  const { strategy } = facts;
  const { metadata } = object;
  for (const field of ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] as const) {
    delete metadata[field];
  }
  metadata.uid = newUid();
  metadata.creationTimestamp = formatTime(core.clusterClock.now());
  strategy.prepareForCreate?.(object, call.user);
  refuse(facts, call.name, [...validateObjectMeta(facts, object), ...(strategy.validate?.(object) ?? [])]);
  for (const text of strategy.warnings?.(object) ?? []) call.warn(text);
  await validateAdmission(core, call, { ...attributes, object, name: call.name });

  const key = keyFor(facts, metadata.namespace, call.name);
  const bytes = await encodeForStore(facts, object);
  if (call.dryRun) {
    const cache = core.caches.of(facts);
    await cache.barrier();
    return cache.get(key) ? undefined : unwritten(facts, key, object, 0);
  }
  const ttlSeconds = facts.storage?.ttlSeconds;
  call.signal?.throwIfAborted();
  const result = await core.store.create(key, bytes, ttlSeconds === undefined ? {} : { ttlSeconds });
  if (!result.ok) return undefined;
  return written(core, facts, {
    key,
    value: bytes,
    createRevision: result.revision,
    modRevision: result.revision,
  });
}
