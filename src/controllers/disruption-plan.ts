import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from "../api/generated/policy-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { withCondition } from "./shared/conditions.ts";
import { resolveIntOrPercent } from "./shared/int-or-percent.ts";
import { isReady, isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";

export type BudgetView = DeepReadonly<PodDisruptionBudget>;

/** An eviction that was granted counts as disrupted for this long, unless the pod is gone before. */
const evictionTimeoutMs = 2 * 60_000;

/** How many pods there shall be: those of the budget's selector, or what their owners ask for. */
export interface Expected {
  readonly pods: readonly PodView[];
  /** Sum of the owners' sizes; undefined when an owner has none, which percentages and maxUnavailable need. */
  readonly scale: number | undefined;
}

/** The status that evictions are judged by. */
export function budgetStatus(
  budget: BudgetView,
  { pods, scale }: Expected,
  nowMs: number,
): { readonly status: PodDisruptionBudgetStatus; readonly againInMs: number | undefined; readonly problem?: string } {
  const living = pods.filter((pod) => !isTerminated(pod));
  const { minAvailable, maxUnavailable } = budget.spec ?? {};
  const needsScale = maxUnavailable !== undefined || typeof minAvailable === "string";
  const problem =
    needsScale && scale === undefined ? "some pods have no controller that tells how many there shall be" : undefined;
  const expected = needsScale ? (scale ?? 0) : living.length;
  const desired =
    maxUnavailable !== undefined
      ? Math.max(0, expected - resolveIntOrPercent(maxUnavailable, expected, true))
      : resolveIntOrPercent(minAvailable ?? 0, expected, true);

  const disrupted: Record<string, string> = {};
  let againInMs: number | undefined;
  for (const [name, time] of Object.entries(budget.status?.disruptedPods ?? {})) {
    const pod = living.find((candidate) => candidate.metadata.name === name);
    const leftMs = Date.parse(time) + evictionTimeoutMs - nowMs;
    // Gone, or going: it no longer counts as healthy anyway.
    if (!pod || isTerminating(pod) || leftMs <= 0) continue;
    disrupted[name] = time;
    againInMs = Math.min(againInMs ?? leftMs, leftMs);
  }
  const healthy = living.filter(
    (pod) => isReady(pod) && !isTerminating(pod) && !(pod.metadata.name! in disrupted),
  ).length;
  const allowed = problem || expected <= 0 ? 0 : Math.max(0, healthy - desired);
  const old = budget.status?.conditions as PodDisruptionBudgetStatus["conditions"];
  const enough = allowed > 0;
  const reason = problem ? "SyncFailed" : enough ? "SufficientPods" : "InsufficientPods";
  const condition = {
    type: "DisruptionAllowed",
    status: enough ? "True" : "False",
    reason,
    message: problem ?? "",
    observedGeneration: budget.metadata.generation ?? 0,
    lastTransitionTime: formatTime(nowMs),
  };
  const conditions = withCondition(old, condition, { now: () => nowMs });
  return {
    status: {
      currentHealthy: healthy,
      desiredHealthy: desired,
      disruptionsAllowed: allowed,
      expectedPods: expected,
      observedGeneration: budget.metadata.generation ?? 0,
      ...(Object.keys(disrupted).length > 0 ? { disruptedPods: disrupted } : {}),
      conditions: [...conditions],
    },
    againInMs,
    ...(problem ? { problem } : {}),
  };
}
