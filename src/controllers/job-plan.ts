import type { JobCondition, JobStatus } from "../api/generated/batch-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import {
  completionIndex,
  failureVerdict,
  finishedMs,
  hasFailed,
  hasSucceeded,
  hasTracking,
  isFinished,
  isIndexed,
  type JobView,
  jobCondition,
  replacesOnlyFailed,
} from "./job-facts.ts";
import { formatIndexes, parseIndexes } from "./shared/index-set.ts";
import { isActive, isReady, isTerminated, isTerminating, maxRestarts, type PodView } from "./shared/pod-facts.ts";
import { rankForDeletion } from "./shared/pod-ranking.ts";

/** Pods created or deleted at once. */
const burst = 500;
const firstBackoffMs = 10_000;
const maxBackoffMs = 600_000;

export interface JobPlan {
  readonly status: JobStatus;
  /** Pods whose end is in the status (once it is written), so that they may go. */
  readonly release: readonly PodView[];
  /** Completion indexes of pods to create; undefined stands for a pod without one. */
  readonly create: readonly (number | undefined)[];
  readonly remove: readonly PodView[];
  readonly requeueAfterMs?: number;
  /** To be told in an event. */
  readonly events: readonly {
    readonly severity: "Normal" | "Warning";
    readonly reason: string;
    readonly message: string;
  }[];
}

interface Tally {
  succeeded: number;
  failed: number;
  readonly completed: Set<number>;
  readonly uncountedSucceeded: string[];
  readonly uncountedFailed: string[];
  readonly release: PodView[];
  failJob: string | undefined;
}

/**
 * Counts ended pods exactly once: an end is first noted by uid in status.uncountedTerminatedPods, then the pod's
 * finalizer is removed, and only when that is seen the uid becomes part of the count.
 */
function tally(job: JobView, pods: readonly PodView[]): Tally {
  const { status } = job;
  const byUid = new Map(pods.map((pod) => [pod.metadata.uid ?? "", pod]));
  const completed = parseIndexes(isIndexed(job) ? status?.completedIndexes : "");
  const result: Tally = {
    succeeded: status?.succeeded ?? 0,
    failed: status?.failed ?? 0,
    completed,
    uncountedSucceeded: [],
    uncountedFailed: [],
    release: [],
    failJob: undefined,
  };
  const known = new Set<string>();
  const settle = (uids: readonly string[] | undefined, keep: string[], count: () => void) => {
    for (const uid of uids ?? []) {
      known.add(uid);
      const pod = byUid.get(uid);
      if (pod && hasTracking(pod)) {
        keep.push(uid);
        result.release.push(pod);
      } else count();
    }
  };
  settle(status?.uncountedTerminatedPods?.succeeded, result.uncountedSucceeded, () => result.succeeded++);
  settle(status?.uncountedTerminatedPods?.failed, result.uncountedFailed, () => result.failed++);

  const total = job.spec?.completions ?? 0;
  for (const pod of pods) {
    const uid = pod.metadata.uid ?? "";
    if (!hasTracking(pod) || known.has(uid)) continue;
    if (hasSucceeded(pod)) {
      if (isIndexed(job)) {
        const index = completionIndex(pod);
        if (index !== undefined && index < total) completed.add(index);
      } else result.uncountedSucceeded.push(uid);
      result.release.push(pod);
    } else if (hasFailed(job, pod)) {
      const { action, message } = failureVerdict(job, pod);
      if (action === "FailJob") result.failJob ??= message;
      if (action !== "Ignore") result.uncountedFailed.push(uid);
      result.release.push(pod);
    }
  }
  if (isIndexed(job)) result.succeeded = completed.size;
  return result;
}

/** Milliseconds until the next pod may be created after failures: 10 s, doubled for each since the last success. */
export function creationDelayMs(job: JobView, pods: readonly PodView[], nowMs: number): number {
  const lastSuccessMs = Math.max(0, ...pods.filter(hasSucceeded).map(finishedMs));
  const failures = pods.filter((pod) => hasFailed(job, pod) && finishedMs(pod) > lastSuccessMs).map(finishedMs);
  if (failures.length === 0) return 0;
  const delayMs = Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(failures.length - 1, 20));
  return Math.max(0, Math.max(...failures) + delayMs - nowMs);
}

