import { dns1123Label } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { KeyToPath, PodSpec, Volume, VolumeProjection } from "../generated/core-v1.ts";
import { checkFieldRef, checkRelativePath, checkResourceField, fileFields } from "./container.ts";
import type { Errors } from "./errors.ts";

const modeMessage = "must be a number between 0 and 0777 (octal), both inclusive";
const hostPathTypes = [
  "",
  "BlockDevice",
  "CharDevice",
  "Directory",
  "DirectoryOrCreate",
  "File",
  "FileOrCreate",
  "Socket",
];

export function checkVolumes(errors: Errors, path: string, spec: PodSpec): void {
  const names = new Set<string>();
  for (const [index, volume] of (spec.volumes ?? []).entries()) {
    const at = `${path}[${index}]`;
    if (!volume.name) errors.required(`${at}.name`);
    else errors.messages(`${at}.name`, volume.name, dns1123Label(volume.name));
    if (names.has(volume.name)) errors.duplicate(`${at}.name`, volume.name);
    names.add(volume.name);
    const sources = Object.entries(volume).filter(([field, value]) => field !== "name" && value != null);
    if (sources.length === 0) errors.required(at, "must specify a volume type");
    for (const [field] of sources.slice(1))
      errors.forbidden(`${at}.${field}`, "may not specify more than 1 volume type");
    checkSource(errors, at, volume);
  }
}

function checkSource(errors: Errors, at: string, volume: Volume): void {
  const { emptyDir, hostPath, secret, configMap, persistentVolumeClaim, projected, downwardAPI, nfs, csi } = volume;
  if (emptyDir?.sizeLimit !== undefined && parseQuantity(emptyDir.sizeLimit).sign < 0) {
    errors.forbidden(`${at}.emptyDir.sizeLimit`, "SizeLimit field must be a valid resource quantity");
  }
  if (hostPath) {
    if (!hostPath.path) errors.required(`${at}.hostPath.path`);
    else if (hostPath.path.split("/").includes("..")) {
      errors.invalid(`${at}.hostPath.path`, hostPath.path, "must not contain '..'");
    }
    if (!hostPathTypes.includes(hostPath.type ?? "")) {
      errors.notSupported(`${at}.hostPath.type`, hostPath.type, hostPathTypes);
    }
  }
  if (secret) {
    if (!secret.secretName) errors.required(`${at}.secret.secretName`);
    checkMode(errors, `${at}.secret.defaultMode`, secret.defaultMode);
    checkItems(errors, `${at}.secret.items`, secret.items);
  }
  if (configMap) {
    if (!configMap.name) errors.required(`${at}.configMap.name`);
    checkMode(errors, `${at}.configMap.defaultMode`, configMap.defaultMode);
    checkItems(errors, `${at}.configMap.items`, configMap.items);
  }
  if (persistentVolumeClaim && !persistentVolumeClaim.claimName) {
    errors.required(`${at}.persistentVolumeClaim.claimName`);
  }
  if (nfs) {
    if (!nfs.server) errors.required(`${at}.nfs.server`);
    if (!nfs.path) errors.required(`${at}.nfs.path`);
    else if (!nfs.path.startsWith("/")) errors.invalid(`${at}.nfs.path`, nfs.path, "must be an absolute path");
  }
  if (csi && !csi.driver) errors.required(`${at}.csi.driver`);
  if (downwardAPI) {
    checkMode(errors, `${at}.downwardAPI.defaultMode`, downwardAPI.defaultMode);
    checkDownward(errors, `${at}.downwardAPI`, downwardAPI.items);
  }
  if (projected) {
    checkMode(errors, `${at}.projected.defaultMode`, projected.defaultMode);
    for (const [index, source] of (projected.sources ?? []).entries()) {
      checkProjection(errors, `${at}.projected.sources[${index}]`, source);
    }
  }
}

function checkProjection(errors: Errors, at: string, source: VolumeProjection): void {
  const kinds = Object.keys(source);
  if (kinds.length === 0) errors.required(at, "must specify a volume type");
  for (const kind of kinds.slice(1)) errors.forbidden(`${at}.${kind}`, "may not specify more than 1 volume type");
  for (const field of ["secret", "configMap"] as const) {
    const projection = source[field];
    if (!projection) continue;
    if (!projection.name) errors.required(`${at}.${field}.name`);
    checkItems(errors, `${at}.${field}.items`, projection.items);
  }
  if (source.downwardAPI) checkDownward(errors, `${at}.downwardAPI`, source.downwardAPI.items);
  const token = source.serviceAccountToken;
  if (!token) return;
  const seconds = token.expirationSeconds ?? 0;
  if (seconds < 600) {
    errors.invalid(
      `${at}.serviceAccountToken.expirationSeconds`,
      seconds,
      "may not specify a duration less than 10 minutes",
    );
  }
  if (seconds > 2 ** 32) {
    errors.invalid(
      `${at}.serviceAccountToken.expirationSeconds`,
      seconds,
      "may not specify a duration larger than 2^32 seconds",
    );
  }
  if (!token.path) errors.required(`${at}.serviceAccountToken.path`);
  else checkRelativePath(errors, `${at}.serviceAccountToken.path`, token.path);
}

function checkMode(errors: Errors, path: string, mode: number | undefined): void {
  if (mode !== undefined && (mode < 0 || mode > 0o777)) errors.invalid(path, mode, modeMessage);
}

function checkItems(errors: Errors, path: string, items: readonly KeyToPath[] | undefined): void {
  for (const [index, item] of (items ?? []).entries()) {
    const at = `${path}[${index}]`;
    if (!item.key) errors.required(`${at}.key`);
    if (!item.path) errors.required(`${at}.path`);
    else checkRelativePath(errors, `${at}.path`, item.path);
    checkMode(errors, `${at}.mode`, item.mode);
  }
}

interface DownwardFile {
  path: string;
  mode?: number;
  fieldRef?: { fieldPath: string };
  resourceFieldRef?: { resource: string };
}

function checkDownward(errors: Errors, path: string, items: readonly DownwardFile[] | undefined): void {
  for (const item of items ?? []) {
    if (!item.path) errors.required(`${path}.path`);
    else checkRelativePath(errors, `${path}.path`, item.path);
    if (item.fieldRef) checkFieldRef(errors, `${path}.fieldRef`, item.fieldRef.fieldPath, fileFields);
    else if (item.resourceFieldRef)
      checkResourceField(errors, `${path}.resourceFieldRef`, item.resourceFieldRef.resource);
    else errors.required(path, "one of fieldRef and resourceFieldRef is required");
    checkMode(errors, `${path}.mode`, item.mode);
  }
}
