import { type PersistentVolumeClaim, persistentVolumeClaims, pods, type Volume } from "../api/generated/core-v1.ts";
import { type DeepReadonly, type KubeObject, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { controllerReference, mutable, ownerOf } from "./shared/owned.ts";
import { claimNameOf, claimsOf } from "./shared/pod-claims.ts";
import { isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";

/** Makes the claims of volumes that live as long as their pod. */
export const ephemeralVolumeController: ControllerFactory = {
  name: "ephemeral-volume-controller",
  create({ client, informers, events }) {
    const podInformer = informers.of(pods);
    podInformer.addIndex("claim", claimsOf);
    const claims = informers.of(persistentVolumeClaims);
    const isConcerned = (pod: PodView) => pod.spec?.volumes?.some(({ ephemeral }) => ephemeral) ?? false;

    const make = async (pod: PodView, volume: DeepReadonly<Volume>, signal: AbortSignal) => {
      const { namespace = "", uid } = pod.metadata;
      const name = claimNameOf(pod, volume) ?? "";
      const existing = claims.get(`${namespace}/${name}`);
      if (existing) {
        if (ownerOf(existing)?.uid === uid) return;
        throw new Error(
          `PVC ${JSON.stringify(`${namespace}/${name}`)} was not created for pod ${JSON.stringify(keyOf(pod as KubeObject))} (pod is not owner)`,
        );
      }
      const { metadata, spec } = structuredClone(volume.ephemeral?.volumeClaimTemplate ?? {}) as PersistentVolumeClaim;
      const claim: PersistentVolumeClaim = {
        metadata: {
          name,
          ...(metadata?.annotations ? { annotations: metadata.annotations } : {}),
          ...(metadata?.labels ? { labels: metadata.labels } : {}),
          ownerReferences: [controllerReference(pods, pod)],
        },
        ...(spec ? { spec } : {}),
      };
      await client.create(persistentVolumeClaims, claim, { namespace, signal });
    };

    return {
      watches: [
        watch(podInformer, (pod) => (isConcerned(pod) ? [keyOf(pod as KubeObject)] : [])),
        {
          attach(enqueue) {
            // A claim that went while its pod lives is made again.
            claims.on({
              delete: (claim) => {
                for (const pod of podInformer.byIndex("claim", keyOf(claim as KubeObject))) {
                  if (isConcerned(pod)) enqueue(keyOf(pod as KubeObject));
                }
              },
            });
          },
        },
      ],
      async reconcile(key, signal) {
        const pod = podInformer.get(key);
        if (!pod || isTerminated(pod) || isTerminating(pod)) return undefined;
        for (const volume of pod.spec?.volumes ?? []) {
          if (!volume.ephemeral) continue;
          try {
            await make(pod, volume, signal);
          } catch (error) {
            // Made a moment ago, and not seen yet.
            if (error instanceof StatusError && error.reason === "AlreadyExists") return { requeueAfterMs: 1000 };
            const text = `ephemeral volume ${volume.name}: ${(error as Error).message}`;
            events.event(pods, mutable(pod), "Warning", "FailedBinding", text);
            throw error;
          }
        }
        return undefined;
      },
    };
  },
};
