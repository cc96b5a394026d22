/** PersistentVolumeClaims, and the templates that claims are made from. */
import { deepEqual } from "../../machinery/equality.ts";
import { qualifiedName } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  PersistentVolumeClaim,
  PersistentVolumeClaimSpec,
  PersistentVolumeClaimTemplate,
} from "../generated/core-v1.ts";
import { Errors } from "./errors.ts";
import { checkAnnotations, checkLabelSelector, checkLabels } from "./labels.ts";
import { isNativeResource } from "./resource-names.ts";

const accessModes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
export const volumeModes = ["Block", "Filesystem"];
const betaClass = "volume.beta.kubernetes.io/storage-class";

export function checkAccessModes(errors: Errors, path: string, modes: readonly string[]): void {
  for (const mode of modes) if (!accessModes.includes(mode)) errors.notSupported(path, mode, accessModes);
  const others = modes.some((mode) => mode !== "ReadWriteOncePod" && accessModes.includes(mode));
  if (modes.includes("ReadWriteOncePod") && others) {
    errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
  }
}

interface Source {
  apiGroup?: string;
  kind: string;
  name: string;
  namespace?: string;
}

function checkSource(errors: Errors, at: string, source: Source, lenient: boolean): void {
  errors.present(`${at}.name`, source.name);
  errors.present(`${at}.kind`, source.kind);
  if (!source.apiGroup && source.kind !== "PersistentVolumeClaim") {
    errors.invalid(at, source.kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
  }
  if (source.apiGroup && !lenient) errors.subdomain(`${at}.apiGroup`, source.apiGroup);
  if (source.namespace) errors.label(`${at}.namespace`, source.namespace);
}

function checkClaimSpec(errors: Errors, at: string, spec: PersistentVolumeClaimSpec, lenientGroups: boolean): void {
  errors.present(`${at}.accessModes`, spec.accessModes, "at least 1 access mode is required");
  checkLabelSelector(errors, `${at}.selector`, spec.selector);
  checkAccessModes(errors, `${at}.accessModes`, spec.accessModes ?? []);
  const storage = spec.resources?.requests?.["storage"];
  if (storage === undefined) errors.required(`${at}.resources[storage]`);
  else if (parseQuantity(storage).sign <= 0) {
    errors.invalid(`${at}.resources[storage]`, storage, "must be greater than zero");
  }
  if (spec.storageClassName) errors.subdomain(`${at}.storageClassName`, spec.storageClassName);
  errors.setOneOf(`${at}.volumeMode`, spec.volumeMode, volumeModes);
  const { dataSource: source, dataSourceRef: reference } = spec;
  if (source) checkSource(errors, `${at}.dataSource`, source, lenientGroups);
  if (reference) checkSource(errors, `${at}.dataSourceRef`, reference, lenientGroups);
  if (source && reference?.namespace) {
    errors.invalid(at, {}, "may not be specified when dataSourceRef.namespace is specified");
  } else if (source && reference) {
    const same = (["apiGroup", "kind", "name"] as const).every((field) => source[field] === reference[field]);
    if (!same) errors.invalid(at, {}, "must match dataSourceRef");
  }
  if (spec.volumeAttributesClassName) {
    errors.subdomain(`${at}.volumeAttributesClassName`, spec.volumeAttributesClassName);
  }
}

export function validateClaim({ spec }: PersistentVolumeClaim): FieldError[] {
  const errors = new Errors();
  checkClaimSpec(errors, "spec", spec ?? {}, false);
  return errors.list;
}

/** A template names no object: of the metadata only labels and annotations make sense. */
export function checkClaimTemplate(errors: Errors, at: string, template: PersistentVolumeClaimTemplate): void {
  const { annotations, labels, ...others } = template.metadata ?? {};
  checkAnnotations(errors, `${at}.metadata.annotations`, annotations);
  checkLabels(errors, `${at}.metadata.labels`, labels);
  for (const [field, value] of Object.entries(others)) {
    const unset = value === undefined || value === null || value === "" || (Array.isArray(value) && !value.length);
    if (!unset) errors.forbidden(`${at}.metadata.${field}`, "cannot be set");
  }
  checkClaimSpec(errors, `${at}.spec`, template.spec ?? {}, false);
}

export function validateClaimUpdate(
  claim: PersistentVolumeClaim,
  old: PersistentVolumeClaim,
  subresource?: string,
): FieldError[] {
  const errors = new Errors();
  if (subresource === "status") {
    checkStatus(errors, claim);
    return errors.list;
  }
  const spec = claim.spec ?? {};
  const before = old.spec ?? {};
  const hadGroup = before.dataSource?.apiGroup !== undefined || before.dataSourceRef?.apiGroup !== undefined;
  checkClaimSpec(errors, "spec", spec, hadGroup);
  checkFixedPart(errors, claim, old);
  const size = parseQuantity(spec.resources?.requests?.["storage"] ?? "0");
  const sizeBefore = parseQuantity(before.resources?.requests?.["storage"] ?? "0");
  // A growth that cannot succeed may be taken back, but not below what there is.
  const real = parseQuantity(old.status?.capacity?.["storage"] ?? "0");
  if (size.compare(sizeBefore) < 0 && size.compare(real) <= 0) {
    errors.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
  }
  errors.immutable("volumeMode", spec.volumeMode, spec.volumeMode === before.volumeMode);
  const path = "spec.volumeAttributesClassName";
  const attributes = spec.volumeAttributesClassName;
  const hasAttributes = old.status?.currentVolumeAttributesClassName !== undefined;
  if (attributes === before.volumeAttributesClassName || !hasAttributes) return errors.list;
  const text = "is forbidden when status.currentVolumeAttributesClassName is not nil";
  if (attributes === undefined) errors.forbidden(path, `update to nil ${text}`);
  else if (attributes === "") errors.forbidden(path, `update to empty string ${text}`);
  return errors.list;
}

/** Everything of the spec but what binding fills in, and what may be changed of a bound claim. */
function checkFixedPart(errors: Errors, claim: PersistentVolumeClaim, old: PersistentVolumeClaim): void {
  const spec = structuredClone(claim.spec ?? {});
  const before = structuredClone(old.spec ?? {});
  if (!before.volumeName) {
    delete before.volumeName;
    delete spec.volumeName;
  }
  const annotation = claim.metadata.annotations?.[betaClass];
  const annotationBefore = old.metadata.annotations?.[betaClass];
  const named = spec.storageClassName;
  const inherits =
    annotationBefore !== undefined && before.storageClassName === undefined && named === annotationBefore;
  if (inherits && (annotation === undefined || annotation === annotationBefore)) delete spec.storageClassName;
  else {
    if ((annotation ?? "") !== (annotationBefore ?? "")) {
      errors.invalid(`metadata.annotations.${betaClass}`, annotation ?? "", "field is immutable");
    }
    const open = before.storageClassName === undefined;
    if (open && (annotationBefore === undefined || named === annotationBefore)) delete spec.storageClassName;
  }
  if (claim.status?.phase === "Bound") {
    delete spec.volumeAttributesClassName;
    delete before.volumeAttributesClassName;
    const { requests } = spec.resources ?? {};
    const sizeBefore = before.resources?.requests?.["storage"];
    if (requests && sizeBefore !== undefined) requests["storage"] = sizeBefore;
  }
  if (!deepEqual(spec, before)) {
    const text =
      "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    errors.forbidden("spec", text);
  }
}

const resizeStates = [
  "ControllerResizeInProgress",
  "ControllerResizeInfeasible",
  "NodeResizeInProgress",
  "NodeResizeInfeasible",
  "NodeResizePending",
];

function checkStatus(errors: Errors, { spec, status }: PersistentVolumeClaim): void {
  if (!spec?.accessModes?.length) errors.required("Spec.accessModes");
  for (const [name, quantity] of Object.entries(status?.capacity ?? {})) {
    checkNotNegative(errors, `status.capacity[${name}]`, quantity);
  }
  const path = "status.allocatedResourceStatuses";
  for (const [name, state] of Object.entries(status?.allocatedResourceStatuses ?? {})) {
    checkResourceKey(errors, path, name);
    if (!resizeStates.includes(state)) errors.notSupported(path, name, [...resizeStates]);
  }
  for (const [name, quantity] of Object.entries(status?.allocatedResources ?? {})) {
    if (!checkResourceKey(errors, "status.allocatedResources", name)) continue;
    checkNotNegative(errors, `status.allocatedResources[${name}]`, quantity);
  }
}

export function checkNotNegative(errors: Errors, path: string, quantity: string): void {
  const value = Math.ceil(parseQuantity(quantity).toNumber());
  if (value < 0) errors.invalid(path, value, "must be a valid resource quantity");
}

function checkResourceKey(errors: Errors, path: string, name: string): boolean {
  const messages = qualifiedName(name);
  errors.messages(path, name, messages);
  if (messages.length > 0) return false;
  if (!isNativeResource(name) || name === "storage") return true;
  errors.notSupported(path, name, ["storage"]);
  return false;
}
