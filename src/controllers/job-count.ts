import {
  completionIndex,
  type FailureVerdict,
  failureVerdict,
  hasFailed,
  hasSucceeded,
  hasTracking,
  hasValidIndex,
  indexFailures,
  isIndexed,
  type JobView,
} from "./job-facts.ts";
import { parseIndexes } from "./shared/index-set.ts";
import type { PodView } from "./shared/pod-facts.ts";

/** Ends that are noted by uid at the same time; more would make the status too large. */
const maxUncounted = 500;

/** What of a job is over, and what of that its status says already. */
export interface Counts {
  /** Ends that are part of the counts for good. */
  readonly succeededBefore: number;
  readonly failedBefore: number;
  /** Ends that the status names by uid and that still hold their finalizer. */
  readonly uncountedSucceeded: readonly string[];
  readonly uncountedFailed: readonly string[];
  /** All of them, with those that are seen for the first time. */
  readonly succeeded: number;
  readonly failed: number;
  /** Of indexed jobs: the indexes that are done, by the status and by what is seen now. */
  readonly completed: ReadonlySet<number>;
  /** Of jobs with a limit for each index: the indexes that have failed for good. */
  readonly failedIndexes: ReadonlySet<number> | undefined;
  /** The last failed pod of each index that waits for its next one: it stays until that one is there. */
  readonly waiting: ReadonlyMap<number, PodView>;
  /** Why the failure policy ends the job. */
  readonly failJob: string | undefined;
}

/**
 * Counts ended pods exactly once: an end is first noted by uid in status.uncountedTerminatedPods, then the pod's
 * finalizer is removed, and only when that is seen the uid becomes part of the count.
 */
export function countPods(job: JobView, pods: readonly PodView[], active: readonly PodView[]): Counts {
  const { status, spec } = job;
  const total = spec?.completions ?? 0;
  const held = new Set(pods.filter(hasTracking).map(({ metadata }) => metadata.uid ?? ""));
  const noted = status?.uncountedTerminatedPods;
  const uncountedSucceeded = (noted?.succeeded ?? []).filter((uid) => held.has(uid));
  const uncountedFailed = (noted?.failed ?? []).filter((uid) => held.has(uid));
  const succeededBefore = (status?.succeeded ?? 0) + (noted?.succeeded ?? []).length - uncountedSucceeded.length;
  const failedBefore = (status?.failed ?? 0) + (noted?.failed ?? []).length - uncountedFailed.length;

  const known = new Set([...uncountedSucceeded, ...uncountedFailed]);
  const verdicts = new Map<PodView, FailureVerdict>();
  const verdict = (pod: PodView): FailureVerdict => {
    const made = verdicts.get(pod) ?? failureVerdict(job, pod);
    verdicts.set(pod, made);
    return made;
  };
  const counting = pods.filter((pod) => hasTracking(pod) && hasValidIndex(job, pod));
  const fresh = counting.filter(({ metadata }) => !known.has(metadata.uid ?? ""));
  const newFailed = fresh.filter((pod) => hasFailed(job, pod) && verdict(pod).action !== "Ignore");
  const newSucceeded = fresh.filter(hasSucceeded);

  const completed = new Set<number>();
  let failedIndexes: Set<number> | undefined;
  if (isIndexed(job)) {
    for (const index of parseIndexes(status?.completedIndexes)) if (index < total) completed.add(index);
    for (const pod of counting) if (hasSucceeded(pod)) completed.add(completionIndex(pod)!);
    if (spec?.backoffLimitPerIndex !== undefined) {
      failedIndexes = new Set([...parseIndexes(status?.failedIndexes)].filter((index) => index < total));
      for (const pod of counting) {
        if (!hasFailed(job, pod)) continue;
        const { action } = verdict(pod);
        const beyond = action !== "Ignore" && indexFailures(pod).counted >= spec.backoffLimitPerIndex;
        if (action === "FailIndex" || beyond) failedIndexes.add(completionIndex(pod)!);
      }
    }
  }
  const failing = pods.find((pod) => hasFailed(job, pod) && verdict(pod).action === "FailJob");
  return {
    succeededBefore,
    failedBefore,
    uncountedSucceeded,
    uncountedFailed,
    succeeded: isIndexed(job) ? completed.size : succeededBefore + uncountedSucceeded.length + newSucceeded.length,
    failed: failedBefore + uncountedFailed.length + newFailed.length,
    completed,
    failedIndexes,
    waiting: failedIndexes ? waitingPods(job, counting, active, completed, failedIndexes) : new Map(),
    failJob: failing && verdict(failing).message,
  };
}

function waitingPods(
  job: JobView,
  counting: readonly PodView[],
  active: readonly PodView[],
  completed: ReadonlySet<number>,
  failedIndexes: ReadonlySet<number>,
): Map<number, PodView> {
  const running = new Set(active.map(completionIndex));
  const waiting = new Map<number, PodView>();
  for (const pod of counting) {
    if (!hasFailed(job, pod)) continue;
    const index = completionIndex(pod)!;
    if (completed.has(index) || failedIndexes.has(index) || running.has(index)) continue;
    const last = waiting.get(index);
    if (!last || indexFailures(last).all <= indexFailures(pod).all) waiting.set(index, pod);
  }
  return waiting;
}

/** What of the counts goes into the status, and which pods may go when it is written. */
export interface Settled {
  readonly uncountedSucceeded: readonly string[];
  readonly uncountedFailed: readonly string[];
  readonly release: readonly PodView[];
  /** More ends than fit into the status at once: the rest follows. */
  readonly more: boolean;
}

/**
 * Notes the ends that nobody noted yet.
 * @param ending what the job is about to end by; the pods that are left then end as it does
 */
export function settle(
  job: JobView,
  pods: readonly PodView[],
  counts: Counts,
  ending: "failure" | "success" | undefined,
): Settled {
  const uncountedSucceeded = [...counts.uncountedSucceeded];
  const uncountedFailed = [...counts.uncountedFailed];
  const known = new Set([...uncountedSucceeded, ...uncountedFailed]);
  const before = new Set(isIndexed(job) ? parseIndexes(job.status?.completedIndexes) : []);
  const release: PodView[] = [];
  let noted = uncountedSucceeded.length + uncountedFailed.length;
  for (const pod of pods) {
    if (!hasTracking(pod)) continue;
    const failed = hasFailed(job, pod);
    const index = completionIndex(pod);
    const waits = failed && index !== undefined && counts.waiting.get(index) === pod;
    const over = hasSucceeded(pod) || (failed && !waits);
    if (!over && !ending && !job.metadata.deletionTimestamp) continue;
    if (noted >= maxUncounted) return { uncountedSucceeded, uncountedFailed, release, more: true };
    release.push(pod);
    const uid = pod.metadata.uid ?? "";
    if (known.has(uid) || !hasValidIndex(job, pod)) continue;
    if (hasSucceeded(pod)) {
      if (!isIndexed(job)) uncountedSucceeded.push(uid);
      if (!isIndexed(job) || !before.has(index!)) noted++;
    } else if (failed || ending === "failure") {
      if (failureVerdict(job, pod).action === "Ignore") continue;
      uncountedFailed.push(uid);
      noted++;
    }
  }
  return { uncountedSucceeded, uncountedFailed, release, more: false };
}
