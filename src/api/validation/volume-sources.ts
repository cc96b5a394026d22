/** The sources of volumes that pods and persistent volumes have in common, by field name. */
import { dns1123Subdomain, rangeMessage } from "../../machinery/names.ts";
import type { PersistentVolumeSpec, Volume } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import { checkNoBackSteps } from "./paths.ts";

/** Checks one source; `persistent`: of a PersistentVolume, whose secrets name their namespace. */
type Check<T> = (errors: Errors, at: string, source: NonNullable<T>, persistent: boolean) => void;

/** Fields that must be filled in, and nothing else to check. */
function filled<T extends object>(...fields: (keyof T & string)[]): Check<T> {
  return (errors, at, source) => {
    for (const field of fields) errors.present(`${at}.${field}`, source[field]);
  };
}

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

function checkHostPath(errors: Errors, at: string, source: NonNullable<Volume["hostPath"]>): void {
  if (!errors.present(`${at}.path`, source.path)) return;
  checkNoBackSteps(errors, `${at}.path`, source.path);
  errors.setOneOf(`${at}.type`, source.type, hostPathTypes);
}

type Iscsi = NonNullable<Volume["iscsi"]>;

const qualifiedNames: readonly (readonly [prefix: string, format: RegExp])[] = [
  ["iqn", /iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$/],
  ["eui", /^eui.[A-Za-z0-9]{16}$/],
  ["naa", /^naa.[A-Za-z0-9]{32}$/],
];

function checkIscsiName(errors: Errors, path: string, name: string, persistent: boolean): void {
  const known = qualifiedNames.find(([prefix]) => name.startsWith(prefix));
  if (!known) {
    errors.invalid(path, name, `must be valid format${persistent ? "" : " starting with iqn, eui, or naa"}`);
  } else if (!known[1].test(name)) errors.invalid(path, name, "must be valid format");
}

function checkIscsi(errors: Errors, at: string, source: Iscsi, persistent: boolean): void {
  errors.present(`${at}.targetPortal`, source.targetPortal);
  if (errors.present(`${at}.iqn`, source.iqn)) checkIscsiName(errors, `${at}.iqn`, source.iqn, persistent);
  if (source.lun < 0 || source.lun > 255) errors.invalid(`${at}.lun`, source.lun, rangeMessage(0, 255));
  if ((source.chapAuthDiscovery || source.chapAuthSession) && !source.secretRef) errors.required(`${at}.secretRef`);
  if (persistent && source.secretRef) errors.present(`${at}.secretRef.name`, source.secretRef.name);
  if (source.initiatorName !== undefined) {
    checkIscsiName(errors, `${at}.initiatorname`, source.initiatorName, persistent);
  }
}

const nameTooLong =
  "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

/** An initiator's name is built from the volume's: together they must stay short. */
export function checkIscsiLength(errors: Errors, path: string, value: string, volume: string, source: Iscsi): void {
  const total = Buffer.byteLength(`${volume}:${source.targetPortal}`);
  if (source.initiatorName !== undefined && total > 64) errors.invalid(path, value, nameTooLong);
}

function checkFibreChannel(errors: Errors, at: string, source: NonNullable<Volume["fc"]>): void {
  const targets = source.targetWWNs?.length ?? 0;
  const ids = source.wwids?.length ?? 0;
  const path = `${at}.targetWWNs`;
  if (targets === 0 && ids === 0) errors.required(path, "must specify either targetWWNs or wwids, but not both");
  if (targets > 0 && ids > 0) {
    errors.invalid(path, source.targetWWNs, "targetWWNs and wwids can not be specified simultaneously");
  }
  if (targets === 0) return;
  if (source.lun === undefined) errors.required(`${at}.lun`, "lun is required if targetWWNs is specified");
  else if (source.lun < 0 || source.lun > 255) errors.invalid(`${at}.lun`, source.lun, rangeMessage(0, 255));
}

