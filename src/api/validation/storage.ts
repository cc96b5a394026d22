/** The kinds of storage.k8s.io. */
import { deepEqual } from "../../machinery/equality.ts";
import { dns1123Subdomain, qualifiedName, rangeMessage } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { TopologySelectorTerm } from "../generated/core-v1.ts";
import type {
  CSIDriver,
  CSINode,
  CSIStorageCapacity,
  StorageClass,
  VolumeAttachment,
  VolumeAttributesClass,
} from "../generated/storage-v1.ts";
import { Errors } from "./errors.ts";
import { checkLabelSelector } from "./labels.ts";
import { checkVolumeSpec } from "./persistent-volume.ts";
import { checkDriverName } from "./volume-sources.ts";

const maxParameters = 512;
const maxParameterBytes = 256 * 1024;

function checkParameters(errors: Errors, parameters: Readonly<Record<string, string>>, needed: boolean): void {
  const entries = Object.entries(parameters);
  if (entries.length > maxParameters) {
    errors.tooLong("parameters", maxParameters);
    return;
  }
  let size = 0;
  for (const [key, value] of entries) {
    if (key === "") errors.invalid("parameters", key, "field can not be empty.");
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size > maxParameterBytes) errors.tooLong("parameters", maxParameterBytes);
  if (needed && entries.length === 0) errors.required("parameters", "must contain at least one key/value pair");
}

function checkProvisioner(errors: Errors, path: string, name: string | undefined): void {
  if (!errors.present(path, name)) return;
  const lower = name!.toLowerCase();
  errors.messages(path, lower, qualifiedName(lower));
}

export function validateStorageClass(storageClass: StorageClass): FieldError[] {
  const errors = new Errors();
  checkProvisioner(errors, "provisioner", storageClass.provisioner);
  checkParameters(errors, storageClass.parameters ?? {}, false);
  errors.optionalOneOf("reclaimPolicy", storageClass.reclaimPolicy, ["Delete", "Retain"]);
  const mode = storageClass.volumeBindingMode;
  if (mode === undefined) errors.required("volumeBindingMode");
  else errors.setOneOf("volumeBindingMode", mode, ["Immediate", "WaitForFirstConsumer"]);
  checkTopologies(errors, storageClass.allowedTopologies ?? []);
  return errors.list;
}

function checkTopologies(errors: Errors, terms: readonly TopologySelectorTerm[]): void {
  const known: object[] = [];
  for (const [index, term] of terms.entries()) {
    const at = `allowedTopologies[${index}].matchLabelExpressions`;
    const keys: Record<string, string[]> = {};
    for (const [place, { key, values: given }] of (term.matchLabelExpressions ?? []).entries()) {
      const path = `${at}[${place}]`;
      const values = given ?? [];
      errors.present(`${path}.values`, values);
      for (const [number, value] of values.entries()) {
        if (values.indexOf(value) < number) errors.duplicate(`${path}.values[${number}]`, value);
      }
      errors.qualified(`${path}.key`, key);
      if (Object.hasOwn(keys, key)) errors.duplicate(`${path}.key`, key);
      keys[key] = [...values].sort();
    }
    // An empty term equals the nothing that Kubernetes compares the first with.
    const twin = Object.keys(keys).length === 0 || known.some((other) => deepEqual(other, keys));
    if (twin) errors.duplicate(at, "");
    known.push(keys);
  }
}

export function validateStorageClassUpdate(storageClass: StorageClass, old: StorageClass): FieldError[] {
  const errors = new Errors();
  const { parameters, provisioner, reclaimPolicy, volumeBindingMode } = storageClass;
  errors.immutable("parameters", parameters ?? null, deepEqual(parameters ?? {}, old.parameters ?? {}));
  errors.immutable("provisioner", provisioner, provisioner === old.provisioner);
  errors.immutable("reclaimPolicy", reclaimPolicy, reclaimPolicy === old.reclaimPolicy);
  errors.immutable("volumeBindingMode", volumeBindingMode, volumeBindingMode === old.volumeBindingMode);
  return errors.list;
}

