/** Checks of the volumes that a pod names itself. */
import type { Volume } from "../../../api/generated/core-v1.ts";
import { named, type PodCheck, plural, quoted, sortedSet } from "./check.ts";

export const hostPathVolumes: PodCheck = ({ spec }) => {
  const bad = (spec.volumes ?? []).filter(({ hostPath }) => hostPath).map(({ name }) => name);
  return bad.length === 0 ? undefined : { reason: "hostPath volumes", detail: named("volume", bad) };
};

/** What the cluster itself gives, or a claim that somebody granted. */
const harmless: readonly (keyof Volume)[] = [
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "image",
  "persistentVolumeClaim",
  "projected",
  "secret",
];

const restricted: readonly (keyof Volume)[] = [
  "hostPath",
  "gcePersistentDisk",
  "awsElasticBlockStore",
  "gitRepo",
  "nfs",
  "iscsi",
  "glusterfs",
  "rbd",
  "flexVolume",
  "cinder",
  "cephfs",
  "flocker",
  "fc",
  "azureFile",
  "vsphereVolume",
  "quobyte",
  "azureDisk",
  "photonPersistentDisk",
  "portworxVolume",
  "scaleIO",
  "storageos",
];

export const restrictedVolumes: PodCheck = ({ spec }) => {
  const bad = (spec.volumes ?? []).filter((volume) => !harmless.some((type) => volume[type]));
  if (bad.length === 0) return undefined;
  const types = sortedSet(bad.map((volume) => restricted.find((type) => volume[type]) ?? "unknown"));
  const names = bad.map(({ name }) => name);
  const uses = bad.length === 1 ? "uses" : "use";
  return {
    reason: "restricted volume types",
    detail: `${named("volume", names)} ${uses} ${plural("restricted volume type", types.length)} ${quoted(types)}`,
  };
};
