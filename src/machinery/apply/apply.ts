/**
 * Server-side apply: puts an applied configuration over the live object, removes what its applier no longer applies,
 * and keeps the owners. Source: sigs.k8s.io/structured-merge-diff, merge, and apimachinery's util/managedfields.
 */
import { isRecord, parseJson, stringifyJson } from "../json.ts";
import type { KubeObject } from "../object.ts";
import type { Schema } from "../schema.ts";
import { badRequest } from "../status.ts";
import { FieldSet } from "./field-set.ts";
import { decodeManagers, entryTime, type Manager, type Managers, managerKey, withoutStripped } from "./managers.ts";
import { type Conflict, conflictError, excludeFields, findConflicts, resetSet, takeFields } from "./ownership.ts";
import {
  compare,
  equalJson,
  fieldSetOf,
  mergeTyped,
  removeFields,
  settle,
  TypedError,
  validateTyped,
} from "./typed.ts";
import { withManagers, withoutManagedFields } from "./update.ts";

export interface ApplyInput {
  readonly schema: Schema;
  /** What is stored; absent when the apply creates the object. */
  readonly live: KubeObject | undefined;
  /** What the client sent, as it sent it: not in canonical form, without defaults. */
  readonly applied: unknown;
  readonly manager: string;
  readonly apiVersion: string;
  /** "" or absent for the main resource. */
  readonly subresource?: string | undefined;
  /** Take fields from others instead of failing. */
  readonly force: boolean;
  readonly nowMs: number;
  /** Fields that this endpoint does not take, such as [["status"]]. */
  readonly resetFields?: readonly (readonly string[])[];
}

const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";
/** The manager of `kubectl apply --server-side`; only it follows kubectl's client-side apply. */
const kubectl = "kubectl";
/** What all annotations of an object may hold, in bytes. */
const maxAnnotationsBytes = 256 * 1024;

interface Outcome {
  readonly object: KubeObject;
  readonly managers: Managers;
  readonly conflicts: readonly Conflict[];
}

/** Fields that this applier applied before, not now, and that no other manager owns: they go. */
function prune(schema: Schema, merged: unknown, managers: Managers, last: FieldSet): unknown {
  const named = (set: FieldSet) => set.withNamedFields(schema);
  const lastNamed = named(last);
  const mergedSet = named(fieldSetOf(schema, merged));

  let owned = new FieldSet();
  for (const { set } of managers.values()) owned = owned.union(set);

  // First without all that was applied before; then what anyone (this applier included) claims comes back …
  let pruned = removeFields(schema, merged, lastNamed);
  const prunedSet = named(fieldSetOf(schema, pruned));
  pruned = removeFields(schema, merged, mergedSet.difference(prunedSet.union(named(owned))));
  // … and then whatever went along without having been applied before.
  const finalSet = named(fieldSetOf(schema, pruned));
  return removeFields(schema, merged, mergedSet.difference(finalSet).intersection(lastNamed));
}

function applyOnce(input: ApplyInput, applied: KubeObject, live: KubeObject, managers: Managers): Outcome {
  const { schema, manager: name, apiVersion, subresource = "", resetFields } = input;
  const excluded = resetSet(resetFields);
  const self: Omit<Manager, "set" | "time"> = { name: name || "unknown", operation: "Apply", apiVersion, subresource };
  const key = managerKey(self);
  const former = managers.get(key);
  const set = withoutStripped(fieldSetOf(schema, applied)).difference(excluded, true);
  const claimed: Managers = new Map(managers);
  claimed.set(key, { ...self, set, time: former?.time });

  let merged = mergeTyped(schema, live, applied);
  if (former && !former.set.empty) {
    // Identity is not owned, and must not be pruned for that.
    const whole = new Map(claimed);
    whole.set(key, { ...claimed.get(key)!, set: fieldSetOf(schema, applied) });
    // Merged again, since a struct or list that the applier wants empty goes when pruning empties it.
    merged = mergeTyped(schema, prune(schema, merged, whole, former.set), applied);
  }
  const comparison = excludeFields(compare(schema, live, merged), excluded);
  return {
    object: settle(merged) as KubeObject,
    managers: takeFields(claimed, comparison, key),
    conflicts: findConflicts(claimed, comparison, key),
  };
}