export function validateAttributesClass({ driverName, parameters }: VolumeAttributesClass): FieldError[] {
  const errors = new Errors();
  checkProvisioner(errors, "driverName", driverName);
  checkParameters(errors, parameters ?? {}, true);
  return errors.list;
}

export function validateAttributesClassUpdate(now: VolumeAttributesClass, old: VolumeAttributesClass): FieldError[] {
  const errors = new Errors();
  if (now.driverName !== old.driverName) errors.forbidden("driverName", "updates to driverName are forbidden.");
  if (!deepEqual(now.parameters ?? {}, old.parameters ?? {})) {
    errors.forbidden("parameters", "updates to parameters are forbidden.");
  }
  return errors.list;
}

const maxMetadataBytes = 256 * 1024;
const maxMessageBytes = 1024;

function checkAttachment(errors: Errors, { spec, status }: VolumeAttachment): void {
  checkDriverName(errors, "spec.attacher", spec?.attacher);
  const { inlineVolumeSpec: inline, persistentVolumeName: name } = spec?.source ?? {};
  const exactlyOne = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
  if (!inline && name === undefined) errors.required("spec.source", exactlyOne);
  else if (inline && name !== undefined) errors.forbidden("spec.source", exactlyOne);
  else if (name === "") {
    errors.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName");
  } else if (inline) checkVolumeSpec(errors, "spec.source.inlineVolumeSpec", inline, { name: "", inline: true });
  errors.messages("spec.nodeName", spec?.nodeName ?? "", dns1123Subdomain(spec?.nodeName ?? ""));
  const metadata = Object.entries(status?.attachmentMetadata ?? {});
  const size = metadata.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  if (size > maxMetadataBytes) errors.tooLong("status.attachmentMetadata", maxMetadataBytes);
  for (const field of ["attachError", "detachError"] as const) {
    const error = status?.[field];
    const path = `status.${field}`;
    // The limit that Kubernetes names here is not the one it checks.
    if (Buffer.byteLength(error?.message ?? "") > maxMessageBytes) errors.tooLong(`${path}.message`, maxMetadataBytes);
    const code = error?.errorCode;
    if (code !== undefined && code < 0) errors.invalid(`${path}.errorCode`, code, rangeMessage(0, 2_147_483_647));
  }
  if (name !== undefined) errors.messages("spec.source.persistentVolumeName", name, dns1123Subdomain(name));
}

export function validateAttachment(attachment: VolumeAttachment): FieldError[] {
  const errors = new Errors();
  checkAttachment(errors, attachment);
  return errors.list;
}

export function validateAttachmentUpdate(
  attachment: VolumeAttachment,
  old: VolumeAttachment,
  subresource?: string,
): FieldError[] {
  const errors = new Errors();
  checkAttachment(errors, attachment);
  if (subresource === undefined) errors.immutable("spec", attachment.spec, deepEqual(attachment.spec, old.spec));
  return errors.list;
}

const maxNodeId = 256;

export function validateCsiNode({ spec }: CSINode): FieldError[] {
  const errors = new Errors();
  const names = new Set<string>();
  for (const [index, { name, nodeID, allocatable, topologyKeys }] of (spec?.drivers ?? []).entries()) {
    const at = `spec.drivers[${index}]`;
    checkDriverName(errors, `${at}.name`, name);
    errors.present(`${at}.nodeID`, nodeID);
    if (nodeID.length > maxNodeId) errors.invalid(`${at}.nodeID`, nodeID, `must be ${maxNodeId} characters or less`);
    errors.nonNegative(`${at}.allocatable.count`, allocatable?.count);
    if (names.has(name)) errors.duplicate(`${at}.name`, name);
    names.add(name);
    const keys = topologyKeys ?? [];
    for (const [place, key] of keys.entries()) {
      errors.present(at, key);
      if (keys.indexOf(key) < place) errors.duplicate(at, key);
      errors.qualified(at, key);
    }
  }
  return errors.list;
}

/** A driver that is known on a node stays as it is, but for how much it can take. */
export function validateCsiNodeUpdate({ spec }: CSINode, old: CSINode): FieldError[] {
  const errors = new Errors();
  for (const { allocatable: _, ...before } of old.spec?.drivers ?? []) {
    for (const { allocatable: __, ...now } of spec?.drivers ?? []) {
      if (now.name === before.name) errors.immutable("spec.drivers", now, deepEqual(now, before));
    }
  }
  return errors.list;
}

