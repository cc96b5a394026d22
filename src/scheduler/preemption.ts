import { keyOf } from "../machinery/object.ts";
import { fits } from "./decide.ts";
import type { Plugin, Snapshot } from "./framework.ts";
import type { NodeState } from "./node-state.ts";
import { priorityOf } from "./nominations.ts";
import type { PendingPod } from "./pending-pod.ts";

/** A node that the pod would fit on once these pods are gone. */
export interface Preemption {
  readonly node: NodeState;
  readonly victims: readonly PendingPod[];
}

/**
 * Finds the node on which the least has to go for a pod of higher priority (Kubernetes documentation, "Pod Priority
 * and Preemption"): lowest highest priority among the victims, then fewest victims.
 * @param nodes those whose rejection pods going away could lift
 */
export function findPreemption(
  pod: PendingPod,
  plugins: readonly Plugin[],
  snapshot: Snapshot,
  nodes: readonly NodeState[],
): Preemption | undefined {
  if (pod.spec?.preemptionPolicy === "Never") return undefined;
  const options = nodes.flatMap((node) => {
    const victims = victimsOn(pod, plugins, snapshot, node);
    return victims && victims.length > 0 ? [{ node, victims }] : [];
  });
  const cost = ({ victims }: Preemption) => [Math.max(...victims.map(priorityOf)), victims.length] as const;
  return options.sort((a, b) => cost(a)[0] - cost(b)[0] || cost(a)[1] - cost(b)[1])[0];
}

/** Who has to go: all pods of lower priority, less those that can stay after all, the most important tried first. */
function victimsOn(
  pod: PendingPod,
  plugins: readonly Plugin[],
  snapshot: Snapshot,
  node: NodeState,
): PendingPod[] | undefined {
  const lower = node.pods.filter((other) => priorityOf(other) < priorityOf(pod));
  if (lower.length === 0) return undefined;
  const trial = node.copy();
  const trialSnapshot = { nodes: snapshot.nodes.map((other) => (other === node ? trial : other)) };
  for (const victim of lower) trial.remove(victim);
  if (!fits(pod, plugins, trialSnapshot, trial)) return undefined;
  const victims: PendingPod[] = [];
  for (const candidate of lower.sort((a, b) => priorityOf(b) - priorityOf(a) || keyOf(a).localeCompare(keyOf(b)))) {
    trial.add(candidate);
    if (fits(pod, plugins, trialSnapshot, trial)) continue;
    trial.remove(candidate);
    victims.push(candidate);
  }
  return victims;
}
