import type { TopologySpreadConstraint } from "../../api/generated/core-v1.ts";
import { fromLabelSelector, type Selector } from "../../machinery/label-selector.ts";
import { controllerOf, type DeepReadonly } from "../../machinery/object.ts";
import { maxScore, type Plugin } from "../framework.ts";
import type { NodeState } from "../node-state.ts";
import type { PendingPod } from "../pending-pod.ts";
import { nodeAffinity } from "./node-affinity.ts";
import { tolerates } from "./taint-toleration.ts";

interface Constraint {
  readonly topologyKey: string;
  readonly maxSkew: number;
  readonly minDomains: number;
  readonly counts: (pod: PendingPod) => boolean;
  readonly selfMatch: boolean;
  readonly includes: (node: NodeState) => boolean;
}

function selectorOf(constraint: DeepReadonly<TopologySpreadConstraint>, pod: PendingPod): Selector {
  const labels = pod.metadata.labels ?? {};
  const extra = (constraint.matchLabelKeys ?? []).filter((key) => labels[key] !== undefined);
  if (extra.length === 0) return fromLabelSelector(constraint.labelSelector as never);
  return fromLabelSelector({
    matchLabels: {
      ...constraint.labelSelector?.matchLabels,
      ...Object.fromEntries(extra.map((key) => [key, labels[key]!])),
    },
    ...(constraint.labelSelector?.matchExpressions
      ? { matchExpressions: constraint.labelSelector.matchExpressions }
      : {}),
  } as never);
}

function understood(
  constraint: DeepReadonly<TopologySpreadConstraint>,
  pod: PendingPod,
  affine: (node: NodeState) => boolean,
): Constraint {
  const selector = selectorOf(constraint, pod);
  const { namespace } = pod.metadata;
  const respectTaints = constraint.nodeTaintsPolicy === "Honor";
  return {
    topologyKey: constraint.topologyKey,
    maxSkew: constraint.maxSkew,
    minDomains: constraint.minDomains ?? 1,
    counts: (other) =>
      other.metadata.namespace === namespace &&
      !other.metadata.deletionTimestamp &&
      selector.matches(other.metadata.labels ?? {}),
    selfMatch: selector.matches(pod.metadata.labels ?? {}),
    includes: (node) =>
      (constraint.nodeAffinityPolicy === "Ignore" || affine(node)) &&
      (!respectTaints ||
        (node.node.spec?.taints ?? []).every(
          (taint) => taint.effect === "PreferNoSchedule" || tolerates(pod.spec?.tolerations, taint),
        )),
  };
}

/** Pods of one controller spread by themselves over hosts, and less strictly over zones (the cluster's default). */
function defaultConstraints(pod: PendingPod): Constraint[] {
  const owner = controllerOf(pod);
  if (!owner) return [];
  const counts = (other: PendingPod) => controllerOf(other)?.uid === owner.uid && !other.metadata.deletionTimestamp;
  const shared = { counts, selfMatch: true, includes: () => true, minDomains: 1 };
  return [
    { ...shared, topologyKey: "kubernetes.io/hostname", maxSkew: 3 },
    { ...shared, topologyKey: "topology.kubernetes.io/zone", maxSkew: 5 },
  ];
}

/** Pods that a constraint counts, by the value of its topology key. */
function countByDomain(
  constraint: Constraint,
  nodes: readonly NodeState[],
  keys: readonly string[],
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const node of nodes) {
    const domain = node.labels[constraint.topologyKey];
    if (domain === undefined || !keys.every((key) => node.labels[key] !== undefined) || !constraint.includes(node))
      continue;
    counts.set(domain, (counts.get(domain) ?? 0) + node.pods.filter(constraint.counts).length);
  }
  return counts;
}

/** Spreads pods over domains: DoNotSchedule constraints filter, ScheduleAnyway ones score. */
export const podTopologySpread: Plugin = {
  name: "PodTopologySpread",
  weight: 2,
  retryOn: ["node-added", "node-labels", "pod-added", "pod-deleted", "pod-updated"],
  start(pod, { nodes }) {
    const given = pod.spec?.topologySpreadConstraints ?? [];
    const affinity = nodeAffinity.start(pod, { nodes });
    const affine = (node: NodeState) => (affinity?.filter?.(node) ?? []).length === 0;
    const hard = given
      .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === "DoNotSchedule")
      .map((constraint) => understood(constraint, pod, affine));
    const soft =
      given.length > 0
        ? given
            .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === "ScheduleAnyway")
            .map((constraint) => understood(constraint, pod, affine))
        : defaultConstraints(pod);
    if (hard.length === 0 && soft.length === 0) return undefined;
    const hardKeys = hard.map(({ topologyKey }) => topologyKey);
    const hardCounts = hard.map((constraint) => countByDomain(constraint, nodes, hardKeys));
    const softCounts = soft.map((constraint) => countByDomain(constraint, nodes, []));
    return {
      filter(node) {
        for (const [index, constraint] of hard.entries()) {
          const domain = node.labels[constraint.topologyKey];
          if (domain === undefined) {
            return [
              {
                reason: "node(s) didn't match pod topology spread constraints (missing required label)",
                unresolvable: true,
              },
            ];
          }
          const counts = hardCounts[index]!;
          // With fewer domains than asked for, the emptiest one is thought to be one that does not exist yet.
          const least = counts.size < constraint.minDomains ? 0 : Math.min(...counts.values());
          const skew = (counts.get(domain) ?? 0) + (constraint.selfMatch ? 1 : 0) - least;
          if (skew > constraint.maxSkew) return [{ reason: "node(s) didn't match pod topology spread constraints" }];
        }
        return [];
      },
      ...(soft.length > 0
        ? {
            score(node) {
              let score = 0;
              for (const [index, constraint] of soft.entries()) {
                const domain = node.labels[constraint.topologyKey];
                if (domain === undefined) continue;
                const counts = softCounts[index]!;
                // The more domains, the more one pod more or less in a domain says.
                score += (counts.get(domain) ?? 0) * Math.log(counts.size + 2) + (constraint.maxSkew - 1);
              }
              return Math.round(score);
            },
            normalize(scores) {
              const highest = Math.max(...scores);
              const lowest = Math.min(...scores);
              if (highest === 0) return scores.map(() => maxScore);
              return scores.map((score) => Math.floor((maxScore * (highest + lowest - score)) / highest));
            },
          }
        : {}),
    };
  },
};
