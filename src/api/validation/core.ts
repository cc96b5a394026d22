import { configMapKey, dns1123Label, qualifiedName } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  ConfigMap,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Secret,
} from "../generated/core-v1.ts";
import { sameJson } from "../strategy.ts";
import { Errors } from "./errors.ts";
import { checkLabelSelector } from "./labels.ts";

/** Greatest size of the data of a ConfigMap or Secret. */
const maxDataBytes = 1024 * 1024;

const base64Bytes = (text: string) => Buffer.byteLength(text, "base64");

export function validateConfigMap({ data, binaryData }: ConfigMap): FieldError[] {
  const errors = new Errors();
  let size = 0;
  for (const [key, value] of Object.entries(data ?? {})) {
    errors.messages(`data[${key}]`, key, configMapKey(key));
    if (binaryData && key in binaryData) errors.invalid(`data[${key}]`, key, "duplicate of key present in binaryData");
    size += Buffer.byteLength(value);
  }
  for (const [key, value] of Object.entries(binaryData ?? {})) {
    errors.messages(`binaryData[${key}]`, key, configMapKey(key));
    size += base64Bytes(value);
  }
  if (size > maxDataBytes) errors.tooLong("", maxDataBytes);
  return errors.list;
}

interface Sealable {
  immutable?: boolean;
  data?: Record<string, string>;
  binaryData?: Record<string, string>;
}

/** Data that was declared immutable stays, and stays immutable. */
function checkSealed(errors: Errors, object: Sealable, old: Sealable): void {
  if (!old.immutable) return;
  const text = "field is immutable when `immutable` is set";
  if (!object.immutable) errors.forbidden("immutable", text);
  if (!sameJson(object.data ?? {}, old.data ?? {})) errors.forbidden("data", text);
  if (!sameJson(object.binaryData ?? {}, old.binaryData ?? {})) errors.forbidden("binaryData", text);
}

export function validateConfigMapUpdate(configMap: ConfigMap, old: ConfigMap): FieldError[] {
  const errors = new Errors();
  checkSealed(errors, configMap, old);
  return errors.list;
}

export function validateSecret({ data, type, metadata }: Secret): FieldError[] {
  const errors = new Errors();
  let size = 0;
  for (const [key, value] of Object.entries(data ?? {})) {
    errors.messages(`data[${key}]`, key, configMapKey(key));
    size += base64Bytes(value);
  }
  if (size > maxDataBytes) errors.tooLong("data", maxDataBytes);
  const needs = (key: string) => {
    if (data?.[key] === undefined) errors.required(`data[${key}]`);
  };
  switch (type) {
    case "kubernetes.io/service-account-token": {
      const key = "kubernetes.io/service-account.name";
      if (!metadata.annotations?.[key]) errors.required(`metadata.annotations[${key}]`);
      break;
    }
    case "kubernetes.io/dockercfg":
    case "kubernetes.io/dockerconfigjson": {
      const key = type === "kubernetes.io/dockercfg" ? ".dockercfg" : ".dockerconfigjson";
      needs(key);
      if (data?.[key] !== undefined) checkJson(errors, `data[${key}]`, data[key]);
      break;
    }
    case "kubernetes.io/basic-auth":
      if (data?.["username"] === undefined && data?.["password"] === undefined) {
        needs("username");
        needs("password");
      }
      break;
    case "kubernetes.io/ssh-auth":
      if (!data?.["ssh-privatekey"]) errors.required("data[ssh-privatekey]");
      break;
    case "kubernetes.io/tls":
      needs("tls.crt");
      needs("tls.key");
      break;
    default:
  }
  return errors.list;
}

function checkJson(errors: Errors, path: string, base64: string): void {
  try {
    JSON.parse(Buffer.from(base64, "base64").toString("utf8"));
  } catch (error) {
    errors.invalid(path, "<secret contents redacted>", (error as Error).message);
  }
}

export function validateSecretUpdate(secret: Secret, old: Secret): FieldError[] {
  const errors = new Errors();
  errors.immutable("type", secret.type, secret.type === old.type);
  checkSealed(errors, secret, old);
  return errors.list;
}

export function validateNamespace({ spec }: Namespace): FieldError[] {
  const errors = new Errors();
  for (const finalizer of spec?.finalizers ?? []) {
    const messages = qualifiedName(finalizer);
    errors.messages("spec.finalizers", finalizer, messages);
    if (messages.length === 0 && !finalizer.includes("/") && !["kubernetes", "orphan"].includes(finalizer)) {
      const text = "name is neither a standard finalizer name nor is it fully qualified";
      errors.invalid("spec.finalizers", finalizer, text);
    }
  }
  return errors.list;
}

const taintEffects = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

