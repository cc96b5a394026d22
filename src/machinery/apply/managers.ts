/** metadata.managedFields as field sets by manager, and back. Source: apimachinery's util/managedfields. */
import { formatTime } from "../clock.ts";
import type { ManagedFieldsEntry } from "../object.ts";
import { FieldSet } from "./field-set.ts";

/** One manager's entry. Appliers are one manager whatever version they use; updaters one a version. */
export interface Manager {
  readonly name: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string | undefined;
  readonly set: FieldSet;
}

/** All managers of an object, by {@link managerKey}. */
export type Managers = Map<string, Manager>;

export function managerKey(manager: Pick<Manager, "name" | "operation" | "apiVersion" | "subresource">): string {
  const version = manager.operation === "Apply" ? "" : manager.apiVersion;
  return JSON.stringify([manager.operation, manager.name, version, manager.subresource]);
}

/** Reads managedFields. Throws Error when an entry is malformed. */
export function decodeManagers(entries: readonly ManagedFieldsEntry[] | undefined | null): Managers {
  const managers: Managers = new Map();
  for (const [index, entry] of (entries ?? []).entries()) {
    if (entry.operation !== "Apply" && entry.operation !== "Update") {
      throw new Error("operation must be `Apply` or `Update`");
    }
    if (!entry.apiVersion) throw new Error("apiVersion must not be empty");
    if (!entry.fieldsType) throw new Error(`missing fieldsType in managed fields entry ${index}`);
    if (entry.fieldsType !== "FieldsV1") {
      throw new Error(`invalid fieldsType ${JSON.stringify(entry.fieldsType)} in managed fields entry ${index}`);
    }
    const manager: Manager = {
      name: entry.manager ?? "",
      operation: entry.operation,
      apiVersion: entry.apiVersion,
      subresource: entry.subresource ?? "",
      time: entry.time,
      set: FieldSet.fromFields(entry.fieldsV1 ?? {}),
    };
    managers.set(managerKey(manager), manager);
  }
  return managers;
}

const byCode = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** managedFields, sorted as kube-apiserver does: appliers first, then by time, name, version, subresource. */
export function encodeManagers(managers: Managers): ManagedFieldsEntry[] | undefined {
  const sorted = [...managers.values()].sort(
    (a, b) =>
      byCode(a.operation, b.operation) ||
      byCode(a.time ?? "", b.time ?? "") ||
      byCode(a.name, b.name) ||
      byCode(a.apiVersion, b.apiVersion) ||
      byCode(a.subresource, b.subresource),
  );
  if (sorted.length === 0) return undefined;
  return sorted.map(({ name, operation, apiVersion, subresource, time, set }) => ({
    manager: name,
    operation,
    apiVersion,
    ...(time === undefined ? {} : { time }),
    fieldsType: "FieldsV1",
    fieldsV1: set.toFields(),
    ...(subresource === "" ? {} : { subresource }),
  }));
}

/** What nobody owns: identity and what the server itself sets. */
const stripped = FieldSet.of(
  ["f:apiVersion"],
  ["f:kind"],
  ["f:metadata"],
  ...[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
  ].map((name) => ["f:metadata", `f:${name}`]),
);

export function withoutStripped(set: FieldSet): FieldSet {
  return set.difference(stripped);
}

/** More updaters than this are folded into one a version, oldest first. */
const maxUpdaters = 10;
const foldedName = "ancient-changes";

/** Keeps the list of updaters short: an object that many tools touch would otherwise grow without end. */
export function foldOldUpdaters(managers: Managers): Managers {
  const updaters = [...managers].filter(([, { operation }]) => operation === "Update");
  if (updaters.length <= maxUpdaters) return managers;
  const folded: Managers = new Map(managers);
  updaters.sort(([a, x], [b, y]) => byCode(x.time ?? "", y.time ?? "") || byCode(a, b));
  let excess = updaters.length - maxUpdaters;
  /** The oldest of each version. It keeps its name until another one joins it. */
  const oldest = new Map<string, string>();
  for (const [key, manager] of updaters) {
    if (excess <= 0) break;
    const first = oldest.get(manager.apiVersion);
    if (first === undefined) {
      oldest.set(manager.apiVersion, key);
      continue;
    }
    const bucket: Manager = { ...manager, name: foldedName, subresource: "" };
    const bucketKey = managerKey(bucket);
    // What was folded before is where the others go, however old it is.
    if (key === bucketKey) continue;
    let before = folded.get(bucketKey);
    if (!before) {
      before = folded.get(first)!;
      folded.delete(first);
    }
    folded.delete(key);
    folded.set(bucketKey, { ...bucket, set: before.set.union(manager.set) });
    excess--;
  }
  return folded;
}

/** The time of an entry: whole seconds. */
export const entryTime = formatTime;
