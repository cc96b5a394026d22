/**
 * Server-side apply: puts an applied configuration over the live object, removes what its applier no longer applies,
 * and keeps the owners. Source: sigs.k8s.io/structured-merge-diff, merge, and apimachinery's util/managedfields.
 */
import { cloneJson, isRecord, parseJson, stringifyJson } from "../json.ts";
import type { KubeObject } from "../object.ts";
import type { Schema } from "../schema.ts";
import { badRequest } from "../status.ts";
import { FieldSet } from "./field-set.ts";
import { decodeManagers, entryTime, type Manager, type Managers, managerKey, withoutStripped } from "./managers.ts";
import { type Conflict, conflictError, excludeFields, findConflicts, resetSet, takeFields } from "./ownership.ts";
import { compare, equalJson, fieldSetOf, mergeTyped, removeFields, TypedError, validateTyped } from "./typed.ts";
import { updatedManagers, withManagers, withoutManagedFields } from "./update.ts";
import { compareInVersions, fitManagers, inVersion, run, type Steps, type Versions } from "./versions.ts";

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
  /** The kind's other versions; absent: all owners are taken to use this one. */
  readonly versions?: Versions;
}

const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration";
/** The manager of `kubectl apply --server-side`; only it follows kubectl's client-side apply. */
const kubectl = "kubectl";
/** Owns what an object had before it was first applied, when nobody kept track of it. */
const beforeFirstApply = "before-first-apply";
/** What all annotations of an object may hold, in bytes. */
const maxAnnotationsBytes = 256 * 1024;

interface Outcome {
  readonly object: KubeObject;
  readonly managers: Managers;
  readonly conflicts: readonly Conflict[];
}

/**
 * Takes out the fields that this applier applied before (`last`), not now, and that no other manager owns. What was
 * applied is looked for in the version in which it was applied, and what managers own in theirs.
 */
function* prune(input: ApplyInput, whole: KubeObject, managers: Managers, last: Manager): Steps<unknown> {
  const { apiVersion: own, versions } = input;
  const find = (apiVersion: string) => (apiVersion === own ? undefined : versions?.find(apiVersion));
  const versionOf = (apiVersion: string) => (find(apiVersion) ? apiVersion : own);
  const schemaOf = (apiVersion: string) => find(apiVersion)?.schema ?? input.schema;

  const lastVersion = versionOf(last.apiVersion);
  const schema = schemaOf(lastVersion);
  const merged = yield* inVersion(whole, own, lastVersion);
  const mergedSet = fieldSetOf(schema, merged).withNamedFields(schema);
  const lastSet = last.set.withNamedFields(schema);

  const ownedIn = new Map<string, FieldSet>([[lastVersion, new FieldSet()]]);
  for (const { apiVersion, set } of managers.values()) {
    const version = versionOf(apiVersion);
    ownedIn.set(version, ownedIn.get(version)?.union(set) ?? set);
  }

  // First without all that was applied before; then what anyone (this applier included) claims comes back, beginning
  // with the version at hand, since fields that a conversion needs may be among it …
  let pruned = removeFields(schema, merged, lastSet) as KubeObject;
  let at = lastVersion;
  for (const [version, owned] of ownedIn) {
    const there = schemaOf(version);
    const all = yield* inVersion(merged, lastVersion, version);
    pruned = yield* inVersion(pruned, at, version);
    at = version;
    const named = (set: FieldSet) => set.withNamedFields(there);
    const kept = named(fieldSetOf(there, pruned)).union(named(owned));
    const allSet = version === lastVersion ? mergedSet : named(fieldSetOf(there, all));
    const gone = allSet.difference(kept);
    pruned = removeFields(there, all, gone) as KubeObject;
  }
  // … and then whatever went along without having been applied before.
  pruned = yield* inVersion(pruned, at, lastVersion);
  const finalSet = fieldSetOf(schema, pruned).withNamedFields(schema);
  const result = removeFields(schema, merged, mergedSet.difference(finalSet).intersection(lastSet));
  return yield* inVersion(result as KubeObject, lastVersion, own);
}

function* applyOnce(input: ApplyInput, applied: KubeObject, live: KubeObject, managers: Managers): Steps<Outcome> {
  const { schema, manager: name, apiVersion, subresource = "", resetFields, versions } = input;
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
    merged = mergeTyped(schema, yield* prune(input, merged as KubeObject, whole, former), applied);
  }
  const comparison = excludeFields(compare(schema, live, merged), excluded);
  const change = { before: input.live && live, after: merged as KubeObject };
  const compared = yield* compareInVersions(comparison, change, claimed, key, apiVersion, versions);
  return {
    object: cloneJson(merged) as KubeObject,
    managers: takeFields(claimed, compared, key),
    conflicts: findConflicts(claimed, compared, key),
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
 * changes, it equals `live`, times included. Throws (or rejects with) StatusError: 409 with one cause for each conflict
 * unless `force`, 400 for a configuration that does not fit the schema; and what converting to the version of another
 * owner throws. A promise only when a conversion is one.
 */
export function applyConfiguration(input: ApplyInput & { readonly versions?: never }): KubeObject;
export function applyConfiguration(input: ApplyInput): KubeObject | Promise<KubeObject>;
export function applyConfiguration(input: ApplyInput): KubeObject | Promise<KubeObject> {
  const fail = (error: unknown): never => {
    throw error instanceof TypedError ? badRequest(error.message) : error;
  };
  try {
    const done = run(applySteps(input), input.versions);
    return done instanceof Promise ? done.catch(fail) : done;
  } catch (error) {
    return fail(error);
  }
}

function* applySteps(input: ApplyInput): Steps<KubeObject> {
  const { schema, manager, apiVersion, force, nowMs, versions } = input;
  const applied = readApplied(input);
  const live = input.live ? withoutManagedFields(input.live) : ({ metadata: {} } as KubeObject);
  const stored = storedManagers(input.live);
  let managers = fitManagers(stored, apiVersion, schema, versions);
  if (stored.size === 0 && input.live) {
    const all = { ...input, live: undefined, next: live, manager: beforeFirstApply };
    managers = yield* updatedManagers(all, stored);
  }
  const outcome = yield* applyOnce(input, applied, live, managers);
  if (!force && outcome.conflicts.length > 0) {
    const allowed = manager === kubectl ? lastAppliedFields(schema, live, apiVersion) : new FieldSet();
    const conflicts = outcome.conflicts.filter(({ path }) => !allowed.has(path));
    if (conflicts.length > 0) throw conflictError(conflicts);
  }
  const object = manager === kubectl ? syncLastApplied(outcome.object, applied) : outcome.object;
  return withManagers(object, stampSelf(input, outcome.managers, stored, live, object, nowMs));
}

function storedManagers(live: KubeObject | undefined): Managers {
  try {
    return decodeManagers(live?.metadata.managedFields);
  } catch (error) {
    throw new Error(`failed to decode managed fields: ${(error as Error).message}`);
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
