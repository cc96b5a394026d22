import type { NodeState } from "./node-state.ts";
import type { PendingPod } from "./pending-pod.ts";

/**
 * The scheduling framework: a pod goes through plugins that filter nodes, and then through those that score the ones
 * that are left (Kubernetes documentation, "Scheduling Framework"). Plugins are pure: all that they may look at is
 * handed to them.
 */

/** What plugins decide on: every node with the pods on it, at one moment. */
export interface Snapshot {
  readonly nodes: readonly NodeState[];
}

/** Why a node does not fit. */
export interface Rejection {
  /** As it stands in events, without a count: "Insufficient cpu". */
  readonly reason: string;
  /** No pod's going away would help: preemption need not look at this node. */
  readonly unresolvable?: boolean;
}

/** A change in the cluster that may let a pod fit that did not before. */
export type ClusterChange =
  | "node-added"
  | "node-labels"
  | "node-taints"
  | "node-resources"
  | "pod-deleted"
  | "pod-added"
  | "pod-updated"
  | "volumes"
  | "namespace";

/** A pod's way through a plugin: made once a cycle, with what can be computed once for all nodes. */
export interface PluginRun {
  /** Why the pod fits on no node at all now, without looking at any. */
  readonly reject?: string;
  /** All reasons why the pod does not fit on this node; none when it does. */
  filter?(node: NodeState): readonly Rejection[];
  /** How well it fits; any number, brought to 0..100 by `normalize`, default as it is. */
  score?(node: NodeState): number;
  /** Turns raw scores into 0..100 over all nodes that passed; default: clamp. */
  normalize?(scores: readonly number[]): readonly number[];
}

export interface Plugin {
  readonly name: string;
  /** Factor of its scores (Kubernetes' default profile). */
  readonly weight?: number;
  /** Changes upon which a pod that this plugin rejected is tried again. */
  readonly retryOn: readonly ClusterChange[];
  /** A pod that may not be scheduled at all now: the text of its condition. */
  gate?(pod: PendingPod): string | undefined;
  /** `undefined`: the plugin has nothing to say about this pod. */
  start(pod: PendingPod, snapshot: Snapshot): PluginRun | undefined;
}

export const maxScore = 100;

/** The common normalisation: the best raw score becomes 100 (or, reversed, 0). */
export function normalizeToMax(scores: readonly number[], reverse = false): number[] {
  const highest = Math.max(0, ...scores);
  if (highest === 0) return scores.map(() => (reverse ? maxScore : 0));
  return scores.map((score) => {
    const scaled = Math.floor((score * maxScore) / highest);
    return reverse ? maxScore - scaled : scaled;
  });
}
