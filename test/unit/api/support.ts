import { findResource } from "../../../src/api/registry.ts";
import type { ResourceFacts } from "../../../src/api/resource.ts";
import { applyDefaults, canonicalize } from "../../../src/machinery/canonical.ts";
import type { KubeObject } from "../../../src/machinery/object.ts";

/** Objects of tests are read field by field, whatever their kind. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into objects of all kinds
export type Any = any;

export function resource(path: string): ResourceFacts {
  const [group = "", version = "", name = ""] = path.startsWith("v1/") ? ["", ...path.split("/")] : path.split("/");
  const facts = findResource(group, version, name);
  if (!facts) throw new Error(`no resource ${path}`);
  return facts;
}

/** What the API server does to a body before it validates it. */
export function created(path: string, body: object): Any {
  const facts = resource(path);
  const object = defaulted(path, body);
  facts.strategy.prepareForCreate?.(object);
  return object;
}

/** In canonical form, with all defaults. */
export function defaulted(path: string, body: object): Any {
  const facts = resource(path);
  const object = canonicalize(facts.schema, body) as KubeObject;
  applyDefaults(facts.schema, object);
  facts.strategy.applyDefaults?.(object);
  return canonicalize(facts.schema, object) as KubeObject;
}

/** Violations of a new object as "field: message". */
export function violations(path: string, body: object): string[] {
  const object = created(path, body);
  return (resource(path).strategy.validate?.(object) ?? []).map(({ field, message }) => `${field}: ${message}`);
}

/** Violations of an update from one body to another. */
export function updateViolations(path: string, before: object, after: object, subresource?: string): string[] {
  const facts = resource(path);
  const old = created(path, before);
  const object = defaulted(path, after);
  object.metadata.uid ??= old.metadata.uid;
  facts.strategy.prepareForUpdate?.(object, old);
  return (facts.strategy.validateUpdate?.(object, old, subresource) ?? []).map(
    ({ field, message }) => `${field}: ${message}`,
  );
}

export function pod(spec: object, metadata: object = {}): Any {
  return { apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "default", ...metadata }, spec };
}

/** The cells of a row by the names of their columns. */
export function row(path: string, object: object, nowMs: number): Record<string, unknown> {
  return Object.fromEntries(
    resource(path).columns.map((column) => [column.name, column.value(object as KubeObject, nowMs)]),
  );
}
