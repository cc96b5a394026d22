import { posix } from "node:path";
import { deepEqual } from "../../machinery/equality.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { PersistentVolume, PersistentVolumeSpec } from "../generated/core-v1.ts";
import { checkAccessModes, checkNotNegative, volumeModes } from "./claim.ts";
import { Errors } from "./errors.ts";
import { checkNodeSelector } from "./node-selector.ts";
import { checkNoBackSteps } from "./paths.ts";
import { checkDriverName, checkIscsiLength, checkOneSource } from "./volume-sources.ts";

const order: readonly (keyof PersistentVolumeSpec & string)[] = [
  "hostPath",
  "gcePersistentDisk",
  "awsElasticBlockStore",
  "glusterfs",
  "flocker",
  "nfs",
  "rbd",
  "quobyte",
  "cephfs",
  "iscsi",
  "cinder",
  "fc",
  "flexVolume",
  "azureFile",
  "vsphereVolume",
  "photonPersistentDisk",
  "portworxVolume",
  "azureDisk",
  "scaleIO",
  "local",
  "storageos",
  "csi",
];

const inlineText = "may not be specified in the context of inline volumes";

/** Checks a volume's spec; `inline`: one that an attachment carries itself, which is CSI's only. */
export function checkVolumeSpec(
  errors: Errors,
  at: string,
  spec: PersistentVolumeSpec,
  { name, inline, anyNodeValues = false }: { name: string; inline: boolean; anyNodeValues?: boolean },
): void {
  const capacity = Object.entries(spec.capacity ?? {});
  if (inline) {
    if (spec.claimRef) errors.forbidden(`${at}.claimRef`, inlineText);
    if (capacity.length > 0) errors.forbidden(`${at}.capacity`, inlineText);
    if (!spec.csi) errors.required(`${at}.csi`, "has to be specified in the context of inline volumes");
  }
  errors.present(`${at}.accessModes`, spec.accessModes);
  checkAccessModes(errors, `${at}.accessModes`, spec.accessModes ?? []);
  if (!inline) {
    const path = `${at}.capacity`;
    if (capacity.length === 0) errors.required(path);
    if (spec.capacity?.["storage"] === undefined || capacity.length > 1) {
      errors.notSupported(path, spec.capacity ?? null, ["storage"]);
    }
    for (const [resource, quantity] of capacity) {
      checkNotNegative(errors, `${path}[${resource}]`, quantity);
      if (parseQuantity(quantity).sign <= 0) {
        errors.invalid(`${path}[${resource}]`, quantity, "must be greater than zero");
      }
    }
  }
  checkReclaimPolicy(errors, `${at}.persistentVolumeReclaimPolicy`, spec.persistentVolumeReclaimPolicy, inline);
  if (spec.nodeAffinity) {
    const path = `${at}.nodeAffinity`;
    if (inline) errors.forbidden(path, inlineText);
    else if (!spec.nodeAffinity.required) {
      errors.required(`${path}.required`, "must specify required node constraints");
    } else checkNodeSelector(errors, `${path}.required`, spec.nodeAffinity.required, anyNodeValues);
  }
  checkSources(errors, at, spec, name, inline);
  checkModes(errors, at, spec, inline);
}

function checkReclaimPolicy(errors: Errors, path: string, policy: string | undefined, inline: boolean): void {
  if (!policy) return;
  if (!inline) errors.setOneOf(path, policy, ["Delete", "Recycle", "Retain"]);
  else if (policy !== "Retain") errors.forbidden(path, "may only be Retain in the context of inline volumes");
}

function checkSources(errors: Errors, at: string, spec: PersistentVolumeSpec, name: string, inline: boolean): void {
  const { local, csi, iscsi } = spec;
  checkOneSource(
    errors,
    at,
    spec,
    order,
    {
      local() {
        if (errors.present(`${at}.local.path`, local!.path)) checkNoBackSteps(errors, `${at}.local.path`, local!.path);
        if (!spec.nodeAffinity || inline) {
          errors.required(`${at}.nodeAffinity`, "Local volume requires node affinity");
        }
      },
      csi: () => checkCsi(errors, `${at}.csi`, csi!),
    },
    true,
  );
  if (iscsi) checkIscsiLength(errors, `${at}.iscsi.targetportal`, iscsi.targetPortal, name, iscsi);
  const root = spec.hostPath && posix.normalize(spec.hostPath.path || ".") === "/";
  if (root && spec.persistentVolumeReclaimPolicy === "Recycle") {
    const text = "may not be 'recycle' for a hostPath mount of '/'";
    errors.forbidden(`${at}.persistentVolumeReclaimPolicy`, text);
  }
}

