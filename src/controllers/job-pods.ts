import type { Counts } from "./job-count.ts";
import {
  completionIndex,
  finishedMs,
  hasFailed,
  hasSucceeded,
  indexFailures,
  isIndexed,
  type JobView,
  replacesOnlyFailed,
} from "./job-facts.ts";
import type { PodView } from "./shared/pod-facts.ts";
import { rankForDeletion } from "./shared/pod-ranking.ts";

/** Pods created or deleted at once. */
const burst = 500;
const firstBackoffMs = 10_000;
const maxBackoffMs = 600_000;

/** Milliseconds to wait after the last of `failures` failures in a row: 10 s, doubled for each. */
function backoffMs(failures: number, lastMs: number, nowMs: number): number {
  if (failures === 0) return 0;
  const delayMs = Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(failures - 1, 20));
  return Math.max(0, lastMs + delayMs - nowMs);
}

/** Milliseconds until the next pod may be created after failures since the last success. */
export function creationDelayMs(job: JobView, pods: readonly PodView[], nowMs: number): number {
  const lastSuccessMs = Math.max(0, ...pods.filter(hasSucceeded).map(finishedMs));
  const failures = pods.filter((pod) => hasFailed(job, pod) && finishedMs(pod) > lastSuccessMs).map(finishedMs);
  return backoffMs(failures.length, Math.max(...failures), nowMs);
}

/** What a running job needs: indexes of pods to create (undefined stands for one without), pods to give up. */
export interface PodsPlan {
  readonly create: readonly (number | undefined)[];
  readonly remove: readonly PodView[];
  readonly waitMs?: number;
}

/** Brings the number of active pods to what the job wants: first what is too much, else what is missing. */
export function planPods(
  job: JobView,
  pods: readonly PodView[],
  active: readonly PodView[],
  terminating: readonly PodView[],
  counts: Counts,
  nowMs: number,
): PodsPlan {
  const parallelism = job.spec?.parallelism ?? 1;
  const completions = job.spec?.completions;
  // Without a number of completions no pod is added once one has succeeded: the others are left to end.
  const want =
    completions === undefined
      ? counts.succeeded > 0
        ? active.length
        : parallelism
      : Math.min(Math.max(0, completions - counts.succeeded), parallelism);
  const remove = surplus(job, active, Math.max(0, active.length - want), nowMs);
  if (remove.length > 0) return { create: [], remove: remove.slice(0, burst) };

  const occupied = replacesOnlyFailed(job) ? terminating : [];
  const missing = Math.min(want - active.length - occupied.length, burst);
  if (missing <= 0) return { create: [], remove: [] };
  const perIndex = job.spec?.backoffLimitPerIndex !== undefined;
  const waitMs = perIndex ? 0 : creationDelayMs(job, pods, nowMs);
  if (waitMs > 0) return { create: [], remove: [], waitMs };
  if (!isIndexed(job)) return { create: Array.from({ length: missing }, () => undefined), remove: [] };

  const taken = new Set<number | undefined>([...active, ...occupied].map(completionIndex));
  const open: number[] = [];
  for (let index = 0; index < (completions ?? 0) && open.length < missing; index++) {
    if (!taken.has(index) && !counts.completed.has(index) && !counts.failedIndexes?.has(index)) open.push(index);
  }
  const waits = new Map(open.map((index) => [index, indexDelayMs(counts.waiting.get(index), nowMs)]));
  const create = open.filter((index) => waits.get(index) === 0);
  const left = [...waits.values()].filter((ms) => ms > 0);
  return { create, remove: [], ...(left.length > 0 ? { waitMs: Math.min(...left) } : {}) };
}

function indexDelayMs(last: PodView | undefined, nowMs: number): number {
  return last ? backoffMs(indexFailures(last).all + 1, finishedMs(last), nowMs) : 0;
}

/** At least `count` pods to give up: all but one of each index, those of no index, then the least useful. */
function surplus(job: JobView, active: readonly PodView[], count: number, nowMs: number): PodView[] {
  const remove: PodView[] = [];
  let left = [...active];
  if (isIndexed(job)) {
    const completions = job.spec?.completions ?? 0;
    const byIndex = new Map<number, PodView[]>();
    for (const pod of active) {
      const index = completionIndex(pod);
      if (index === undefined || index >= completions) remove.push(pod);
      else byIndex.set(index, [...(byIndex.get(index) ?? []), pod]);
    }
    left = [];
    for (const twins of byIndex.values()) {
      const ranked = twins.length > 1 ? rankForDeletion(twins, twins, nowMs) : twins;
      remove.push(...ranked.slice(0, -1));
      left.push(ranked.at(-1)!);
    }
  }
  const more = count - remove.length;
  if (more > 0) remove.push(...rankForDeletion(left, left, nowMs).slice(0, more));
  return remove;
}
