import type { NodeSelectorTerm } from "../../api/generated/core-v1.ts";
import { makeRequirement, matchesRequirement, operatorOf } from "../../machinery/label-selector.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { normalizeToMax, type Plugin } from "../framework.ts";
import type { NodeState } from "../node-state.ts";

type Term = DeepReadonly<NodeSelectorTerm>;

/** One term of a node selector: all of its expressions and fields hold. A term without any matches nothing. */
export function matchesTerm(term: Term, node: NodeState): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  return (
    expressions.every(({ key, operator, values }) =>
      matchesRequirement(makeRequirement(key, operatorOf(operator), values ?? []), node.labels),
    ) &&
    fields.every(
      ({ key, operator, values }) =>
        key === "metadata.name" && (values ?? []).includes(node.name) === (operator === "In"),
    )
  );
}

/** `nodeSelector` and required node affinity filter; preferred affinity scores. */
export const nodeAffinity: Plugin = {
  name: "NodeAffinity",
  weight: 2,
  retryOn: ["node-added", "node-labels"],
  start(pod) {
    const selector = Object.entries(pod.spec?.nodeSelector ?? {});
    const affinity = pod.spec?.affinity?.nodeAffinity;
    const required = affinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
    const preferred = affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
    if (selector.length === 0 && !required && preferred.length === 0) return undefined;
    return {
      filter: (node) =>
        selector.every(([key, value]) => node.labels[key] === value) &&
        (!required || required.some((term) => matchesTerm(term, node)))
          ? []
          : [{ reason: "node(s) didn't match Pod's node affinity/selector", unresolvable: true }],
      ...(preferred.length > 0
        ? {
            score: (node) =>
              preferred.reduce((sum, { weight, preference }) => sum + (matchesTerm(preference, node) ? weight : 0), 0),
            normalize: (scores) => normalizeToMax(scores),
          }
        : {}),
    };
  },
};
