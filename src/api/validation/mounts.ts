/** Where containers see the pod's volumes: as directories, or as block devices. */
import type { Container, EphemeralContainer, SecurityContext, Volume, VolumeMount } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import { checkRelativePath } from "./paths.ts";

type Volumes = ReadonlyMap<string, Volume>;

export function checkMounts(
  errors: Errors,
  path: string,
  container: Container | EphemeralContainer,
  volumes: Volumes,
): void {
  const paths = new Set<string>();
  const devices = container.volumeDevices ?? [];
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${path}[${index}]`;
    const { name, mountPath } = mount;
    errors.present(`${at}.name`, name);
    if (!volumes.has(name)) errors.notFound(`${at}.name`, name);
    errors.present(`${at}.mountPath`, mountPath);
    if (paths.has(mountPath)) errors.invalid(`${at}.mountPath`, mountPath, "must be unique");
    paths.add(mountPath);
    if (devices.some((device) => device.name === name)) {
      errors.invalid(`${at}.name`, name, "must not already exist in volumeDevices");
    }
    if (devices.some((device) => device.devicePath === mountPath)) {
      errors.invalid(`${at}.mountPath`, mountPath, "must not already exist as a path in volumeDevices");
    }
    checkOptions(errors, path, at, mount, container.securityContext);
  }
}

function checkOptions(
  errors: Errors,
  path: string,
  at: string,
  mount: VolumeMount,
  security: SecurityContext | undefined,
): void {
  if (mount.subPath) checkRelativePath(errors, `${path}.subPath`, mount.subPath);
  if (mount.subPathExpr) {
    if (mount.subPath) {
      errors.invalid(`${at}.subPathExpr`, mount.subPathExpr, "subPathExpr and subPath are mutually exclusive");
    }
    checkRelativePath(errors, `${path}.subPathExpr`, mount.subPathExpr);
  }
  const propagation = mount.mountPropagation;
  errors.setOneOf(`${path}.mountPropagation`, propagation, ["Bidirectional", "HostToContainer", "None"]);
  if (propagation === "Bidirectional" && security?.privileged !== true) {
    const text = "Bidirectional mount propagation is available only to privileged containers";
    errors.forbidden(`${path}.mountPropagation`, text);
  }
  const recursive = mount.recursiveReadOnly;
  const field = `${path}.recursiveReadOnly`;
  if (recursive === "Enabled" || recursive === "IfPossible") {
    if (!mount.readOnly) errors.forbidden(field, "may only be specified when readOnly is true");
    if (propagation !== undefined && propagation !== "None") {
      errors.forbidden(field, "may only be specified when mountPropagation is None or not specified");
    }
  } else errors.setOneOf(field, recursive, ["Disabled", "Enabled", "IfPossible"]);
}

const notBlock = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";

export function checkDevices(
  errors: Errors,
  path: string,
  container: Container | EphemeralContainer,
  volumes: Volumes,
): void {
  const names = new Set<string>();
  const paths = new Set<string>();
  const mounts = container.volumeMounts ?? [];
  for (const [index, { name, devicePath }] of (container.volumeDevices ?? []).entries()) {
    const at = `${path}[${index}]`;
    const volume = volumes.get(name);
    errors.present(`${at}.name`, name);
    if (names.has(name)) errors.invalid(`${at}.name`, name, "must be unique");
    if (!volume) errors.notFound(`${at}.name`, name);
    else if (!volume.persistentVolumeClaim && !volume.ephemeral) errors.invalid(`${at}.name`, name, notBlock);
    errors.present(`${at}.devicePath`, devicePath);
    if (paths.has(devicePath)) errors.invalid(`${at}.devicePath`, devicePath, "must be unique");
    if (devicePath?.split("/").includes("..")) {
      errors.invalid(`${at}.devicePath`, devicePath, "can not contain backsteps ('..')");
    } else paths.add(devicePath);
    if (mounts.some((mount) => mount.name === name)) {
      errors.invalid(`${at}.name`, name, "must not already exist in volumeMounts");
    }
    if (mounts.some((mount) => mount.mountPath === devicePath)) {
      errors.invalid(`${at}.devicePath`, devicePath, "must not already exist as a path in volumeMounts");
    }
    if (name) names.add(name);
  }
}