function checkDisk(name: "pdName" | "volumeID") {
  return (errors: Errors, at: string, source: { pdName?: string; volumeID?: string; partition?: number }) => {
    errors.present(`${at}.${name}`, source[name]);
    const partition = source.partition ?? 0;
    // Kubernetes lets 0 pass, which means the whole disk, although its text does not say so.
    if (partition < 0 || partition > 255) errors.invalid(`${at}.partition`, partition, rangeMessage(1, 255));
  };
}

function checkNfs(errors: Errors, at: string, source: NonNullable<Volume["nfs"]>): void {
  errors.present(`${at}.server`, source.server);
  errors.present(`${at}.path`, source.path);
  if (!source.path?.startsWith("/")) errors.invalid(`${at}.path`, source.path, "must be an absolute path");
}

function checkQuobyte(errors: Errors, at: string, source: NonNullable<Volume["quobyte"]>): void {
  const hosts = "must be a host:port pair or multiple pairs separated by commas";
  if (!source.registry) errors.required(`${at}.registry`, hosts);
  else if ((source.tenant ?? "").length >= 65) {
    errors.required(`${at}.tenant`, "must be a UUID and may not exceed a length of 64 characters");
  } else {
    for (const pair of source.registry.split(",")) {
      if (!/^([^:[\]]*|\[[^[\]]*\]):[^:]*$/.test(pair)) errors.invalid(`${at}.registry`, source.registry, hosts);
    }
  }
  errors.present(`${at}.volume`, source.volume);
}

function checkGluster(
  errors: Errors,
  at: string,
  source: { endpoints: string; path: string; endpointsNamespace?: string },
): void {
  errors.present(`${at}.endpoints`, source.endpoints);
  errors.present(`${at}.path`, source.path);
  const namespace = source.endpointsNamespace;
  if (namespace === undefined) return;
  const path = `${at}.endpointsNamespace`;
  if (namespace === "") {
    errors.invalid(path, "", "if the endpointnamespace is set, it must be a valid namespace name");
  } else errors.label(path, namespace);
}

function checkFlocker(errors: Errors, at: string, source: NonNullable<Volume["flocker"]>): void {
  const { datasetName, datasetUUID } = source;
  if (!datasetName && !datasetUUID) errors.required(at, "one of datasetName and datasetUUID is required");
  if (datasetName && datasetUUID) {
    errors.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
  }
  if (datasetName?.includes("/")) errors.invalid(`${at}.datasetName`, datasetName, "must not contain '/'");
}

interface SecretReference {
  name?: string;
  namespace?: string;
}

function checkSecretReference(
  errors: Errors,
  at: string,
  reference: SecretReference | undefined,
  persistent: boolean,
): void {
  if (!reference) return;
  errors.present(`${at}.name`, reference.name);
  if (persistent) errors.present(`${at}.namespace`, reference.namespace);
}

function checkCinder(
  errors: Errors,
  at: string,
  source: { volumeID: string; secretRef?: SecretReference },
  persistent: boolean,
): void {
  errors.present(`${at}.volumeID`, source.volumeID);
  checkSecretReference(errors, `${at}.secretRef`, source.secretRef, persistent);
}

function checkFlex(errors: Errors, at: string, source: { driver: string; options?: Record<string, string> }): void {
  errors.present(`${at}.driver`, source.driver);
  for (const option of Object.keys(source.options ?? {})) {
    const domain = `.${option.split("/", 1)[0]!.toLowerCase()}`;
    if (domain.endsWith(".kubernetes.io") || domain.endsWith(".k8s.io")) {
      const text = "kubernetes.io and k8s.io namespaces are reserved";
      errors.invalid(`${at}.options[${option}]`, option, text);
    }
  }
}

function checkAzureFile(
  errors: Errors,
  at: string,
  source: { secretName: string; shareName: string; secretNamespace?: string },
): void {
  errors.present(`${at}.secretName`, source.secretName);
  errors.present(`${at}.shareName`, source.shareName);
  if (source.secretNamespace === "") errors.required(`${at}.secretNamespace`);
}

const managedDisk = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
const blobDisk = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";