export function validateCsiDriver({ spec }: CSIDriver): FieldError[] {
  const errors = new Errors();
  // Kubernetes spells the field's name differently in its texts.
  if (spec?.attachRequired === undefined) errors.required("spec.attachedRequired");
  for (const field of ["podInfoOnMount", "storageCapacity"] as const) {
    if (spec?.[field] === undefined) errors.required(`spec.${field}`);
  }
  errors.setOneOf("spec.fsGroupPolicy", spec?.fsGroupPolicy, ["File", "None", "ReadWriteOnceWithFSType"]);
  const requests = spec?.tokenRequests ?? [];
  checkTokens(errors, requests);
  for (const mode of spec?.volumeLifecycleModes ?? []) {
    if (mode !== "Persistent" && mode !== "Ephemeral") {
      errors.notSupportedInOrder("spec.volumeLifecycleModes", mode, ["Persistent", "Ephemeral"]);
    }
  }
  if (spec?.seLinuxMount === undefined) errors.required("spec.seLinuxMount");
  const period = spec?.nodeAllocatableUpdatePeriodSeconds;
  if (period !== undefined && period < 10) {
    errors.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, "must be greater than or equal to 10 seconds");
  }
  const inSecrets = spec?.serviceAccountTokenInSecrets;
  if (inSecrets !== undefined && requests.length === 0) {
    const text = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
    errors.invalid("spec.serviceAccountTokenInSecrets", inSecrets, text);
  }
  return errors.list;
}

function checkTokens(errors: Errors, requests: readonly { audience: string; expirationSeconds?: number }[]): void {
  const audiences = new Set<string>();
  for (const [index, { audience, expirationSeconds: seconds }] of requests.entries()) {
    const at = `spec.tokenRequests[${index}]`;
    if (audiences.has(audience)) {
      errors.duplicate(`${at}.audience`, audience);
      continue;
    }
    audiences.add(audience);
    const path = `${at}.expirationSeconds`;
    if (seconds === undefined) continue;
    if (seconds < 600) errors.invalid(path, seconds, "may not specify a duration less than 10 minutes");
    if (seconds > 2 ** 32) errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds");
  }
}

export function validateCsiDriverUpdate({ spec }: CSIDriver, old: CSIDriver): FieldError[] {
  const errors = new Errors();
  const { attachRequired, volumeLifecycleModes: modes } = spec ?? {};
  const before = old.spec;
  errors.immutable("spec.attachedRequired", attachRequired ?? null, attachRequired === before?.attachRequired);
  errors.immutable("spec.volumeLifecycleModes", modes ?? null, deepEqual(modes, before?.volumeLifecycleModes));
  return errors.list;
}

export function validateStorageCapacity(capacity: CSIStorageCapacity): FieldError[] {
  const errors = new Errors();
  checkLabelSelector(errors, "nodeTopology", capacity.nodeTopology);
  const name = capacity.storageClassName ?? "";
  errors.subdomain("storageClassName", name);
  if (capacity.capacity !== undefined && parseQuantity(capacity.capacity).sign < 0) {
    errors.invalid("capacity", capacity.capacity, "must be greater than or equal to 0");
  }
  return errors.list;
}

export function validateStorageCapacityUpdate(capacity: CSIStorageCapacity, old: CSIStorageCapacity): FieldError[] {
  const errors = new Errors();
  const { nodeTopology, storageClassName } = capacity;
  errors.immutable("nodeTopology", nodeTopology ?? null, deepEqual(nodeTopology, old.nodeTopology));
  errors.immutable("storageClassName", storageClassName, storageClassName === old.storageClassName);
  return errors.list;
}

const unsetTokens =
  "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";

export function csiDriverWarnings({ spec }: CSIDriver, old?: CSIDriver): string[] {
  const requests = spec?.tokenRequests;
  if (!requests?.length || spec.serviceAccountTokenInSecrets !== undefined) return [];
  return deepEqual(requests, old?.spec?.tokenRequests) ? [] : [unsetTokens];
}
