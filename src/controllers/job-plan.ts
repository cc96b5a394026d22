import type { JobCondition, JobStatus } from "../api/generated/batch-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import { type Counts, countPods, settle } from "./job-count.ts";
import { hasTracking, isFinished, isIndexed, type JobView, jobCondition } from "./job-facts.ts";
import { type PodsPlan, planPods } from "./job-pods.ts";
import { formatIndexes, parseIndexes } from "./shared/index-set.ts";
import { isActive, isReady, isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";

export interface JobPlan {
  readonly status: JobStatus;
  /** Pods whose end is in the status (once it is written), so that they may go. */
  readonly release: readonly PodView[];
  /** Completion indexes of pods to create; undefined stands for a pod without one. */
  readonly create: readonly (number | undefined)[];
  /** The failed pods whose places those of an index take. */
  readonly replacing: ReadonlyMap<number, PodView>;
  readonly remove: readonly PodView[];
  readonly requeueAfterMs?: number;
  /** To be told in an event. */
  readonly events: readonly JobEvent[];
}

interface JobEvent {
  readonly severity: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

interface Ending {
  readonly by: "failure" | "success";
  readonly reason: string;
  readonly message: string;
}

const failure = (reason: string, message: string): Ending => ({ by: "failure", reason, message });

/** What ends the job, if anything does. The first that was found stands. */
function endingOf(job: JobView, counts: Counts, pods: readonly PodView[], nowMs: number): Ending | undefined {
  const met = jobCondition(job, "SuccessCriteriaMet");
  if (met) return { by: "success", reason: met.reason ?? "", message: met.message ?? "" };
  const target = jobCondition(job, "FailureTarget");
  if (target) return failure(target.reason ?? "", target.message ?? "");
  if (counts.failJob) return failure("PodFailurePolicy", counts.failJob);
  const { spec, status } = job;
  if (counts.failed > (spec?.backoffLimit ?? 6) || restartedTooOften(job, pods)) {
    return failure("BackoffLimitExceeded", "Job has reached the specified backoff limit");
  }
  const deadline = spec?.activeDeadlineSeconds;
  if (deadline !== undefined && status?.startTime && !spec?.suspend) {
    if (nowMs - Date.parse(status.startTime) >= Number(deadline) * 1000) {
      return failure("DeadlineExceeded", "Job was active longer than specified deadline");
    }
  }
  const failed = counts.failedIndexes?.size ?? 0;
  if (spec?.maxFailedIndexes !== undefined && failed > spec.maxFailedIndexes) {
    return failure("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
  }
  if (failed > 0 && failed + counts.completed.size >= (spec?.completions ?? 0)) {
    return failure("FailedIndexes", "Job has failed indexes");
  }
  const rule = isIndexed(job) ? matchSuccessPolicy(job, counts.completed) : undefined;
  if (rule !== undefined) return { by: "success", reason: "SuccessPolicy", message: `Matched rules at index ${rule}` };
  return undefined;
}

function restartedTooOften({ spec }: JobView, pods: readonly PodView[]): boolean {
  if (spec?.template.spec?.restartPolicy !== "OnFailure") return false;
  let restarts = 0;
  for (const { status } of pods) {
    if (status?.phase !== "Running" && status?.phase !== "Pending") continue;
    for (const one of [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]) {
      restarts += one.restartCount;
    }
  }
  const limit = spec.backoffLimit ?? 6;
  return limit === 0 ? restarts > 0 : restarts >= limit;
}

/** The first rule of the success policy that the completed indexes fulfil. */
export function matchSuccessPolicy(job: JobView, completed: ReadonlySet<number>): number | undefined {
  if (completed.size === 0) return undefined;
  const total = job.spec?.completions ?? 0;
  for (const [at, { succeededIndexes, succeededCount }] of (job.spec?.successPolicy?.rules ?? []).entries()) {
    if (succeededIndexes === undefined) {
      if (succeededCount !== undefined && completed.size >= succeededCount) return at;
      continue;
    }
    const wanted = [...parseIndexes(succeededIndexes)].filter((index) => index < total);
    if (wanted.length === 0) continue;
    const done = wanted.filter((index) => completed.has(index)).length;
    if (done === wanted.length || (succeededCount !== undefined && done >= succeededCount)) return at;
  }
  return undefined;
}

/**
 * What a job needs next.
 * @param satisfied false while earlier writes are not seen yet: then only counts are brought up to date
 */
export function planJob(job: JobView, pods: readonly PodView[], satisfied: boolean, nowMs: number): JobPlan {
  const nothing = { create: [], replacing: new Map<number, PodView>(), remove: [], events: [] };
  if (isFinished(job)) {
    return { ...nothing, status: (job.status ?? {}) as JobStatus, release: pods.filter(hasTracking) };
  }
  const now = formatTime(nowMs);
  const { spec } = job;
  const active = pods.filter(isActive);
  const terminating = pods.filter((pod) => isTerminating(pod) && !isTerminated(pod));
  const counts = countPods(job, pods, active);
  const suspended = spec?.suspend === true;
  const conditions = new Conditions(job, now);
  const events: JobEvent[] = [];
  let startTime = job.status?.startTime ?? (suspended ? undefined : now);

  let ending = endingOf(job, counts, pods, nowMs);
  let plan: PodsPlan = { create: [], remove: [] };
  const managing = !ending && satisfied && !job.metadata.deletionTimestamp;
  if (ending) {
    plan = { create: [], remove: active };
    // Pods that are on their way have to be seen before the job can be over.
    if (!satisfied) ending = undefined;
  } else if (managing) {
    plan = suspended ? { create: [], remove: active } : planPods(job, pods, active, terminating, counts, nowMs);
  }
  const left = active.length - plan.remove.length + plan.create.length;
  const enough = spec?.completions === undefined ? counts.succeeded > 0 : counts.succeeded >= spec.completions;
  if (managing || (!ending && plan.remove.length === 0)) {
    if (enough && left === 0) {
      ending = {
        by: "success",
        reason: "CompletionsReached",
        message: "Reached expected number of succeeded pods",
      };
    } else if (managing && suspended) {
      if (conditions.put("Suspended", "True", "JobSuspended", "Job suspended")) {
        events.push({ severity: "Normal", reason: "Suspended", message: "Job suspended" });
        startTime = undefined;
      }
    } else if (managing && conditions.has("Suspended")) {
      if (conditions.put("Suspended", "False", "JobResumed", "Job resumed")) {
        events.push({ severity: "Normal", reason: "Resumed", message: "Job resumed" });
        // The deadline counts from when the job last began to run.
        startTime = now;
      }
    }
  }

  const settled = settle(job, pods, counts, ending?.by);
  const goneSoon = terminating.length + plan.remove.length;
  const allCounted = settled.uncountedSucceeded.length === 0 && settled.uncountedFailed.length === 0 && !settled.more;
  let completionTime = job.status?.completionTime;
  if (ending) {
    conditions.put(
      ending.by === "failure" ? "FailureTarget" : "SuccessCriteriaMet",
      "True",
      ending.reason,
      ending.message,
    );
    // Counts must be final before the job is: until then only what it will come to is announced.
    if (goneSoon === 0 && left === 0 && allCounted) {
      if (ending.by === "failure") {
        conditions.put("Failed", "True", ending.reason, ending.message);
        events.push({ severity: "Warning", reason: ending.reason, message: ending.message });
      } else {
        conditions.put("Complete", "True", ending.reason, ending.message);
        completionTime = now;
        if (spec?.completions !== undefined && counts.succeeded > spec.completions) {
          const message = "Too many succeeded pods running after completion count reached";
          events.push({ severity: "Warning", reason: "TooManySucceededPods", message });
        }
        events.push({ severity: "Normal", reason: "Completed", message: "Job completed" });
      }
    }
  }

  let requeueAfterMs = plan.waitMs;
  const deadline = spec?.activeDeadlineSeconds;
  if (!ending && !suspended && deadline !== undefined && startTime) {
    const leftMs = Math.max(0, Date.parse(startTime) + Number(deadline) * 1000 - nowMs);
    requeueAfterMs = Math.min(requeueAfterMs ?? leftMs, leftMs);
  }
  const removed = new Set(plan.remove);
  const indexed = isIndexed(job);
  return {
    status: {
      ...(conditions.list.length > 0 ? { conditions: conditions.list } : {}),
      ...(startTime ? { startTime } : {}),
      ...(completionTime ? { completionTime } : {}),
      active: left,
      ready: active.filter((pod) => isReady(pod) && !removed.has(pod)).length,
      terminating: goneSoon,
      succeeded: indexed ? counts.completed.size : counts.succeededBefore,
      failed: counts.failedBefore,
      ...(indexed && counts.completed.size > 0 ? { completedIndexes: formatIndexes(counts.completed) } : {}),
      ...(counts.failedIndexes ? { failedIndexes: formatIndexes(counts.failedIndexes) } : {}),
      uncountedTerminatedPods: {
        ...(settled.uncountedSucceeded.length > 0 ? { succeeded: [...settled.uncountedSucceeded] } : {}),
        ...(settled.uncountedFailed.length > 0 ? { failed: [...settled.uncountedFailed] } : {}),
      },
    },
    // Pods that the job itself gives up are no failures of it: nobody shall count them.
    release: [...new Set([...settled.release, ...(managing ? plan.remove.filter(hasTracking) : [])])],
    create: plan.create,
    replacing: counts.waiting,
    remove: plan.remove,
    ...(requeueAfterMs === undefined ? {} : { requeueAfterMs }),
    events,
  };
}

/** The conditions of a job, with their changes of this moment. */
class Conditions {
  readonly #now: string;
  list: JobCondition[];

  constructor(job: JobView, now: string) {
    this.#now = now;
    this.list = [...((job.status?.conditions ?? []) as JobCondition[])];
  }

  has(type: string): boolean {
    return this.list.some((condition) => condition.type === type);
  }

  /** Sets a condition; false when it says the same already. */
  put(type: string, status: "True" | "False", reason: string, message: string): boolean {
    const old = this.list.findIndex((condition) => condition.type === type);
    const before = this.list[old];
    if (before?.status === status && before.reason === reason && before.message === message) return false;
    const next = { type, status, reason, message, lastProbeTime: this.#now, lastTransitionTime: this.#now };
    if (before) this.list[old] = next;
    else this.list.push(next);
    return true;
  }
}
