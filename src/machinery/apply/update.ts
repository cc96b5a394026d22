/** Tracking who changed what by create, update and patch: every writer owns the fields that it changed. */
import { canonicalize } from "../canonical.ts";
import type { KubeObject, ManagedFieldsEntry } from "../object.ts";
import type { Schema } from "../schema.ts";
import { StatusError } from "../status.ts";
import {
  decodeManagers,
  encodeManagers,
  entryTime,
  foldOldUpdaters,
  type Manager,
  type Managers,
  managerKey,
  withoutStripped,
} from "./managers.ts";
import { excludeFields, resetSet, takeFields } from "./ownership.ts";
import { type Comparison, compare, TypedError } from "./typed.ts";
import { compareInVersions, fitManagers, run, type Steps, type Versions } from "./versions.ts";

export interface UpdateInput {
  readonly schema: Schema;
  /** What is stored; absent on create. */
  readonly live: KubeObject | undefined;
  /** What will be stored; its managedFields may be the client's. */
  readonly next: KubeObject;
  /** The request's field manager. */
  readonly manager: string;
  readonly apiVersion: string;
  /** "" or absent for the main resource. */
  readonly subresource?: string | undefined;
  readonly nowMs: number;
  /** Fields that this endpoint does not take, such as [["status"]]. */
  readonly resetFields?: readonly (readonly string[])[];
  /** The kind's other versions; absent: all owners are taken to use this one. */
  readonly versions?: Versions;
}

/** A list that is there but empty, or has one empty entry, asks to forget all owners. */
function isReset(entries: readonly ManagedFieldsEntry[] | undefined | null): boolean {
  if (!Array.isArray(entries)) return false;
  return entries.length === 0 || (entries.length === 1 && Object.keys(entries[0]!).length === 0);
}

function decodeOrNone(entries: readonly ManagedFieldsEntry[] | undefined): Managers {
  try {
    return decodeManagers(entries);
  } catch {
    return new Map();
  }
}

/** The owners before the change: the client's list if it sent one that can be read, else the stored one. */
function startingManagers({ live, next, subresource }: UpdateInput): Managers {
  const stored = live?.metadata.managedFields;
  const sent = next.metadata?.managedFields;
  if (subresource) return decodeOrNone(stored);
  if (isReset(sent)) return new Map();
  const managers = decodeOrNone(sent);
  return managers.size > 0 ? managers : decodeOrNone(stored);
}

/** The object without managedFields; shares everything else. */
export function withoutManagedFields<T extends KubeObject>(object: T): T {
  const { managedFields: _, ...metadata } = object.metadata ?? {};
  return { ...object, metadata };
}

/** The object with these managedFields (none: without the field); shares everything else. */
export function withManagers<T extends KubeObject>(object: T, managers: Managers): T {
  const managedFields = encodeManagers(managers);
  const bare = withoutManagedFields(object);
  return managedFields ? { ...bare, metadata: { ...bare.metadata, managedFields } } : bare;
}

/**
 * `next` with the managedFields that this write leaves; `next` itself stays as it is. Managers that lose nothing keep
 * their entry and time; those of other versions lose what the change touches as their version has it, and those of
 * versions that are gone go. An object that nobody owns any more is not tracked until it is applied. A list that cannot
 * be tracked (an element without its key) leaves the stored managedFields; an object that cannot be converted to an
 * owner's version loses them. A promise only when a conversion is one.
 */
export function trackUpdate<T extends KubeObject>(
  input: UpdateInput & { readonly next: T; readonly versions?: never },
): T;
export function trackUpdate<T extends KubeObject>(input: UpdateInput & { readonly next: T }): T | Promise<T>;
export function trackUpdate<T extends KubeObject>(input: UpdateInput & { readonly next: T }): T | Promise<T> {
  const { live, next } = input;
  const managers = startingManagers(input);
  if (managers.size === 0 && live?.metadata.uid) return withoutManagedFields(next);
  const lose = (error: unknown): T => {
    if (error instanceof TypedError) return withManagers(next, decodeOrNone(live?.metadata.managedFields));
    // Converting fails with a Status; anything else is a mistake of ours.
    if (!(error instanceof StatusError)) throw error;
    return withoutManagedFields(next);
  };
  try {
    const done = run(updatedManagers(input, managers), input.versions);
    const put = (after: Managers) => withManagers(next, foldOldUpdaters(after));
    return done instanceof Promise ? done.then(put).catch(lose) : put(done);
  } catch (error) {
    return lose(error);
  }
}

/** The owners after the change, not yet folded. Throws {@link TypedError}, and what converting throws. */
export function* updatedManagers(
  { schema, live, next, manager: name, apiVersion, subresource = "", nowMs, resetFields, versions }: UpdateInput,
  managers: Managers,
): Steps<Managers> {
  const known = fitManagers(managers, apiVersion, schema, versions);
  const before = live && withoutManagedFields(live);
  const after = withoutManagedFields(next);
  const comparison: Comparison = excludeFields(
    compare(schema, before ?? canonicalize(schema, {}), after),
    resetSet(resetFields),
  );
  const compared = yield* compareInVersions(comparison, { before, after }, known, undefined, apiVersion, versions);
  const result = takeFields(known, compared, undefined);
  const taken = withoutStripped(comparison.modified.union(comparison.added).difference(comparison.removed));
  if (!taken.empty) {
    const entry: Manager = {
      name: name || "unknown",
      operation: "Update",
      apiVersion,
      subresource,
      time: entryTime(nowMs),
      set: taken,
    };
    const key = managerKey(entry);
    const former = result.get(key);
    result.set(key, former ? { ...entry, set: former.set.union(taken) } : entry);
  }
  return result;
}
