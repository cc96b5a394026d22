import { zeroValue } from "../machinery/canonical.ts";
import type { KubeObject } from "../machinery/object.ts";
import type { Schema } from "../machinery/schema.ts";
import type { KindStrategy } from "./kind-facts.ts";
import type { Requestor, Strategy } from "./resource.ts";

/** An object with the parts that most kinds have. */
interface Body extends KubeObject {
  spec?: unknown;
  status?: unknown;
  [field: string]: unknown;
}

/**
 * The strategy of a kind: its own rules inside those that all kinds share. Creators and updaters set neither the
 * generation nor, where there is a status subresource, the status; status writers set nothing else.
 */
export function makeStrategy(rules: KindStrategy<KubeObject>, schema: Schema, hasStatus: boolean): Strategy {
  const statusSchema = hasStatus ? schema.fields?.["status"] : undefined;
  const counted = rules.counted ?? ((object: KubeObject) => (object as Body).spec);

  function prepareForCreate(object: KubeObject, requestor?: Requestor): void {
    delete object.metadata.generation;
    if (statusSchema && !rules.statusOnCreate) resetStatus(object as Body, statusSchema.empty, statusSchema.schema);
    if (rules.generation) object.metadata.generation = 1;
    rules.prepareForCreate?.(object, requestor);
  }

  function prepareForUpdate(object: KubeObject, old: KubeObject): void {
    copyGeneration(object, old);
    if (statusSchema) copyField(object as Body, old as Body, "status");
    rules.prepareForUpdate?.(object, old);
    if (rules.generation && !sameJson(counted(object), counted(old))) {
      object.metadata.generation = (old.metadata.generation ?? 0) + 1;
    }
  }

  function prepareForStatusUpdate(object: KubeObject, old: KubeObject): void {
    copyGeneration(object, old);
    const fields = new Set([...Object.keys(object), ...Object.keys(old)]);
    for (const field of fields) {
      if (!["apiVersion", "kind", "metadata", "status"].includes(field)) copyField(object as Body, old as Body, field);
    }
    rules.prepareForStatusUpdate?.(object, old);
  }

  return {
    ...(rules.validateName && { validateName: rules.validateName }),
    ...(rules.applyDefaults && { applyDefaults: rules.applyDefaults }),
    prepareForCreate,
    prepareForUpdate,
    ...(hasStatus && { prepareForStatusUpdate }),
    ...(rules.validate && { validate: rules.validate }),
    ...(rules.validateUpdate && { validateUpdate: rules.validateUpdate }),
    ...(rules.ratchets && { ratchets: true }),
    ...(rules.warnings && { warnings: rules.warnings }),
    allowCreateOnUpdate: rules.allowCreateOnUpdate ?? false,
    allowUnconditionalUpdate: rules.allowUnconditionalUpdate ?? true,
    ...(rules.defaultPropagation && { defaultPropagation: rules.defaultPropagation }),
    ...(rules.warningWithoutPropagation && { warningWithoutPropagation: rules.warningWithoutPropagation }),
    ...(rules.gracePeriodSeconds && { gracePeriodSeconds: rules.gracePeriodSeconds }),
  };
}

function copyGeneration(object: KubeObject, old: KubeObject): void {
  if (old.metadata.generation === undefined) delete object.metadata.generation;
  else object.metadata.generation = old.metadata.generation;
}

/** Takes a top-level field from `old`, which stays untouched. */
export function copyField<T extends KubeObject>(object: T, old: T, field: keyof T & string): void {
  if (old[field] === undefined) delete object[field];
  else object[field] = structuredClone(old[field]);
}

function resetStatus(object: Body, empty: string, schema: Schema): void {
  if (empty === "always") object.status = zeroValue(schema);
  else delete object.status;
}

/** Equality of two JSON values, the order of keys aside. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && sameJson(left[key], right[key]))
  );
}

/** For status writers that must not touch labels. */
export function copyLabels(object: KubeObject, old: KubeObject): void {
  if (old.metadata.labels) object.metadata.labels = { ...old.metadata.labels };
  else delete object.metadata.labels;
}
