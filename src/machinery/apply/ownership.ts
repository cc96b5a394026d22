/** What a change does to the ownership of fields: the part that apply and update share. */
import { applyConflict, type StatusCause, type StatusError } from "../status.ts";
import { FieldSet, type Path, printPath } from "./field-set.ts";
import type { Manager, Managers } from "./managers.ts";
import type { Comparison } from "./typed.ts";

/** A field that another manager owns and that this change would set to another value. */
export interface Conflict {
  readonly manager: Manager;
  readonly path: Path;
}

/** Fields that a manager may not own through an endpoint: status through the main resource, spec through /status. */
export function resetSet(resetFields: readonly (readonly string[])[] | undefined): FieldSet {
  return FieldSet.of(...(resetFields ?? []).map((path) => path.map((name) => `f:${name}`)));
}

/** The comparison without the fields of a set and all below them. */
export function excludeFields(comparison: Comparison, excluded: FieldSet): Comparison {
  if (excluded.empty) return comparison;
  return {
    added: comparison.added.difference(excluded, true),
    modified: comparison.modified.difference(excluded, true),
    removed: comparison.removed.difference(excluded, true),
  };
}

/** What a change sets, by version: most managers use the same one. */
function changedIn(compared: (apiVersion: string) => Comparison): (apiVersion: string) => FieldSet {
  let last: Comparison | undefined;
  let changed = new FieldSet();
  return (apiVersion) => {
    const comparison = compared(apiVersion);
    if (comparison !== last) changed = comparison.modified.union(comparison.added);
    last = comparison;
    return changed;
  };
}

/** The fields of others that a change would take, in a stable order. `compared`: the change as a version has it. */
export function findConflicts(
  managers: Managers,
  compared: (apiVersion: string) => Comparison,
  self: string | undefined,
): Conflict[] {
  const changed = changedIn(compared);
  const conflicts: Conflict[] = [];
  const byName = [...managers].sort(([a, x], [b, y]) =>
    x.name === y.name ? (a < b ? -1 : 1) : x.name < y.name ? -1 : 1,
  );
  for (const [key, manager] of byName) {
    if (key === self) continue;
    for (const path of manager.set.intersection(changed(manager.apiVersion)).paths()) conflicts.push({ manager, path });
  }
  return conflicts;
}

/** Takes changed and removed fields from everyone but `self`; managers that own nothing any more go. */
export function takeFields(
  managers: Managers,
  compared: (apiVersion: string) => Comparison,
  self: string | undefined,
): Managers {
  const changed = changedIn(compared);
  const result: Managers = new Map();
  for (const [key, manager] of managers) {
    const set =
      key === self
        ? manager.set
        : manager.set
            .difference(manager.set.intersection(changed(manager.apiVersion)))
            .difference(compared(manager.apiVersion).removed);
    if (!set.empty) result.set(key, set === manager.set ? manager : { ...manager, set });
  }
  return result;
}

function printManager({ name, operation, apiVersion, subresource }: Manager): string {
  const who = JSON.stringify(name) + (subresource === "" ? "" : ` with subresource ${JSON.stringify(subresource)}`);
  return operation === "Update" ? `${who} using ${apiVersion}` : who;
}

/** The 409 that names every conflict, in kube-apiserver's words. */
export function conflictError(conflicts: readonly Conflict[]): StatusError {
  const causes: StatusCause[] = conflicts.map(({ manager, path }) => ({
    reason: "FieldManagerConflict",
    message: `conflict with ${printManager(manager)}`,
    field: printPath(path),
  }));
  if (conflicts.length === 1) {
    const { manager, path } = conflicts[0]!;
    return applyConflict(
      `Apply failed with 1 conflict: conflict with ${printManager(manager)}: ${printPath(path)}`,
      causes,
    );
  }
  const lines: string[] = [];
  let last: Manager | undefined;
  for (const { manager, path } of conflicts) {
    if (manager !== last) lines.push(`conflicts with ${printManager(manager)}:`);
    last = manager;
    lines.push(`- ${printPath(path)}`);
  }
  return applyConflict(`Apply failed with ${conflicts.length} conflicts: ${lines.join("\n")}`, causes);
}
