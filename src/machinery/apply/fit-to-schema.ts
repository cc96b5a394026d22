/**
 * Fields that were written when a schema took a list or map apart, and that it now takes as a whole. Source:
 * sigs.k8s.io/structured-merge-diff, ReconcileFieldSetWithSchema.
 */
import type { Schema } from "../schema.ts";
import { FieldSet, type PathElement, schemaBelow } from "./field-set.ts";

function isWhole({ type, listType, mapType }: Schema): boolean {
  if (type === "array") return listType !== "map" && listType !== "set";
  return (type === "object" || type === "map") && mapType === "atomic";
}

/** The set as the schema has it now: who owned a part of what has become one leaf owns the leaf. Most sets come back as they are. */
export function fitToSchema(set: FieldSet, schema: Schema): FieldSet {
  let members: Set<PathElement> | undefined;
  let children: Map<PathElement, FieldSet> | undefined;
  for (const [element, child] of set.children) {
    const below = schemaBelow(schema, element);
    if (!below || child.empty) continue;
    if (isWhole(below)) {
      members ??= new Set(set.members);
      members.add(element);
      children ??= new Map(set.children);
      children.delete(element);
      continue;
    }
    const fitted = fitToSchema(child, below);
    if (fitted === child) continue;
    children ??= new Map(set.children);
    children.set(element, fitted);
  }
  return children ? new FieldSet(members ?? set.members, children) : set;
}
