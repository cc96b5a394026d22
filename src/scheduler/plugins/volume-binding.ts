import type { Volume } from "../../api/generated/core-v1.ts";
import {
  type ClaimView,
  findVolume,
  isBindComplete,
  type StorageClassView,
  selectedNodeAnnotation,
  storageClassOf,
  type VolumeView,
} from "../../api/volume/matching.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { Plugin, PluginRun, Rejection } from "../framework.ts";
import type { NodeState } from "../node-state.ts";
import type { PendingPod } from "../pending-pod.ts";
import { matchesTerm } from "./node-affinity.ts";

/** What the plugin looks up; keys of claims are "namespace/name". */
export interface VolumeLookups {
  claim(key: string): ClaimView | undefined;
  volume(name: string): VolumeView | undefined;
  volumes(): readonly VolumeView[];
  storageClass(name: string): StorageClassView | undefined;
}

/** What has to be written so that the claims of a pod are bound for a node. */
export interface VolumeDecision {
  /** Volumes to be reserved for claims. */
  readonly reserve: readonly { readonly volume: VolumeView; readonly claim: ClaimView }[];
  /** Claims whose volume is to be made for the node. */
  readonly provision: readonly ClaimView[];
}

const noProvisioner = "kubernetes.io/no-provisioner";
const nodeConflict: Rejection = { reason: "node(s) didn't match PersistentVolume's node affinity", unresolvable: true };
const bindConflict: Rejection = {
  reason: "node(s) didn't find available persistent volumes to bind",
  unresolvable: true,
};
const volumeMissing: Rejection = {
  reason: "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
  unresolvable: true,
};
const singlePodConflict: Rejection = {
  reason:
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
};

function claimName(pod: PendingPod, volume: DeepReadonly<Volume>): string | undefined {
  if (volume.persistentVolumeClaim) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral ? `${pod.metadata.name}-${volume.name}` : undefined;
}

