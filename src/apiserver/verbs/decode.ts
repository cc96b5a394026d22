import type { ResourceFacts } from "../../api/resource.ts";
import { builtInSchema } from "../../api/schemas.ts";
import { applyDefaults, canonicalize } from "../../machinery/canonical.ts";
import { cloneJson, getKey, isRecord } from "../../machinery/json.ts";
import { apiVersionOf, type KubeObject } from "../../machinery/object.ts";
import { pruneUnknown } from "../../machinery/pruning.ts";
import { badRequest, StatusError } from "../../machinery/status.ts";

export const objectMetaSchemaName = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

export type FieldValidation = "Ignore" | "Warn" | "Strict";

/** What decoding found that the object's type does not know, as texts: `unknown field "spec.x"`. */
export interface Findings {
  readonly texts: string[];
}

/** What decoding has to know of a kind. */
export type Typed = Pick<ResourceFacts, "group" | "version" | "kind" | "schema" | "custom">;

/** How Kubernetes begins every error about a body that is not what its kind says. */
export function cannotBeHandled(type: Typed, why: string): StatusError {
  return badRequest(
    `${type.kind} in version ${JSON.stringify(type.version)} cannot be handled as a ${type.kind}: ${why}`,
  );
}

/** What a body says of its own type. Throws 400 when that is no text. */
function typeMetaOf({ kind }: Typed, body: Record<string, unknown>): { apiVersion?: string; kind?: string } {
  for (const field of ["apiVersion", "kind"]) {
    const value = getKey(body, field) ?? "";
    if (typeof value === "string") continue;
    const found = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}): couldn't get version/kind; json parse error: json: cannot unmarshal ${found.replace("bigint", "number")} into Go struct field .${field} of type string`,
    );
  }
  return body;
}

/**
 * Checks that a parsed body is an object of the expected kind and brings it into canonical form, without defaults.
 * Throws 400 with Kubernetes' texts.
 */
export function decodeObject(type: Typed, body: unknown, findings: Findings): KubeObject {
  if (!isRecord(body)) {
    const found = body === null ? "null" : Array.isArray(body) ? "array" : typeof body;
    throw badRequest(
      `the object provided is unrecognized (must be of type ${type.kind}): couldn't get version/kind; json parse error: json: cannot unmarshal ${found} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`,
    );
  }
  const expected = apiVersionOf(type);
  const { apiVersion, kind } = typeMetaOf(type, body);
  if (apiVersion !== undefined && apiVersion !== "" && apiVersion !== expected) {
    throw badRequest(
      `the API version in the data (${apiVersion}) does not match the expected API version (${expected})`,
    );
  }
  if (kind !== undefined && kind !== "" && kind !== type.kind) {
    throw badRequest(
      `${kind} in version ${JSON.stringify(type.version)} cannot be handled as a ${type.kind}: the kind in the data (${kind}) does not match the expected kind (${type.kind})`,
    );
  }
  let object: KubeObject;
  try {
    const onUnknown = (path: string) => findings.texts.push(`unknown field ${JSON.stringify(path)}`);
    object = (
      type.custom
        ? decodeCustom(type, body, onUnknown)
        : canonicalize(type.schema, body, { onUnknown, emptyAsNull: true })
    ) as KubeObject;
  } catch (error) {
    if (error instanceof StatusError && error.code !== 400) throw error;
    throw cannotBeHandled(type, (error as Error).message);
  }
  object.metadata ??= {};
  object.apiVersion = expected;
  object.kind = type.kind;
  return object;
}

/** Custom resources keep their text: only unknown fields go, and metadata is brought into canonical form. */
function decodeCustom(type: Typed, body: Record<string, unknown>, onUnknown: (path: string) => void): KubeObject {
  const { metadata, ...rest } = cloneJson(body);
  pruneUnknown(type.schema, rest, onUnknown);
  const meta = canonicalize(builtInSchema(objectMetaSchemaName), metadata ?? {}, {
    onUnknown: (path) => onUnknown(`metadata.${path}`),
  });
  return { apiVersion: "", kind: "", metadata: meta as KubeObject["metadata"], ...rest };
}

/** Fills in defaults: those of the schema first, then those that depend on other fields. */
export function defaultObject(facts: ResourceFacts, object: KubeObject): void {
  applyDefaults(facts.schema, object);
  facts.strategy.applyDefaults?.(object);
}

/** Acts on what decoding found, as `fieldValidation` says: nothing, warnings, or a 400. */
export function report(
  type: Typed,
  findings: Findings,
  validation: FieldValidation,
  warn: (text: string) => void,
): void {
  const texts = [...new Set(findings.texts)];
  if (texts.length === 0 || validation === "Ignore") return;
  if (validation === "Strict") throw cannotBeHandled(type, `strict decoding error: ${texts.join(", ")}`);
  for (const text of texts) warn(text);
}
