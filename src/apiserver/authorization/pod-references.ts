import type { Pod } from "../../api/generated/core-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";

/** Names of objects in the pod's namespace that its kubelet has to read. */
export interface PodReferences {
  readonly secrets: ReadonlySet<string>;
  readonly configMaps: ReadonlySet<string>;
  readonly claims: ReadonlySet<string>;
}

const known = new WeakMap<object, PodReferences>();

/** What a pod's volumes, environment and pull secrets refer to. Remembered as long as the pod object lives. */
export function podReferences(pod: DeepReadonly<Pod>): PodReferences {
  let references = known.get(pod);
  if (!references) {
    references = collect(pod);
    known.set(pod, references);
  }
  return references;
}

function collect(pod: DeepReadonly<Pod>): PodReferences {
  const secrets = new Set<string>();
  const configMaps = new Set<string>();
  const claims = new Set<string>();
  const add = (set: Set<string>, name: string | undefined) => {
    if (name) set.add(name);
  };
  const spec = pod.spec;
  for (const reference of spec?.imagePullSecrets ?? []) add(secrets, reference.name);
  for (const container of [
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ]) {
    for (const { secretRef, configMapRef } of container.envFrom ?? []) {
      add(secrets, secretRef?.name);
      add(configMaps, configMapRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      add(secrets, valueFrom?.secretKeyRef?.name);
      add(configMaps, valueFrom?.configMapKeyRef?.name);
    }
  }
  for (const volume of spec?.volumes ?? []) {
    add(secrets, volume.secret?.secretName);
    add(configMaps, volume.configMap?.name);
    add(claims, volume.persistentVolumeClaim?.claimName);
    // Claims of generic ephemeral volumes are named after the pod and the volume.
    if (volume.ephemeral) add(claims, `${pod.metadata.name}-${volume.name}`);
    for (const source of volume.projected?.sources ?? []) {
      add(secrets, source.secret?.name);
      add(configMaps, source.configMap?.name);
    }
    for (const driver of [volume.csi?.nodePublishSecretRef, volume.flexVolume?.secretRef, volume.cephfs?.secretRef]) {
      add(secrets, driver?.name);
    }
    for (const driver of [volume.iscsi?.secretRef, volume.rbd?.secretRef, volume.scaleIO?.secretRef]) {
      add(secrets, driver?.name);
    }
    add(secrets, volume.storageos?.secretRef?.name);
    add(secrets, volume.azureFile?.secretName);
  }
  return { secrets, configMaps, claims };
}
