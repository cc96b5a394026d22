import { persistentVolumeClaims, persistentVolumes, pods } from "../api/generated/core-v1.ts";
import type { Client } from "../client/client.ts";
import { type KubeObject, keyOf, type ResourceType } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { mutable, type View } from "./shared/owned.ts";
import { claimNameOf, claimsOf } from "./shared/pod-claims.ts";
import type { PodView } from "./shared/pod-facts.ts";

const claimFinalizer = "kubernetes.io/pvc-protection";
const volumeFinalizer = "kubernetes.io/pv-protection";

/** Puts the finalizer on what lives, and takes it off what goes and is not in use. */
async function protect<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  object: View<T>,
  finalizer: string,
  isUsed: () => boolean | Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const { finalizers = [], deletionTimestamp } = object.metadata;
  const has = finalizers.includes(finalizer);
  if (deletionTimestamp ? !has || (await isUsed()) : has) return;
  const next = mutable<T>(object);
  next.metadata.finalizers = has ? finalizers.filter((one) => one !== finalizer) : [...finalizers, finalizer];
  try {
    await client.update(type, next, { signal });
  } catch (error) {
    if (!(error instanceof StatusError && error.code === 404)) throw error;
  }
}

/** Keeps claims that are being deleted until no pod on a node uses them. */
export const claimProtectionController: ControllerFactory = {
  name: "pvc-protection-controller",
  create({ client, informers }) {
    const claims = informers.of(persistentVolumeClaims);
    const podInformer = informers.of(pods);
    podInformer.addIndex("claim", claimsOf);
    // Kubelets start no pod whose claim is being deleted, so only those that are on a node count.
    const uses = (pod: PodView, name: string) => {
      if (!pod.spec?.nodeName) return false;
      const isShutDown = pod.metadata.deletionTimestamp !== undefined && pod.metadata.deletionGracePeriodSeconds === 0;
      return (pod.spec.volumes ?? []).some(
        (volume) => claimNameOf(pod, volume) === name && !(volume.ephemeral && isShutDown),
      );
    };
    return {
      watches: [
        watch(claims, (claim) => [keyOf(claim as KubeObject)]),
        watch(podInformer, (pod) => claimsOf(pod).filter((key) => claims.get(key)?.metadata.deletionTimestamp)),
      ],
      async reconcile(key, signal) {
        const claim = claims.get(key);
        if (!claim) return undefined;
        const { name = "", namespace = "" } = claim.metadata;
        // A pod may have come to its node and not into the cache yet: before a claim is given up, the API is asked.
        const isUsed = async () =>
          podInformer.byIndex("claim", key).some((pod) => uses(pod, name)) ||
          (await client.list(pods, { namespace, signal })).items.some((pod) => uses(pod, name));
        await protect(client, persistentVolumeClaims, claim, claimFinalizer, isUsed, signal);
        return undefined;
      },
    };
  },
};

/** Keeps volumes that are being deleted until no claim has them. */
export const volumeProtectionController: ControllerFactory = {
  name: "pv-protection-controller",
  create({ client, informers }) {
    const volumes = informers.of(persistentVolumes);
    return {
      watches: [watch(volumes, (volume) => [volume.metadata.name ?? ""])],
      async reconcile(key, signal) {
        const volume = volumes.get(key);
        if (!volume) return undefined;
        const isUsed = () => volume.status?.phase === "Bound";
        await protect(client, persistentVolumes, volume, volumeFinalizer, isUsed, signal);
        return undefined;
      },
    };
  },
};
