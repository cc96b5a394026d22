/** Conversion of custom resources between versions by webhook: apiextensions/v1 ConversionReview. */
import { randomUUID } from "node:crypto";
import type { CustomResourceDefinition } from "../../api/generated/apiextensions-v1.ts";
import { cloneJson, isRecord } from "../../machinery/json.ts";
import { labelValue, qualifiedName } from "../../machinery/names.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { type FieldError, fieldError, StatusError } from "../../machinery/status.ts";
import type { WebhookCaller, WebhookClientConfig } from "../webhook-call/webhook-caller.ts";

/** Converts objects to a version, those that are in it already excepted. The answer has them in the order of the question. */
export type Convert = (objects: readonly KubeObject[], apiVersion: string) => Promise<KubeObject[]>;

/** Kubernetes' figure. */
const timeoutMs = 30_000;

/** How objects of a definition are converted by its webhook; undefined: versions differ in their name only. */
export function converterOf({ spec }: CustomResourceDefinition, caller: WebhookCaller): Convert | undefined {
  const { strategy, webhook } = spec.conversion ?? {};
  if (strategy !== "Webhook") return undefined;
  const config = (webhook?.clientConfig ?? {}) as WebhookClientConfig;
  const version = webhook?.conversionReviewVersions.find((one) => one === "v1" || one === "v1beta1");
  const { kind } = spec.names;
  const listKind = spec.names.listKind || `${kind}List`;

  return async (objects, apiVersion) => {
    const foreign = objects.filter((object) => object.apiVersion !== apiVersion);
    if (foreign.length === 0) return [...objects];
    const single = foreign.length === 1;
    const subject = single ? `${foreign[0]!.apiVersion}, Kind=${kind}` : `${apiVersion}, Kind=${listKind}`;
    const fail = (why: string) => new StatusError(500, "", `conversion webhook for ${subject} ${why}`);
    if (!version) throw new StatusError(500, "", "no supported conversion review versions");

    const uid = randomUUID();
    const request = { uid, desiredAPIVersion: apiVersion, objects: foreign.map(withoutRevision) };
    let converted: unknown[];
    try {
      const review = { kind: "ConversionReview", apiVersion: `apiextensions.k8s.io/${version}`, request };
      converted = convertedObjects(version, uid, await caller.post(config, review, timeoutMs));
    } catch (error) {
      throw fail(`failed: ${(error as Error).message}`);
    }
    if (converted.length !== foreign.length) {
      throw fail(`returned ${converted.length} objects, expected ${foreign.length}`);
    }
    const of = new Map<KubeObject, KubeObject>();
    for (const [index, original] of foreign.entries()) {
      const at = single ? "" : ` at index ${index}`;
      const what = single ? "object" : "converted object";
      const object = converted[index];
      const wrong = typeError(original, object, apiVersion);
      if (wrong) throw fail(`returned invalid ${what} at index ${index}: ${wrong}`);
      const other = identityError(original, object as KubeObject);
      if (other) throw fail(`returned invalid ${what}${at}: ${other}`);
      try {
        of.set(original, restoreMetadata(original, object as KubeObject));
      } catch (error) {
        throw fail(`returned invalid metadata${single ? "" : ` in object${at}`}: ${(error as Error).message}`);
      }
    }
    return objects.map((object) => of.get(object) ?? object);
  };
}

/** A revision belongs to a stored object, not to what is converted. */
function withoutRevision(object: KubeObject): KubeObject {
  const { resourceVersion: _resourceVersion, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** Throws Error with Kubernetes' text for an answer that brings no objects. */
function convertedObjects(version: string, uid: string, answer: unknown): unknown[] {
  const review = isRecord(answer) ? answer : {};
  const strict = version === "v1";
  const got = `${review["apiVersion"] || "/"}, Kind=${review["kind"] ?? ""}`;
  const expected = "apiextensions.k8s.io/v1, Kind=ConversionReview";
  if (strict && got !== expected) throw new Error(`expected webhook response of ${expected}, got ${got}`);
  const { response } = review;
  if (!isRecord(response)) throw new Error("no response provided");
  if (strict && response["uid"] !== uid) {
    throw new Error(`expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response["uid"] ?? "")}`);
  }
  const result = isRecord(response["result"]) ? response["result"] : {};
  if (result["status"] !== "Success") {
    const message = result["message"];
    if (typeof message === "string" && message !== "") throw new Error(message);
    throw new Error(`response.result.status was '${result["status"] ?? ""}', not 'Success'`);
  }
  const objects = response["convertedObjects"];
  return Array.isArray(objects) ? objects : [];
}

function typeError(original: KubeObject, object: unknown, apiVersion: string): string | undefined {
  const { apiVersion: got, kind } = isRecord(object) ? object : {};
  if (got !== apiVersion) return `invalid groupVersion (expected ${apiVersion}, received ${got || "/"})`;
  if (kind !== original.kind) return `invalid kind (expected ${original.kind}, received ${kind ?? ""})`;
  return undefined;
}

function identityError(original: KubeObject, object: KubeObject): string | undefined {
  const { metadata } = original;
  const found = isRecord(object.metadata) ? object.metadata : {};
  for (const [field, name] of [
    ["name", "name"],
    ["namespace", "namespace"],
    ["uid", "UID"],
  ] as const) {
    const [before, after] = [metadata[field] ?? "", found[field] ?? ""];
    if (before !== after) return `must have the same ${name}: ${before} != ${after}`;
  }
  return undefined;
}

/** Of the metadata a webhook says only labels and annotations. Throws Error for those that cannot be. */
function restoreMetadata(original: KubeObject, object: KubeObject): KubeObject {
  if (object.metadata === undefined) throw new Error("missing metadata in converted object");
  if (!isRecord(object.metadata)) throw new Error("invalid metadata in converted object");
  const metadata = cloneJson(original.metadata);
  for (const field of ["labels", "annotations"] as const) {
    const said: unknown = object.metadata[field];
    if (said === undefined || said === null) {
      delete metadata[field];
      continue;
    }
    if (!isRecord(said)) throw new Error(`invalid metadata.${field} in converted object`);
    for (const [key, value] of Object.entries(said)) {
      if (typeof value !== "string") {
        throw new Error(`metadata.${field}[${key}] must be a string in converted object`);
      }
      if (original.metadata[field]?.[key] === value) continue;
      const [wrong] = field === "labels" ? labelErrors(key, value) : annotationErrors(key);
      if (wrong) throw new Error(`${wrong.field}: ${wrong.message}`);
    }
    metadata[field] = said as Record<string, string>;
  }
  return { ...object, metadata };
}

function labelErrors(key: string, value: string): FieldError[] {
  return [
    ...qualifiedName(key).map((text) => fieldError.invalid("metadata.labels", key, text)),
    ...labelValue(value).map((text) => fieldError.invalid("metadata.labels", value, text)),
  ];
}

function annotationErrors(key: string): FieldError[] {
  return qualifiedName(key.toLowerCase()).map((text) => fieldError.invalid("metadata.annotation", key, text));
}