function checkAzureDisk(errors: Errors, at: string, source: NonNullable<Volume["azureDisk"]>): void {
  errors.present(`${at}.diskName`, source.diskName);
  errors.present(`${at}.diskURI`, source.diskURI);
  errors.setOneOf(`${at}.cachingMode`, source.cachingMode, ["None", "ReadOnly", "ReadWrite"]);
  errors.setOneOf(`${at}.kind`, source.kind, ["Dedicated", "Managed", "Shared"]);
  if (source.kind === undefined) return;
  const [start, example] = source.kind === "Managed" ? ["/subscriptions/", managedDisk] : ["https://", blobDisk];
  if (!source.diskURI?.startsWith(start)) errors.notSupported(`${at}.diskURI`, source.diskURI ?? "", [example]);
}

function checkStorageOs(
  errors: Errors,
  at: string,
  source: { volumeName?: string; volumeNamespace?: string; secretRef?: SecretReference },
  persistent: boolean,
): void {
  if (errors.present(`${at}.volumeName`, source.volumeName)) errors.label(`${at}.volumeName`, source.volumeName!);
  if (source.volumeNamespace) errors.label(`${at}.volumeNamespace`, source.volumeNamespace);
  checkSecretReference(errors, `${at}.secretRef`, source.secretRef, persistent);
}

/** The name of a CSI driver. */
export function checkDriverName(errors: Errors, path: string, name: string | undefined): void {
  if (!name) {
    errors.required(path);
    return;
  }
  if (Buffer.byteLength(name) > 63) errors.tooLong(path, 63);
  errors.messages(path, name, dns1123Subdomain(name.toLowerCase()));
}

const sources: { [field in keyof (Volume & PersistentVolumeSpec)]?: Check<never> } = {
  hostPath: checkHostPath,
  gcePersistentDisk: checkDisk("pdName"),
  awsElasticBlockStore: checkDisk("volumeID"),
  nfs: checkNfs,
  iscsi: checkIscsi,
  glusterfs: checkGluster,
  flocker: checkFlocker,
  rbd: filled<NonNullable<Volume["rbd"]>>("monitors", "image"),
  cinder: checkCinder,
  cephfs: filled<NonNullable<Volume["cephfs"]>>("monitors"),
  quobyte: checkQuobyte,
  fc: checkFibreChannel,
  flexVolume: checkFlex,
  azureFile: checkAzureFile,
  vsphereVolume: filled<NonNullable<Volume["vsphereVolume"]>>("volumePath"),
  photonPersistentDisk: filled<NonNullable<Volume["photonPersistentDisk"]>>("pdID"),
  portworxVolume: filled<NonNullable<Volume["portworxVolume"]>>("volumeID"),
  azureDisk: checkAzureDisk,
  storageos: checkStorageOs,
  scaleIO: filled<NonNullable<Volume["scaleIO"]>>("gateway", "system", "volumeName"),
};

/** Kubernetes' texts call some of the sources by other names than their fields. */
const insideNames: Readonly<Record<string, string>> = { gcePersistentDisk: "persistentDisk" };
const tooManyNames: Readonly<Record<string, string>> = { cephfs: "cephFS", downwardAPI: "downwarAPI" };

/**
 * Checks that one source of `order` is given, and that one: with a check of `own`, else with the common one. Sources
 * that are one too many are only refused.
 */
export function checkOneSource<T extends object>(
  errors: Errors,
  at: string,
  volume: T,
  order: readonly (keyof T & string)[],
  own: { readonly [field in keyof T]?: (errors: Errors, at: string) => void },
  persistent: boolean,
): void {
  let count = 0;
  for (const field of order) {
    const source = volume[field];
    if (source === undefined || source === null) continue;
    count++;
    // Kubernetes forgets to refuse flexVolume beside another source of a PersistentVolume.
    if (count > 1 && !(persistent && field === "flexVolume")) {
      errors.forbidden(`${at}.${tooManyNames[field] ?? field}`, "may not specify more than 1 volume type");
      continue;
    }
    const path = `${at}.${insideNames[field] ?? field}`;
    if (own[field]) own[field](errors, path);
    else (sources[field as keyof typeof sources] as Check<unknown> | undefined)?.(errors, path, source, persistent);
  }
  if (count === 0) errors.required(at, "must specify a volume type");
}
