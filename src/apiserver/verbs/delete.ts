import { formatTime } from "../../machinery/clock.ts";
import { cloneJson } from "../../machinery/json.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { badRequest, fieldError, invalid, notFound } from "../../machinery/status.ts";
import { type Call, type Core, groupResource } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { keyFor } from "../storage/codec.ts";
import { decodeEntry } from "../storage/decode-entries.ts";
import { admissionAttributes, admit, validateAdmission } from "./admit.ts";
import { newest } from "./newest.ts";
import { isFinished } from "./update.ts";
import { checkPreconditions, encodeForStore, lostRace, unwritten, written } from "./write.ts";

/** meta/v1 DeleteOptions, as far as they decide something here. */
export interface DeleteParameters {
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground" | undefined;
  readonly orphanDependents?: boolean | undefined;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string } | undefined;
}

export interface DeleteOutcome {
  /** The object as it was removed, or as it waits for finalizers or its grace period. */
  readonly item: CachedObject;
  readonly removed: boolean;
}

const attempts = 30;

/** The rules of ValidateDeleteOptions. Throws 422. */
export function checkDeleteParameters({
  propagationPolicy,
  orphanDependents,
  gracePeriodSeconds,
}: DeleteParameters): void {
  const of = { group: "meta.k8s.io", resource: "DeleteOptions" };
  if (propagationPolicy !== undefined && orphanDependents !== undefined) {
    const text = "orphanDependents and deletionPropagation cannot be both set";
    throw invalid(of, "", [fieldError.invalid("propagationPolicy", propagationPolicy, text)]);
  }
  if (propagationPolicy && !["Orphan", "Background", "Foreground"].includes(propagationPolicy)) {
    const allowed = ["Foreground", "Background", "Orphan", "nil"];
    throw invalid(of, "", [fieldError.notSupported("propagationPolicy", propagationPolicy, allowed)]);
  }
  if (gracePeriodSeconds !== undefined && !Number.isSafeInteger(gracePeriodSeconds)) {
    throw badRequest(`gracePeriodSeconds: ${gracePeriodSeconds} is not a whole number of seconds`);
  }
}

/** Deletes an object: at once, or by marking it when it has finalizers or a grace period. Throws 404, 409. */
export async function deleteObject(core: Core, call: Call, parameters: DeleteParameters): Promise<DeleteOutcome> {
  checkDeleteParameters(parameters);
  const { facts } = call;
  const { warningWithoutPropagation } = facts.strategy;
  const { propagationPolicy, orphanDependents } = parameters;
  if (warningWithoutPropagation && propagationPolicy === undefined && orphanDependents === undefined) {
    call.warn(warningWithoutPropagation);
  }
  const key = keyFor(facts, call.namespace, call.name);
  let current = await newest(core, facts, key);
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (!current) throw notFound(groupResource(facts), call.name);
    checkPreconditions(call, current.object, parameters.preconditions);
    const attributes = admissionAttributes(call, "DELETE", undefined, current.object);
    await admit(core, call, attributes);
    await validateAdmission(core, call, attributes);

    const next = marked(core, call, current.object, parameters);
    if (next === "unchanged") return { item: current, removed: false };
    call.signal?.throwIfAborted();
    if (isFinished(next)) {
      if (call.dryRun) return { item: current, removed: true };
      const result = await core.store.delete(key, current.revision);
      if (result.ok) return { item: unwritten(facts, key, next, result.revision).at(result.revision), removed: true };
      current = result.current && (await decodeEntry(facts, result.current));
      continue;
    }
    if (call.dryRun) return { item: unwritten(facts, key, next, current.revision), removed: false };
    const value = await encodeForStore(facts, next);
    call.signal?.throwIfAborted();
    const result = await core.store.update(key, value, current.revision);
    if (result.ok) {
      const entry = { key, value, createRevision: result.revision, modRevision: result.revision };
      return { item: await written(core, facts, entry), removed: false };
    }
    current = result.current && (await decodeEntry(facts, result.current));
  }
  throw lostRace(call);
}

/** The object as a delete leaves it; {@link isFinished} then says whether it goes at once. */
function marked(core: Core, call: Call, current: KubeObject, parameters: DeleteParameters): KubeObject | "unchanged" {
  const { facts } = call;
  const next = cloneJson(current);
  const { metadata } = next;
  const nowMs = core.clusterClock.now();
  const finalizers = finalizersAfter(facts.strategy.defaultPropagation, current, parameters);
  if (finalizers.length > 0) metadata.finalizers = finalizers;
  else delete metadata.finalizers;
  const finalizersChanged = finalizers.join() !== (current.metadata.finalizers ?? []).join();

  const graceSeconds = graceOf(call, current, parameters);
  if (metadata.deletionTimestamp) {
    const before = metadata.deletionGracePeriodSeconds ?? 0;
    // Deleted again: the grace period can only become shorter.
    if (graceSeconds < before) {
      const startMs = Date.parse(metadata.deletionTimestamp) - before * 1000;
      metadata.deletionTimestamp = formatTime(
        Math.max(startMs + graceSeconds * 1000, graceSeconds > 0 ? nowMs : startMs),
      );
      metadata.deletionGracePeriodSeconds = graceSeconds;
      return next;
    }
    return finalizersChanged || isFinished(next) ? next : "unchanged";
  }
  metadata.deletionTimestamp = formatTime(nowMs + graceSeconds * 1000);
  metadata.deletionGracePeriodSeconds = graceSeconds;
  // What is being deleted behaves differently, so its generation changes where it is counted.
  if (metadata.generation) metadata.generation++;
  if (next.kind === "Namespace" && next.apiVersion === "v1") {
    const namespace = next as KubeObject & { status?: { phase?: string } };
    namespace.status = { ...namespace.status, phase: "Terminating" };
  }
  return next;
}

function graceOf(call: Call, current: KubeObject, { gracePeriodSeconds }: DeleteParameters): number {
  const { gracePeriodSeconds: rule } = call.facts.strategy;
  if (!rule) return 0;
  const requested = gracePeriodSeconds !== undefined && gracePeriodSeconds < 0 ? 1 : gracePeriodSeconds;
  return Math.max(0, rule(current, requested));
}

/** The garbage collector's finalizers after this delete: at most one of them. */
function finalizersAfter(
  byDefault: "Orphan" | "Background" | "Foreground" | undefined,
  { metadata }: KubeObject,
  { propagationPolicy, orphanDependents }: DeleteParameters,
): string[] {
  const existing = metadata.finalizers ?? [];
  let policy = propagationPolicy;
  if (policy === undefined && orphanDependents !== undefined) policy = orphanDependents ? "Orphan" : "Background";
  if (policy === undefined) {
    if (existing.includes("orphan") || existing.includes("foregroundDeletion")) return [...existing];
    policy = byDefault ?? "Background";
  }
  const others = existing.filter((finalizer) => finalizer !== "orphan" && finalizer !== "foregroundDeletion");
  if (policy === "Orphan") return [...others, "orphan"];
  if (policy === "Foreground") return [...others, "foregroundDeletion"];
  return others;
}
