import type { PodAffinityTerm } from "../../api/generated/core-v1.ts";
import { fromLabelSelector } from "../../machinery/label-selector.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { maxScore, type Plugin } from "../framework.ts";
import type { NodeState } from "../node-state.ts";
import type { PendingPod } from "../pending-pod.ts";

interface Term {
  readonly topologyKey: string;
  readonly matches: (other: PendingPod) => boolean;
}

/** Labels of a namespace, for `namespaceSelector`. */
export type NamespaceLabels = (namespace: string) => Readonly<Record<string, string>>;

function understood(term: DeepReadonly<PodAffinityTerm>, owner: PendingPod, namespaceLabels: NamespaceLabels): Term {
  const labels = owner.metadata.labels ?? {};
  const expressions = [
    ...(term.labelSelector?.matchExpressions ?? []),
    ...(term.matchLabelKeys ?? [])
      .filter((key) => labels[key] !== undefined)
      .map((key) => ({ key, operator: "In", values: [labels[key]!] })),
    ...(term.mismatchLabelKeys ?? [])
      .filter((key) => labels[key] !== undefined)
      .map((key) => ({ key, operator: "NotIn", values: [labels[key]!] })),
  ];
  // No selector at all selects no pods; an empty one all.
  const selector = fromLabelSelector(
    term.labelSelector ? ({ ...term.labelSelector, matchExpressions: expressions } as never) : undefined,
  );
  const byNamespace = term.namespaceSelector ? fromLabelSelector(term.namespaceSelector as never) : undefined;
  const named = term.namespaces ?? [];
  const own = named.length === 0 && !byNamespace;
  return {
    topologyKey: term.topologyKey,
    matches(other) {
      const namespace = other.metadata.namespace ?? "";
      const inNamespace = own
        ? namespace === owner.metadata.namespace
        : named.includes(namespace) || (byNamespace?.matches(namespaceLabels(namespace)) ?? false);
      return inNamespace && selector.matches(other.metadata.labels ?? {});
    },
  };
}

/** Domains (values of a topology key) in which at least one pod matches. */
function domainsWith(term: Term, nodes: readonly NodeState[]): Set<string> {
  const domains = new Set<string>();
  for (const node of nodes) {
    const domain = node.labels[term.topologyKey];
    if (domain !== undefined && !domains.has(domain) && node.pods.some(term.matches)) domains.add(domain);
  }
  return domains;
}

/** Pods near other pods, or away from them; also away from pods that want to be away from this one. */
export function interPodAffinity(namespaceLabels: NamespaceLabels): Plugin {
  return {
    name: "InterPodAffinity",
    weight: 2,
    retryOn: ["node-added", "node-labels", "pod-added", "pod-deleted", "pod-updated", "namespace"],
    start(pod, { nodes }) {
      const affinity = pod.spec?.affinity?.podAffinity;
      const anti = pod.spec?.affinity?.podAntiAffinity;
      const understand = (term: DeepReadonly<PodAffinityTerm>) => understood(term, pod, namespaceLabels);
      const near = (affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map(understand);
      const away = (anti?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map(understand);
      const preferred = [
        ...(affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ weight, podAffinityTerm }) => ({
          weight,
          term: understand(podAffinityTerm),
        })),
        ...(anti?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ weight, podAffinityTerm }) => ({
          weight: -weight,
          term: understand(podAffinityTerm),
        })),
      ];
      const nearDomains = near.map((term) => domainsWith(term, nodes));
      const awayDomains = away.map((term) => domainsWith(term, nodes));
      // The first pod of a group that wants to be together may start it anywhere.
      const firstOfGroup = near.every((term, index) => nearDomains[index]!.size === 0 && term.matches(pod));
      const shunned = shunnedDomains(pod, nodes, namespaceLabels);
      if (near.length + away.length + preferred.length + shunned.length === 0) return undefined;
      const preferredDomains = preferred.map(({ weight, term }) => ({
        weight,
        key: term.topologyKey,
        domains: domainsWith(term, nodes),
      }));
      return {
        filter(node) {
          for (const [index, { topologyKey }] of near.entries()) {
            const domain = node.labels[topologyKey];
            if (domain === undefined || (!nearDomains[index]!.has(domain) && !firstOfGroup)) {
              return [{ reason: "node(s) didn't match pod affinity rules", unresolvable: true }];
            }
          }
          for (const [index, { topologyKey }] of away.entries()) {
            const domain = node.labels[topologyKey];
            if (domain !== undefined && awayDomains[index]!.has(domain))
              return [{ reason: "node(s) didn't match pod anti-affinity rules" }];
          }
          const unwelcome = shunned.some(({ key, domain }) => node.labels[key] === domain);
          return unwelcome ? [{ reason: "node(s) didn't satisfy existing pods anti-affinity rules" }] : [];
        },
        ...(preferred.length > 0
          ? {
              score: (node) =>
                preferredDomains.reduce(
                  (sum, { weight, key, domains }) => sum + (domains.has(node.labels[key] ?? "") ? weight : 0),
                  0,
                ),
              normalize(scores) {
                const highest = Math.max(...scores);
                const lowest = Math.min(...scores);
                return scores.map((score) =>
                  highest === lowest ? 0 : Math.floor((maxScore * (score - lowest)) / (highest - lowest)),
                );
              },
            }
          : {}),
      };
    },
  };
}

/** Domains whose pods do not want this one among them. */
function shunnedDomains(
  pod: PendingPod,
  nodes: readonly NodeState[],
  namespaceLabels: NamespaceLabels,
): { key: string; domain: string }[] {
  return nodes.flatMap((node) =>
    node.pods.flatMap((other) =>
      (other.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).flatMap((term) => {
        const domain = node.labels[term.topologyKey];
        return domain !== undefined && understood(term, other, namespaceLabels).matches(pod)
          ? [{ key: term.topologyKey, domain }]
          : [];
      }),
    ),
  );
}
