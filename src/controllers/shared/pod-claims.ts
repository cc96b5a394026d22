import type { Volume } from "../../api/generated/core-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import type { PodView } from "./pod-facts.ts";

/** The name of the claim behind a volume of a pod, if there is one: named by the pod, or made for it. */
export function claimNameOf(pod: PodView, volume: DeepReadonly<Volume>): string | undefined {
  if (volume.persistentVolumeClaim) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral ? `${pod.metadata.name}-${volume.name}` : undefined;
}

/** The keys ("namespace/name") of the claims that a pod uses. */
export function claimsOf(pod: PodView): string[] {
  return (pod.spec?.volumes ?? [])
    .map((volume) => claimNameOf(pod, volume))
    .filter((name): name is string => name !== undefined)
    .map((name) => `${pod.metadata.namespace}/${name}`);
}
