/** The rules for metadata that all kinds share. Source: apimachinery's api/validation/objectmeta.go. */
import type { ResourceFacts } from "../../api/resource.ts";
import { dns1123Label, dns1123Subdomain, labelValue, maskTrailingDash, qualifiedName } from "../../machinery/names.ts";
import type { KubeObject, ObjectMeta, OwnerReference } from "../../machinery/object.ts";
import { type FieldError, fieldError } from "../../machinery/status.ts";

const annotationsMaxBytes = 256 * 1024;

/** Checks metadata of an object that is about to be written. */
export function validateObjectMeta(facts: ResourceFacts, object: KubeObject): FieldError[] {
  const { metadata } = object;
  return [
    ...validateNames(facts, metadata),
    ...validateLabels(metadata.labels),
    ...validateAnnotations(metadata.annotations),
    ...validateOwners(metadata.ownerReferences),
    ...validateFinalizers(metadata.finalizers),
  ];
}

function validateNames(facts: ResourceFacts, { name, generateName, namespace }: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  const validateName =
    facts.strategy.validateName ??
    ((value: string, prefix: boolean) => dns1123Subdomain(prefix ? maskTrailingDash(value) : value));
  if (generateName) {
    for (const text of validateName(generateName, true)) {
      errors.push(fieldError.invalid("metadata.generateName", generateName, text));
    }
  }
  if (!name) errors.push(fieldError.required("metadata.name", "name or generateName is required"));
  else for (const text of validateName(name, false)) errors.push(fieldError.invalid("metadata.name", name, text));
  if (!facts.namespaced) {
    if (namespace) errors.push(fieldError.forbidden("metadata.namespace", "not allowed on this type"));
  } else if (!namespace) errors.push(fieldError.required("metadata.namespace"));
  else {
    for (const text of dns1123Label(namespace)) {
      errors.push(fieldError.invalid("metadata.namespace", namespace, text));
    }
  }
  return errors;
}

function validateLabels(labels: Readonly<Record<string, string>> = {}): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(labels)) {
    for (const text of qualifiedName(key)) errors.push(fieldError.invalid("metadata.labels", key, text));
    for (const text of labelValue(value)) errors.push(fieldError.invalid("metadata.labels", value, text));
  }
  return errors;
}

function validateAnnotations(annotations: Readonly<Record<string, string>> = {}): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) {
    for (const text of qualifiedName(key.toLowerCase())) {
      errors.push(fieldError.invalid("metadata.annotations", key, text));
    }
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > annotationsMaxBytes) errors.push(fieldError.tooLong("metadata.annotations", annotationsMaxBytes));
  return errors;
}

function validateOwners(owners: readonly OwnerReference[] = []): FieldError[] {
  const errors: FieldError[] = [];
  let controller: OwnerReference | undefined;
  for (const [index, owner] of owners.entries()) {
    const at = `metadata.ownerReferences[${index}]`;
    if (!owner.apiVersion) errors.push(fieldError.invalid(`${at}.apiVersion`, "", "version must not be empty"));
    if (!owner.kind) errors.push(fieldError.invalid(`${at}.kind`, "", "must not be empty"));
    if (!owner.name) errors.push(fieldError.invalid(`${at}.name`, "", "must not be empty"));
    if (!owner.uid) errors.push(fieldError.invalid(`${at}.uid`, "", "must not be empty"));
    if (!owner.controller) continue;
    if (controller) {
      const text = `Only one reference can have Controller set to true. Found "true" in references for ${controller.name} and ${owner.name}`;
      errors.push(fieldError.invalid("metadata.ownerReferences", owners, text));
    }
    controller = owner;
  }
  return errors;
}

function validateFinalizers(finalizers: readonly string[] = []): FieldError[] {
  const errors: FieldError[] = [];
  for (const finalizer of finalizers) {
    for (const text of qualifiedName(finalizer)) {
      errors.push(fieldError.invalid("metadata.finalizers", finalizer, text));
    }
  }
  if (finalizers.includes("orphan") && finalizers.includes("foregroundDeletion")) {
    const text = "finalizer orphan and foregroundDeletion cannot be both set";
    errors.push(fieldError.invalid("metadata.finalizers", finalizers, text));
  }
  return errors;
}

/** What an update may not change; call after {@link keepSystemFields}. */
export function validateObjectMetaUpdate(object: KubeObject, old: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const immutable = (field: "name" | "namespace" | "uid" | "creationTimestamp") => {
    if (object.metadata[field] !== old.metadata[field]) {
      errors.push(fieldError.invalid(`metadata.${field}`, object.metadata[field], "field is immutable"));
    }
  };
  for (const field of ["name", "namespace", "uid", "creationTimestamp"] as const) immutable(field);
  if (old.metadata.deletionTimestamp) {
    const before = old.metadata.finalizers ?? [];
    const added = (object.metadata.finalizers ?? []).filter((finalizer) => !before.includes(finalizer));
    if (added.length > 0) {
      const list = added.map((finalizer) => JSON.stringify(finalizer)).join(", ");
      const text = `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`;
      errors.push(fieldError.forbidden("metadata.finalizers", text));
    }
  }
  return errors;
}

/** Takes over from `old` what the system owns and an update may leave out. */
export function keepSystemFields(object: KubeObject, old: KubeObject): void {
  const { metadata } = object;
  metadata.uid ||= old.metadata.uid!;
  metadata.creationTimestamp ||= old.metadata.creationTimestamp!;
  for (const field of ["deletionTimestamp", "deletionGracePeriodSeconds"] as const) {
    if (old.metadata[field] === undefined) delete metadata[field];
    else (metadata as Record<string, unknown>)[field] = old.metadata[field];
  }
  delete metadata.selfLink;
  if (old.metadata.generateName !== undefined) metadata.generateName ??= old.metadata.generateName;
}
