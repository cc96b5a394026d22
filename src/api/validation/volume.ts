/** Volumes of pods. */
import { dns1123Subdomain } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { KeyToPath, PodSpec, Volume } from "../generated/core-v1.ts";
import { checkClaimTemplate } from "./claim.ts";
import type { Errors } from "./errors.ts";
import { checkFieldRef, checkResourceField, fileFields } from "./field-ref.ts";
import { checkFilePath, checkMode, checkRelativePath } from "./paths.ts";
import { checkProjected } from "./projected-volume.ts";
import { checkDriverName, checkIscsiLength, checkOneSource } from "./volume-sources.ts";

const order: readonly (keyof Volume & string)[] = [
  "emptyDir",
  "hostPath",
  "gitRepo",
  "gcePersistentDisk",
  "awsElasticBlockStore",
  "secret",
  "nfs",
  "iscsi",
  "glusterfs",
  "flocker",
  "persistentVolumeClaim",
  "rbd",
  "cinder",
  "cephfs",
  "quobyte",
  "downwardAPI",
  "fc",
  "flexVolume",
  "configMap",
  "azureFile",
  "vsphereVolume",
  "photonPersistentDisk",
  "portworxVolume",
  "azureDisk",
  "storageos",
  "projected",
  "scaleIO",
  "csi",
  "ephemeral",
  "image",
];

/**
 * Checks the volumes of a pod (`podName` set once it is known) or of a template. Gives those that are in order by
 * name: mounts may refer to no others.
 */
export function checkVolumes(
  errors: Errors,
  path: string,
  spec: PodSpec,
  pod: { readonly name?: string } | undefined,
): Map<string, Volume> {
  const volumes = new Map<string, Volume>();
  const all = spec.volumes ?? [];
  const made = new Set(pod?.name ? all.filter((one) => one.ephemeral).map((one) => `${pod.name}-${one.name}`) : []);
  for (const [index, volume] of all.entries()) {
    const at = `${path}[${index}]`;
    const before = errors.list.length;
    checkSource(errors, at, volume, pod);
    if (errors.present(`${at}.name`, volume.name)) errors.label(`${at}.name`, volume.name);
    if (volumes.has(volume.name)) errors.duplicate(`${at}.name`, volume.name);
    if (errors.list.length === before) volumes.set(volume.name, volume);
    const claim = volume.persistentVolumeClaim?.claimName;
    if (claim !== undefined && made.has(claim)) {
      const text = "must not reference a PVC that gets created for an ephemeral volume";
      errors.invalid(`${at}.persistentVolumeClaim.claimName`, claim, text);
    }
  }
  return volumes;
}

function checkSource(errors: Errors, at: string, volume: Volume, pod: { readonly name?: string } | undefined): void {
  const { emptyDir, secret, configMap, projected, downwardAPI, iscsi, csi, ephemeral, image, gitRepo } = volume;
  checkOneSource(
    errors,
    at,
    volume,
    order,
    {
      emptyDir() {
        if (emptyDir!.sizeLimit !== undefined && parseQuantity(emptyDir!.sizeLimit).sign < 0) {
          errors.forbidden(`${at}.emptyDir.sizeLimit`, "SizeLimit field must be a valid resource quantity");
        }
      },
      gitRepo() {
        errors.present(`${at}.gitRepo.repository`, gitRepo!.repository);
        checkRelativePath(errors, `${at}.gitRepo.directory`, gitRepo!.directory);
      },
      secret: () => checkFiles(errors, `${at}.secret`, "secretName", secret!.secretName, secret!),
      configMap: () => checkFiles(errors, `${at}.configMap`, "name", configMap!.name, configMap!),
      persistentVolumeClaim: () =>
        errors.present(`${at}.persistentVolumeClaim.claimName`, volume.persistentVolumeClaim!.claimName),
      downwardAPI() {
        checkMode(errors, `${at}.downwardAPI.defaultMode`, downwardAPI!.defaultMode);
        for (const item of downwardAPI!.items ?? []) checkDownwardFile(errors, `${at}.downwardAPI`, item);
      },
      projected: () => checkProjected(errors, `${at}.projected`, projected!),
      csi() {
        checkDriverName(errors, `${at}.csi.driver`, csi!.driver);
        const name = csi!.nodePublishSecretRef?.name;
        if (!csi!.nodePublishSecretRef) return;
        if (!name) errors.required(`${at}.csi.nodePublishSecretRef.name`);
        else errors.messages(`${at}.csi.name`, name, dns1123Subdomain(name));
      },
      ephemeral() {
        const template = ephemeral!.volumeClaimTemplate;
        if (!template) errors.required(`${at}.ephemeral.volumeClaimTemplate`);
        else checkClaimTemplate(errors, `${at}.ephemeral.volumeClaimTemplate`, template);
        if (!pod?.name || !volume.name) return;
        const claim = `${pod.name}-${volume.name}`;
        for (const message of dns1123Subdomain(claim)) {
          errors.invalid(`${at}.name`, volume.name, `PVC name ${JSON.stringify(claim)}: ${message}`);
        }
      },
      image() {
        if (pod) errors.present(`${at}.image.reference`, image!.reference);
        errors.oneOf(`${at}.image.pullPolicy`, image!.pullPolicy, ["Always", "IfNotPresent", "Never"]);
      },
    },
    false,
  );
  if (iscsi) checkIscsiLength(errors, `${at}.name`, volume.name, volume.name, iscsi);
}

interface Files {
  defaultMode?: number;
  items?: readonly KeyToPath[];
}

function checkFiles(errors: Errors, at: string, field: string, name: string | undefined, files: Files): void {
  errors.present(`${at}.${field}`, name);
  checkMode(errors, `${at}.defaultMode`, files.defaultMode);
  for (const [index, item] of (files.items ?? []).entries()) checkKeyToPath(errors, `${at}.items[${index}]`, item);
}

export function checkKeyToPath(errors: Errors, at: string, item: KeyToPath): void {
  errors.present(`${at}.key`, item.key);
  errors.present(`${at}.path`, item.path);
  checkFilePath(errors, `${at}.path`, item.path);
  checkMode(errors, `${at}.mode`, item.mode);
}

interface DownwardFile {
  path: string;
  mode?: number;
  fieldRef?: { fieldPath: string; apiVersion?: string };
  resourceFieldRef?: { resource: string; containerName?: string; divisor?: string };
}

export function checkDownwardFile(errors: Errors, at: string, file: DownwardFile): void {
  errors.present(`${at}.path`, file.path);
  checkFilePath(errors, `${at}.path`, file.path);
  if (file.fieldRef) {
    checkFieldRef(errors, `${at}.fieldRef`, file.fieldRef, fileFields);
    if (file.resourceFieldRef) {
      errors.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
    }
  } else if (file.resourceFieldRef) {
    checkResourceField(errors, `${at}.resourceFieldRef`, file.resourceFieldRef, true);
  } else errors.required(at, "one of fieldRef and resourceFieldRef is required");
  checkMode(errors, `${at}.mode`, file.mode);
}
