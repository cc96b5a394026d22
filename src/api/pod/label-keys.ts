/** matchLabelKeys and mismatchLabelKeys of a new pod become part of the selectors that they belong to. */
import type { Pod } from "../generated/core-v1.ts";
import type { LabelSelector } from "../generated/meta-v1.ts";

interface Term {
  labelSelector?: LabelSelector;
  matchLabelKeys?: readonly string[];
  mismatchLabelKeys?: readonly string[];
}

export function mergeLabelKeys({ metadata, spec }: Pod): void {
  const labels = metadata.labels ?? {};
  const merge = (term: Term) => {
    if (!term.labelSelector) return;
    extend(term.labelSelector, term.matchLabelKeys, "In", labels);
    extend(term.labelSelector, term.mismatchLabelKeys, "NotIn", labels);
  };
  for (const terms of [spec?.affinity?.podAffinity, spec?.affinity?.podAntiAffinity]) {
    for (const weighted of terms?.preferredDuringSchedulingIgnoredDuringExecution ?? [])
      merge(weighted.podAffinityTerm);
    for (const term of terms?.requiredDuringSchedulingIgnoredDuringExecution ?? []) merge(term);
  }
  for (const constraint of spec?.topologySpreadConstraints ?? []) merge(constraint);
}

function extend(
  selector: LabelSelector,
  keys: readonly string[] | undefined,
  operator: "In" | "NotIn",
  labels: Readonly<Record<string, string>>,
): void {
  for (const key of keys ?? []) {
    const value = labels[key];
    if (value === undefined) continue;
    selector.matchExpressions = [...(selector.matchExpressions ?? []), { key, operator, values: [value] }];
  }
}