export function validateNode({ spec }: Node): FieldError[] {
  const errors = new Errors();
  const seen = new Set<string>();
  for (const [index, taint] of (spec?.taints ?? []).entries()) {
    const at = `spec.taints[${index}]`;
    errors.messages(`${at}.key`, taint.key, qualifiedName(taint.key));
    errors.oneOf(`${at}.effect`, taint.effect, taintEffects);
    const key = `${taint.key}:${taint.effect}`;
    if (seen.has(key)) errors.duplicate(at, taint);
    seen.add(key);
  }
  return errors.list;
}

/** A node's place in the pod network and at its provider is assigned once. */
export function validateNodeUpdate({ spec }: Node, old: Node): FieldError[] {
  const errors = new Errors();
  const before = old.spec ?? {};
  if (before.podCIDRs?.length && !sameJson(spec?.podCIDRs ?? [], before.podCIDRs)) {
    errors.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid');
  }
  if (before.providerID && spec?.providerID !== before.providerID) {
    errors.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid');
  }
  return errors.list;
}

const accessModes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

function checkAccessModes(errors: Errors, modes: readonly string[] | undefined): void {
  if (!modes?.length) errors.required("spec.accessModes", "at least 1 access mode is required");
  for (const mode of modes ?? [])
    if (!accessModes.includes(mode)) errors.notSupported("spec.accessModes", mode, accessModes);
  if (modes?.includes("ReadWriteOncePod") && modes.length > 1) {
    errors.forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes");
  }
}

function checkStorage(errors: Errors, path: string, quantity: string | undefined): void {
  if (quantity === undefined) errors.required(`${path}[storage]`);
  else if (parseQuantity(quantity).sign <= 0) errors.invalid(`${path}[storage]`, quantity, "must be greater than zero");
}

export function validateClaim({ spec }: PersistentVolumeClaim): FieldError[] {
  const errors = new Errors();
  checkAccessModes(errors, spec?.accessModes);
  checkLabelSelector(errors, "spec.selector", spec?.selector);
  checkStorage(errors, "spec.resources", spec?.resources?.requests?.["storage"]);
  errors.optionalOneOf("spec.volumeMode", spec?.volumeMode, ["Block", "Filesystem"]);
  return errors.list;
}

export function validateClaimUpdate({ spec }: PersistentVolumeClaim, old: PersistentVolumeClaim): FieldError[] {
  const errors = new Errors();
  const fixed = (value: PersistentVolumeClaim["spec"]) => {
    const { resources: _, volumeName, volumeAttributesClassName: __, ...rest } = value ?? {};
    // Binding gives a name to a claim that had none, and a class to one that left it open.
    return { ...rest, volumeName: old.spec?.volumeName ? volumeName : undefined };
  };
  const now = fixed(spec);
  if (old.spec?.storageClassName === undefined) delete now.storageClassName;
  if (!sameJson(stripUndefined(now), stripUndefined(fixed(old.spec)))) {
    const text =
      "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    errors.forbidden("spec", text);
  }
  const before = old.spec?.resources?.requests?.["storage"];
  const wanted = spec?.resources?.requests?.["storage"];
  if (
    before &&
    wanted &&
    parseQuantity(wanted).compare(parseQuantity(old.status?.capacity?.["storage"] ?? before)) < 0
  ) {
    errors.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
  }
  return errors.list;
}

function stripUndefined<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as Partial<T>;
}

export function validateVolume({ spec }: PersistentVolume): FieldError[] {
  const errors = new Errors();
  checkAccessModes(errors, spec?.accessModes);
  if (!spec?.capacity || Object.keys(spec.capacity).length === 0) errors.required("spec.capacity");
  else checkStorage(errors, "spec.capacity", spec.capacity["storage"]);
  errors.optionalOneOf("spec.persistentVolumeReclaimPolicy", spec?.persistentVolumeReclaimPolicy, [
    "Delete",
    "Recycle",
    "Retain",
  ]);
  errors.optionalOneOf("spec.volumeMode", spec?.volumeMode, ["Block", "Filesystem"]);
  if (spec?.hostPath && !spec.hostPath.path) errors.required("spec.hostPath.path");
  if (spec?.local) {
    if (!spec.local.path) errors.required("spec.local.path");
    if (!spec.nodeAffinity) errors.required("spec.nodeAffinity", "Local volume requires node affinity");
  }
  if (spec?.csi) {
    if (!spec.csi.driver) errors.required("spec.csi.driver");
    if (!spec.csi.volumeHandle) errors.required("spec.csi.volumeHandle");
  }
  return errors.list;
}

/** Names of namespaces are labels: they stand in host names. */
export function namespaceName(name: string, prefix: boolean): string[] {
  return dns1123Label(prefix ? name.replace(/-$/, "a") : name);
}