/** Which fields kubectl's client-side apply set and nobody changed since: its server-side apply may take them. */
function lastAppliedFields(schema: Schema, live: KubeObject, apiVersion: string): FieldSet {
  const text = live.metadata?.annotations?.[lastAppliedAnnotation];
  if (!text) return new FieldSet();
  try {
    const last = parseJson(text);
    if (!isRecord(last) || last.apiVersion !== apiVersion) return new FieldSet();
    const { added, modified, removed } = compare(schema, last, live);
    return fieldSetOf(schema, last).difference(modified).difference(added).difference(removed);
  } catch {
    // An annotation that nobody can read allows nothing.
    return new FieldSet();
  }
}

/** Keeps kubectl's annotation in step, so that going back to client-side apply works. */
function syncLastApplied(object: KubeObject, applied: KubeObject): KubeObject {
  if (object.metadata.annotations?.[lastAppliedAnnotation] === undefined) return object;
  const { [lastAppliedAnnotation]: _, ...appliedAnnotations } = applied.metadata?.annotations ?? {};
  const config = { ...applied, metadata: { ...applied.metadata, annotations: appliedAnnotations } };
  if (applied.metadata?.annotations === undefined) delete (config.metadata as { annotations?: unknown }).annotations;
  const annotations: Record<string, string> = {
    ...object.metadata.annotations,
    [lastAppliedAnnotation]: `${stringifyJson(config)}\n`,
  };
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  if (bytes > maxAnnotationsBytes) delete annotations[lastAppliedAnnotation];
  return { ...object, metadata: { ...object.metadata, annotations } };
}

function readApplied({ schema, applied, live, apiVersion }: ApplyInput): KubeObject {
  if (!isRecord(applied)) throw badRequest("error decoding patch: an applied configuration must be an object");
  if (applied.apiVersion !== apiVersion) {
    throw badRequest(
      `Incorrect version specified in apply patch. Specified patch version: ${applied.apiVersion ?? ""}, expected: ${apiVersion}`,
    );
  }
  const metadata = isRecord(applied.metadata) ? applied.metadata : {};
  if (metadata.managedFields !== undefined && metadata.managedFields !== null) {
    throw badRequest("metadata.managedFields must be nil");
  }
  const errors = validateTyped(schema, applied);
  if (errors.length > 0) {
    const { namespace = "", name = "" } = { ...live?.metadata, ...metadata } as { namespace?: string; name?: string };
    const list = errors.length === 1 ? errors[0]! : `errors:\n${errors.map((error) => `  ${error}`).join("\n")}`;
    throw badRequest(
      `failed to create typed patch object (${namespace}/${name}; ${apiVersion}, Kind=${applied.kind ?? ""}): ${list}`,
    );
  }
  return applied as unknown as KubeObject;
}

/**
 * The object after the apply, with its managedFields; neither in canonical form nor defaulted again. When nothing
 * changes, it equals `live`, times included. Throws StatusError: 409 with one cause for each conflict unless `force`,
 * 400 for a configuration that does not fit the schema.
 */
export function applyConfiguration(input: ApplyInput): KubeObject {
  const { schema, manager, apiVersion, force, nowMs } = input;
  const applied = readApplied(input);
  const live = input.live ? withoutManagedFields(input.live) : ({ metadata: {} } as KubeObject);
  try {
    const managers = decodeManagers(input.live?.metadata.managedFields);
    const outcome = applyOnce(input, applied, live, managers);
    if (!force && outcome.conflicts.length > 0) {
      const allowed = manager === kubectl ? lastAppliedFields(schema, live, apiVersion) : new FieldSet();
      const conflicts = outcome.conflicts.filter(({ path }) => !allowed.has(path));
      if (conflicts.length > 0) throw conflictError(conflicts);
    }
    const object = manager === kubectl ? syncLastApplied(outcome.object, applied) : outcome.object;
    return withManagers(object, stampSelf(input, outcome.managers, managers, live, object, nowMs));
  } catch (error) {
    if (error instanceof TypedError) throw badRequest(error.message);
    throw error;
  }
}

/** An apply that changes neither the object nor an owner keeps its time, so that it is no write at all. */
function stampSelf(
  input: ApplyInput,
  after: Managers,
  before: Managers,
  live: KubeObject,
  object: KubeObject,
  nowMs: number,
): Managers {
  const { manager: name, apiVersion, subresource = "" } = input;
  const key = managerKey({ name: name || "unknown", operation: "Apply", apiVersion, subresource });
  const self = after.get(key);
  if (!self) return after;
  const sameOwners =
    after.size === before.size &&
    [...after].every(([other, { set, apiVersion: version }]) => {
      const was = before.get(other);
      return was !== undefined && was.apiVersion === version && was.set.equals(set);
    });
  if (sameOwners && equalJson(live, object)) return after;
  return new Map(after).set(key, { ...self, time: entryTime(nowMs) });
}
