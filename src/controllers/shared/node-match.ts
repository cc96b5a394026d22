import type { NodeSelectorRequirement, NodeSelectorTerm, PodSpec } from "../../api/generated/core-v1.ts";
import { makeRequirement, matchesRequirement, operatorOf } from "../../machinery/label-selector.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import type { NodeView } from "../node-lifecycle-plan.ts";

type Term = DeepReadonly<NodeSelectorTerm>;
type Rule = DeepReadonly<NodeSelectorRequirement>;

/** Is a node one that a pod asks for by name, spec.nodeSelector and required node affinity? */
export function asksForNode(spec: DeepReadonly<PodSpec> | undefined, node: NodeView): boolean {
  if (spec?.nodeName && spec.nodeName !== node.metadata.name) return false;
  const labels = node.metadata.labels;
  for (const [key, value] of Object.entries(spec?.nodeSelector ?? {})) if (labels?.[key] !== value) return false;
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return !required || required.nodeSelectorTerms.some((term) => matchesTerm(term as Term, node));
}

/** All expressions of a term together; an empty term matches nothing. */
function matchesTerm(term: Term, node: NodeView): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  const labels = (node.metadata.labels ?? {}) as Record<string, string>;
  const fields = { "metadata.name": node.metadata.name ?? "" };
  return matchExpressions.every((rule) => matches(rule, labels)) && matchFields.every((rule) => matches(rule, fields));
}

function matches({ key, operator, values = [] }: Rule, from: Record<string, string>): boolean {
  try {
    return matchesRequirement(makeRequirement(key, operatorOf(operator), values), from);
  } catch {
    // What cannot be parsed matches nothing, as in the scheduler.
    return false;
  }
}
