import { builtInSchema } from "../../../api/schemas.ts";
import { mergeTyped, TypedError, validateTyped } from "../../../machinery/apply/typed.ts";
import { canonicalize } from "../../../machinery/canonical.ts";
import { cloneJson, isRecord } from "../../../machinery/json.ts";
import { applyJsonPatch } from "../../../machinery/json-patch.ts";
import type { KubeObject } from "../../../machinery/object.ts";
import type { Schema } from "../../../machinery/schema.ts";
import { internalError, notBuilt } from "../../../machinery/status.ts";
import type { AdmissionAttributes } from "../../request.ts";
import { decodeObject, defaultObject } from "../../verbs/decode.ts";
import type { Change } from "./mutations.ts";
import { kindOf } from "./request-values.ts";

/** Bodies of subresources that are not the resource itself. */
const subresourceSchemas: Readonly<Record<string, string>> = {
  Scale: "io.k8s.api.autoscaling.v1.Scale",
  Eviction: "io.k8s.api.policy.v1.Eviction",
  Binding: "io.k8s.api.core.v1.Binding",
};

/** How the answer to a patch that does not fit begins; policies say only what follows. */
const rejected = "the server rejected our request due to an error in our request: ";

/**
 * The object of a request with a change made, defaulted again; the object itself is left as it is. Undefined: nothing
 * changed, since a test of the patch failed. Throws Error for what the policy is to blame, StatusError for what it is not.
 */
export function applyChange(attributes: AdmissionAttributes, change: Change): KubeObject | undefined {
  const object = attributes.object!;
  if (change.type === "apply") return decode(attributes, merge(attributes, object, change.configuration), false);
  let patched: unknown;
  try {
    patched = applyJsonPatch(object, change.operations);
  } catch (error) {
    const text = (error as Error).message.replace(rejected, "");
    if (text.endsWith(": test failed")) return undefined;
    throw new Error(`JSON Patch: ${text}`);
  }
  return decode(attributes, patched, true);
}

function schemaOf(attributes: AdmissionAttributes): Schema {
  const { kind } = kindOf(attributes);
  if (kind === attributes.facts.kind) return attributes.facts.schema;
  const name = subresourceSchemas[kind];
  if (!name) throw notBuilt(`Changing a ${kind} by policy`);
  return builtInSchema(name);
}

/** What a policy made, as if it had come with the request. */
function decode(attributes: AdmissionAttributes, body: unknown, strict: boolean): KubeObject {
  const { facts } = attributes;
  const { kind } = kindOf(attributes);
  const unknown: string[] = [];
  let object: KubeObject;
  try {
    if (kind === facts.kind) object = decodeObject(facts, body, { texts: unknown });
    else {
      const { apiVersion, kind: own } = attributes.object!;
      const onUnknown = (path: string) => unknown.push(`unknown field ${JSON.stringify(path)}`);
      const content = canonicalize(schemaOf(attributes), body, { onUnknown }) as KubeObject;
      object = { ...(apiVersion ? { apiVersion } : {}), ...(own ? { kind: own } : {}), ...content };
    }
  } catch (error) {
    throw internalError(error);
  }
  if (strict && unknown.length > 0 && !facts.custom) {
    throw internalError(new Error(`strict decoding error: ${unknown.join(", ")}`));
  }
  if (kind === facts.kind) defaultObject(facts, object);
  return object;
}

/** A configuration put over an object, as server-side apply would, but owning nothing. */
function merge(attributes: AdmissionAttributes, object: KubeObject, configuration: Record<string, unknown>): unknown {
  const schema = schemaOf(attributes);
  const { apiVersion, kind } = object;
  const applied = { ...configuration, ...(apiVersion ? { apiVersion } : {}), ...(kind ? { kind } : {}) };
  const fail = (why: string) => new Error(`error applying patch: ${why}`);
  const wrong = validateTyped(schema, applied);
  if (wrong.length > 0) {
    const list = wrong.length === 1 ? wrong[0] : `errors:\n${wrong.map((text) => `  ${text}`).join("\n")}`;
    throw fail(`failed to convert patch object to typed object: ${list}`);
  }
  const atomic = atomicPaths(schema, applied, "");
  if (atomic.length > 0) {
    throw fail(`invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: ${atomic.join(", ")}`);
  }
  try {
    return cloneJson(mergeTyped(schema, object, applied));
  } catch (error) {
    if (error instanceof TypedError) throw fail(`failed to merge patch: ${error.message}`);
    throw error;
  }
}

/** Where a configuration sets something that it could only replace as a whole. */
function atomicPaths(schema: Schema, value: unknown, path: string): string[] {
  if (Array.isArray(value)) {
    const whole = schema.listType !== "map" && schema.listType !== "set";
    const own = whole ? [path] : [];
    const { items } = schema;
    return items ? [...own, ...value.flatMap((item, i) => atomicPaths(items, item, `${path}[${i}]`))] : own;
  }
  if (!isRecord(value)) return [];
  const own = schema.mapType === "atomic" || schema.type === "raw" ? [path] : [];
  const below = Object.entries(value).flatMap(([key, inner]) => {
    const field = schema.fields && Object.hasOwn(schema.fields, key) ? schema.fields[key]!.schema : undefined;
    return field ? atomicPaths(field, inner, `${path}.${key}`) : [];
  });
  return [...own, ...below];
}