/** Can a volume be used on a node? */
export function fitsNode(volume: VolumeView, node: NodeState): boolean {
  const required = volume.spec?.nodeAffinity?.required;
  return !required || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

interface PodClaims {
  readonly bound: readonly ClaimView[];
  /** Unbound ones that wait for the pod to be scheduled. */
  readonly delayed: readonly ClaimView[];
  /** Why the pod can run nowhere now. */
  readonly reject?: string;
}

function claimsOf(pod: PendingPod, lookups: VolumeLookups): PodClaims | undefined {
  const bound: ClaimView[] = [];
  const delayed: ClaimView[] = [];
  let immediate = false;
  for (const volume of pod.spec?.volumes ?? []) {
    const name = claimName(pod, volume);
    if (name === undefined) continue;
    const claim = lookups.claim(`${pod.metadata.namespace}/${name}`);
    const quoted = JSON.stringify(name);
    const reject = (text: string) => ({ bound, delayed, reject: text });
    if (!claim) {
      const text = volume.ephemeral
        ? `waiting for ephemeral volume controller to create the persistentvolumeclaim ${quoted}`
        : `persistentvolumeclaim ${quoted} not found`;
      return reject(text);
    }
    if (claim.status?.phase === "Lost") {
      const volumeName = JSON.stringify(claim.spec?.volumeName ?? "");
      return reject(`persistentvolumeclaim ${quoted} bound to non-existent persistentvolume ${volumeName}`);
    }
    if (claim.metadata.deletionTimestamp) return reject(`persistentvolumeclaim ${quoted} is being deleted`);
    if (claim.spec?.volumeName && isBindComplete(claim)) bound.push(claim);
    else if (
      !claim.spec?.volumeName &&
      lookups.storageClass(storageClassOf(claim))?.volumeBindingMode === "WaitForFirstConsumer"
    ) {
      delayed.push(claim);
    } else immediate = true;
  }
  if (immediate) return { bound, delayed, reject: "pod has unbound immediate PersistentVolumeClaims" };
  return bound.length + delayed.length > 0 ? { bound, delayed } : undefined;
}

/** What the unbound claims of a pod would get on a node; undefined: not all can have something. */
function decideDelayed(
  delayed: readonly ClaimView[],
  node: NodeState,
  lookups: VolumeLookups,
): VolumeDecision | undefined {
  const reserve: { volume: VolumeView; claim: ClaimView }[] = [];
  const provision: ClaimView[] = [];
  const taken = new Set<string>();
  // The smallest first, so that a small claim does not take the volume that a large one needs.
  const size = (claim: ClaimView) => parseQuantity(claim.spec?.resources?.requests?.["storage"] ?? "0");
  for (const claim of [...delayed].sort((a, b) => size(a).compare(size(b)))) {
    const selected = claim.metadata.annotations?.[selectedNodeAnnotation];
    // Its volume is being made for a node already.
    if (selected !== undefined && selected !== node.name) return undefined;
    const volume =
      selected === undefined
        ? findVolume(claim, lookups.volumes(), { taken, fitsNode: (one) => fitsNode(one, node) })
        : undefined;
    if (volume) {
      taken.add(volume.metadata.name ?? "");
      reserve.push({ volume, claim });
      continue;
    }
    const storageClass = lookups.storageClass(storageClassOf(claim));
    if (!storageClass?.provisioner || storageClass.provisioner === noProvisioner) return undefined;
    if (claim.spec?.selector || !isAllowed(storageClass, node)) return undefined;
    provision.push(claim);
  }
  return { reserve, provision };
}

/** Does the class make volumes for the node? */
function isAllowed({ allowedTopologies }: StorageClassView, node: NodeState): boolean {
  if (!allowedTopologies?.length) return true;
  return allowedTopologies.some(({ matchLabelExpressions = [] }) =>
    matchLabelExpressions.every(({ key, values }) => values.includes(node.labels[key] ?? "")),
  );
}

/** What is to be written before the pod is bound to the node; undefined: nothing. */
export function volumeDecision(pod: PendingPod, node: NodeState, lookups: VolumeLookups): VolumeDecision | undefined {
  const claims = claimsOf(pod, lookups);
  if (!claims || claims.delayed.length === 0) return undefined;
  return decideDelayed(claims.delayed, node, lookups);
}

/** Are all claims of a pod bound? Throws an Error with the reason when they cannot be. */
export function areBound(pod: PendingPod, lookups: VolumeLookups): boolean {
  const claims = claimsOf(pod, lookups);
  if (claims?.reject && !claims.reject.startsWith("pod has unbound")) throw new Error(claims.reject);
  return !claims || (!claims.reject && claims.delayed.length === 0);
}

/** Keeps pods to nodes where their volumes are or can be; those whose claims are not bound wait. */
export function volumeBinding(lookups: VolumeLookups): Plugin {
  return {
    name: "VolumeBinding",
    retryOn: ["volumes", "node-added", "node-labels", "pod-deleted"],
    start(pod, { nodes }): PluginRun | undefined {
      if (!pod.spec?.volumes?.some((volume) => volume.persistentVolumeClaim || volume.ephemeral)) return undefined;
      const claims = claimsOf(pod, lookups);
      if (!claims) return undefined;
      if (claims.reject) return { reject: claims.reject };
      const volumes = claims.bound.map((claim) => lookups.volume(claim.spec?.volumeName ?? ""));
      const single = claims.bound.filter(({ spec }) => spec?.accessModes?.includes("ReadWriteOncePod"));
      const inUse = single.some(({ metadata }) =>
        nodes.some((node) =>
          node.pods.some(
            (other) =>
              other.metadata.namespace === metadata.namespace &&
              other.metadata.uid !== pod.metadata.uid &&
              other.spec?.volumes?.some((volume) => claimName(other, volume) === metadata.name),
          ),
        ),
      );
      return {
        filter(node) {
          if (inUse) return [singlePodConflict];
          if (volumes.some((volume) => !volume)) return [volumeMissing];
          if (volumes.some((volume) => volume && !fitsNode(volume, node))) return [nodeConflict];
          return decideDelayed(claims.delayed, node, lookups) ? [] : [bindConflict];
        },
      };
    },
  };
}