function checkModes(errors: Errors, at: string, spec: PersistentVolumeSpec, inline: boolean): void {
  if (spec.storageClassName) {
    if (inline) errors.forbidden(`${at}.storageClassName`, inlineText);
    else errors.subdomain(`${at}.storageClassName`, spec.storageClassName);
  }
  if (!inline) errors.setOneOf(`${at}.volumeMode`, spec.volumeMode, volumeModes);
  else if (spec.volumeMode !== undefined && spec.volumeMode !== "Filesystem") {
    const text = "may not specify volumeMode other than Filesystem in the context of inline volumes";
    errors.forbidden(`${at}.volumeMode`, text);
  }
  const attributes = spec.volumeAttributesClassName;
  if (attributes === undefined) return;
  const path = `${at}.volumeAttributesClassName`;
  if (errors.present(path, attributes, "an empty string is disallowed")) errors.subdomain(path, attributes);
  if (!spec.csi) errors.required(`${at}.csi`, "has to be specified when using volumeAttributesClassName");
}

const csiSecrets = [
  "controllerPublishSecretRef",
  "controllerExpandSecretRef",
  "nodePublishSecretRef",
  "nodeExpandSecretRef",
] as const;

function checkCsi(errors: Errors, at: string, csi: NonNullable<PersistentVolumeSpec["csi"]>): void {
  checkDriverName(errors, `${at}.driver`, csi.driver);
  errors.present(`${at}.volumeHandle`, csi.volumeHandle);
  for (const field of csiSecrets) {
    const reference = csi[field];
    if (!reference) continue;
    const path = `${at}.${field}`;
    if (errors.present(`${path}.name`, reference.name)) errors.subdomain(`${path}.name`, reference.name!);
    if (errors.present(`${path}.namespace`, reference.namespace))
      errors.label(`${path}.namespace`, reference.namespace!);
  }
}

export function validateVolume({ metadata, spec }: PersistentVolume): FieldError[] {
  const errors = new Errors();
  checkVolumeSpec(errors, "spec", spec ?? {}, { name: metadata.name ?? "", inline: false });
  return errors.list;
}

/** Labels that became stable ones; a volume may follow. */
const stableLabels: Readonly<Record<string, string>> = {
  "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
  "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
  "beta.kubernetes.io/os": "kubernetes.io/os",
  "beta.kubernetes.io/arch": "kubernetes.io/arch",
  "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
};

/** The source of a volume, without what may still be added to it. */
function sourceOf(spec: PersistentVolumeSpec | undefined, before: PersistentVolumeSpec | undefined): object {
  const source = Object.fromEntries(order.map((field) => [field, spec?.[field]]));
  if (before?.csi && !before.csi.controllerExpandSecretRef && spec?.csi) {
    const { controllerExpandSecretRef: _, ...rest } = spec.csi;
    source["csi"] = rest;
  }
  return JSON.parse(JSON.stringify(source)) as object;
}

function sameAffinity(
  now: PersistentVolumeSpec["nodeAffinity"],
  before: PersistentVolumeSpec["nodeAffinity"],
): boolean {
  const renamed = structuredClone(before);
  for (const [place, term] of (renamed?.required?.nodeSelectorTerms ?? []).entries()) {
    for (const [index, requirement] of (term.matchExpressions ?? []).entries()) {
      const key = now?.required?.nodeSelectorTerms?.[place]?.matchExpressions?.[index]?.key;
      if (key !== undefined && stableLabels[requirement.key] === key) requirement.key = key;
    }
  }
  return deepEqual(now, renamed);
}

export function validateVolumeUpdate(
  volume: PersistentVolume,
  old: PersistentVolume,
  subresource?: string,
): FieldError[] {
  const errors = new Errors();
  if (subresource === "status") return errors.list;
  const spec = volume.spec ?? {};
  const before = old.spec ?? {};
  if (!deepEqual(sourceOf(spec, before), sourceOf(before, before))) {
    errors.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation");
  }
  errors.immutable("volumeMode", spec.volumeMode, spec.volumeMode === before.volumeMode);
  if (before.nodeAffinity && !sameAffinity(spec.nodeAffinity, before.nodeAffinity)) {
    const text = "field is immutable, except for updating from beta label to GA";
    errors.invalid("nodeAffinity", spec.nodeAffinity, text);
  }
  if (before.volumeAttributesClassName !== undefined && spec.volumeAttributesClassName === undefined) {
    errors.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden");
  }
  return errors.list;
}