function failureOf(job: JobView, counts: Tally, active: readonly PodView[], nowMs: number) {
  const target = jobCondition(job, "FailureTarget");
  if (target) return { reason: target.reason ?? "", message: target.message ?? "" };
  if (counts.failJob) return { reason: "PodFailurePolicy", message: counts.failJob };
  const limit = job.spec?.backoffLimit ?? 6;
  const failed = counts.failed + counts.uncountedFailed.length;
  const onFailure = job.spec?.template.spec?.restartPolicy === "OnFailure";
  const restarts = onFailure ? active.reduce((sum, pod) => sum + maxRestarts(pod), 0) : 0;
  if (failed > limit || (onFailure && restarts > 0 && restarts >= limit)) {
    return { reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" };
  }
  const deadline = job.spec?.activeDeadlineSeconds;
  if (deadline !== undefined && job.status?.startTime && !job.spec?.suspend) {
    if (nowMs - Date.parse(job.status.startTime) >= Number(deadline) * 1000) {
      return { reason: "DeadlineExceeded", message: "Job was active longer than specified deadline" };
    }
  }
  return undefined;
}

/** What a job needs next. `acting` is false while earlier writes are not seen yet: then only counts are brought up. */
export function planJob(job: JobView, pods: readonly PodView[], acting: boolean, nowMs: number): JobPlan {
  const now = formatTime(nowMs);
  const active = pods.filter(isActive);
  const terminating = pods.filter((pod) => isTerminating(pod) && !isTerminated(pod));
  if (isFinished(job)) {
    return {
      status: (job.status ?? {}) as JobStatus,
      release: pods.filter(hasTracking),
      create: [],
      remove: acting ? active : [],
      events: [],
    };
  }
  const counts = tally(job, pods);
  const { spec } = job;
  const indexed = isIndexed(job);
  const succeeded = indexed ? counts.succeeded : counts.succeeded + counts.uncountedSucceeded.length;
  const suspended = spec?.suspend === true;
  let conditions = [...((job.status?.conditions ?? []) as JobCondition[])];
  const events: JobPlan["events"][number][] = [];
  const put = (type: string, status: "True" | "False", reason: string, message: string) => {
    const old = conditions.find((condition) => condition.type === type);
    if (old?.status === status && old.reason === reason) return;
    const others = conditions.filter((condition) => condition.type !== type);
    conditions = [...others, { type, status, reason, message, lastProbeTime: now, lastTransitionTime: now }];
  };

  const failure = failureOf(job, counts, active, nowMs);
  const wanted = spec?.completions;
  const complete =
    !failure && (wanted === undefined ? succeeded > 0 && active.length === 0 : succeeded >= wanted && acting);
  const ending = failure !== undefined || complete;
  const quiet = active.length === 0 && terminating.length === 0;
  let completionTime = job.status?.completionTime;
  // Counts must be final before the job is: until then only the target is announced.
  const settled = counts.uncountedSucceeded.length === 0 && counts.uncountedFailed.length === 0;
  if (failure) {
    put("FailureTarget", "True", failure.reason, failure.message);
    if (quiet && settled) {
      put("Failed", "True", failure.reason, failure.message);
      events.push({ severity: "Warning", reason: failure.reason, message: failure.message });
    }
  } else if (complete) {
    const [reason, message] = ["CompletionsReached", "Reached expected number of succeeded pods"];
    put("SuccessCriteriaMet", "True", reason, message);
    if (quiet && settled) {
      put("Complete", "True", reason, message);
      completionTime = now;
      events.push({ severity: "Normal", reason: "Completed", message: "Job completed" });
    }
  } else if (suspended) {
    const old = conditions.find(({ type }) => type === "Suspended");
    if (old?.status !== "True") events.push({ severity: "Normal", reason: "Suspended", message: "Job suspended" });
    put("Suspended", "True", "JobSuspended", "Job suspended");
  } else if (conditions.some(({ type, status }) => type === "Suspended" && status === "True")) {
    put("Suspended", "False", "JobResumed", "Job resumed");
    events.push({ severity: "Normal", reason: "Resumed", message: "Job resumed" });
  }

  // The deadline counts from when the job last began to run.
  let startTime = job.status?.startTime;
  if (suspended) startTime = undefined;
  else startTime ??= now;

  let create: (number | undefined)[] = [];
  let remove: readonly PodView[] = [];
  let requeueAfterMs: number | undefined;
  if (acting && (ending || suspended)) remove = active;
  else if (acting) ({ create, remove } = planPods(job, active, terminating, counts, succeeded, nowMs));
  if (create.length > 0) {
    const delayMs = creationDelayMs(job, pods, nowMs);
    if (delayMs > 0) {
      create = [];
      requeueAfterMs = delayMs;
    }
  }
  const deadline = spec?.activeDeadlineSeconds;
  if (!ending && deadline !== undefined && startTime) {
    const leftMs = Math.max(0, Date.parse(startTime) + Number(deadline) * 1000 - nowMs);
    requeueAfterMs = Math.min(requeueAfterMs ?? leftMs, leftMs);
  }
  const { uncountedSucceeded, uncountedFailed } = counts;
  const finished = conditions.some(
    ({ type, status }) => (type === "Complete" || type === "Failed") && status === "True",
  );
  return {
    status: {
      ...(conditions.length > 0 ? { conditions } : {}),
      ...(startTime ? { startTime } : {}),
      ...(completionTime ? { completionTime } : {}),
      active: finished ? 0 : active.length,
      ready: finished ? 0 : active.filter(isReady).length,
      terminating: finished ? 0 : terminating.length,
      succeeded: counts.succeeded,
      failed: counts.failed,
      ...(indexed && counts.completed.size > 0 ? { completedIndexes: formatIndexes(counts.completed) } : {}),
      uncountedTerminatedPods: {
        ...(uncountedSucceeded.length > 0 ? { succeeded: uncountedSucceeded } : {}),
        ...(uncountedFailed.length > 0 ? { failed: uncountedFailed } : {}),
      },
    },
    release: counts.release,
    create: create.slice(0, burst),
    remove: remove.slice(0, burst),
    ...(requeueAfterMs === undefined ? {} : { requeueAfterMs }),
    events,
  };
}

function planPods(
  job: JobView,
  active: readonly PodView[],
  terminating: readonly PodView[],
  counts: Tally,
  succeeded: number,
  nowMs: number,
): { create: (number | undefined)[]; remove: readonly PodView[] } {
  const parallelism = job.spec?.parallelism ?? 1;
  const completions = job.spec?.completions;
  // Without a number of completions no pod is added once one has succeeded: the others are left to end.
  const want =
    completions === undefined
      ? succeeded > 0
        ? Math.min(active.length, parallelism)
        : parallelism
      : Math.min(Math.max(0, completions - succeeded), parallelism);
  const occupied = replacesOnlyFailed(job) ? terminating.length : 0;
  if (!isIndexed(job)) {
    const missing = want - active.length - occupied;
    if (missing > 0) return { create: Array.from({ length: missing }, () => undefined), remove: [] };
    const surplus = active.length - want;
    return { create: [], remove: surplus > 0 ? rankForDeletion(active, active, nowMs).slice(0, surplus) : [] };
  }

  const taken = new Map<number, PodView>();
  const remove: PodView[] = [];
  for (const pod of [...active].sort((a, b) => Number(isReady(b)) - Number(isReady(a)))) {
    const index = completionIndex(pod);
    if (index === undefined || index >= (completions ?? 0) || counts.completed.has(index) || taken.has(index)) {
      remove.push(pod);
    } else taken.set(index, pod);
  }
  if (replacesOnlyFailed(job)) {
    for (const pod of terminating) {
      const index = completionIndex(pod);
      if (index !== undefined && !taken.has(index)) taken.set(index, pod);
    }
  }
  const create: number[] = [];
  for (let index = 0; index < (completions ?? 0) && taken.size + create.length < want; index++) {
    if (!taken.has(index) && !counts.completed.has(index)) create.push(index);
  }
  if (taken.size > want) {
    // The highest indexes go first.
    const highest = [...taken.keys()].sort((a, b) => b - a).slice(0, taken.size - want);
    remove.push(...highest.map((index) => taken.get(index)!).filter(isActive));
  }
  return { create, remove };
}
