import type { NamespaceCondition } from "../api/generated/core-v1.ts";
import type { Clock } from "../machinery/clock.ts";
import { withCondition } from "./shared/conditions.ts";

/** What is left of one kind after an attempt to delete all of it. */
export interface Remains {
  /** "deployments.apps" */
  readonly resource: string;
  readonly count: number;
  /** How many objects each finalizer holds. */
  readonly finalizers: Readonly<Record<string, number>>;
}

export interface DeletionOutcome {
  readonly remains: readonly Remains[];
  /** Errors of kinds that could not be listed or deleted. */
  readonly errors: readonly string[];
}

/** The conditions that tell how far the deletion of a namespace has come, in Kubernetes' words. */
export function namespaceConditions(
  old: readonly NamespaceCondition[] | undefined,
  { remains, errors }: DeletionOutcome,
  clock: Clock,
): readonly NamespaceCondition[] {
  const left = remains.filter(({ count }) => count > 0);
  const finalizers = new Map<string, number>();
  for (const { finalizers: held } of left) {
    for (const [name, count] of Object.entries(held)) finalizers.set(name, (finalizers.get(name) ?? 0) + count);
  }
  const facts: readonly [type: string, failed: boolean, reasons: [string, string], messages: [string, string]][] = [
    [
      "NamespaceDeletionDiscoveryFailure",
      false,
      ["DiscoveryFailed", "ResourcesDiscovered"],
      ["", "All resources successfully discovered"],
    ],
    [
      "NamespaceDeletionGroupVersionParsingFailure",
      false,
      ["GroupVersionParsingFailed", "ParsedGroupVersions"],
      ["", "All legacy kube types successfully parsed"],
    ],
    [
      "NamespaceDeletionContentFailure",
      errors.length > 0,
      ["ContentDeletionFailed", "ContentDeleted"],
      [
        `Failed to delete all resource types, ${errors.length} remaining: ${errors.join(", ")}`,
        "All content successfully deleted, may be waiting on finalization",
      ],
    ],
    [
      "NamespaceContentRemaining",
      left.length > 0,
      ["SomeResourcesRemain", "ContentRemoved"],
      [
        `Some resources are remaining: ${left.map(({ resource, count }) => `${resource} has ${count} resource instances`).join(", ")}`,
        "All content successfully removed",
      ],
    ],
    [
      "NamespaceFinalizersRemaining",
      finalizers.size > 0,
      ["SomeFinalizersRemain", "ContentHasNoFinalizers"],
      [
        `Some content in the namespace has finalizers remaining: ${[...finalizers].map(([name, count]) => `${name} in ${count} resource instances`).join(", ")}`,
        "All content-preserving finalizers finished",
      ],
    ],
  ];
  let conditions = old ?? [];
  for (const [type, failed, [bad, good], [badText, goodText]] of facts) {
    const next = failed
      ? { type, status: "True", reason: bad, message: badText }
      : { type, status: "False", reason: good, message: goodText };
    conditions = withCondition<NamespaceCondition>(conditions, next, clock);
  }
  return conditions;
}
