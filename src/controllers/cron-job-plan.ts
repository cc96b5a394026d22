import type { CronJob, Job } from "../api/generated/batch-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { type CronSchedule, localTimeText, nextTime, parseCron } from "./cron-schedule.ts";
import { isFinished, type JobView, jobCondition } from "./job-facts.ts";

export type CronJobView = DeepReadonly<CronJob>;

/** More missed times than this point to a clock that jumped, and are worth a warning. */
const manyMissed = 100;

export interface DueTimes {
  /** The latest time that is due and was not started; undefined: none. */
  readonly dueMs: number | undefined;
  readonly nextMs: number | undefined;
  readonly tooMany: boolean;
}

/** The schedule with its zone: the field's, or the one that the schedule itself begins with. Throws as `parseCron`. */
export function scheduleOf(cron: CronJobView): { readonly schedule: CronSchedule; readonly timeZone?: string } {
  const text = cron.spec?.schedule ?? "";
  const prefix = /^(?:CRON_)?TZ=(\S+)\s+/.exec(text);
  const timeZone = prefix?.[1] ?? cron.spec?.timeZone;
  return { schedule: parseCron(prefix ? text.slice(prefix[0].length) : text), ...(timeZone ? { timeZone } : {}) };
}

/** What of the schedule is due. Times before the last start, or beyond the starting deadline, are let go. */
export function dueTimes(
  cron: CronJobView,
  schedule: CronSchedule,
  nowMs: number,
  timeZone = cron.spec?.timeZone,
): DueTimes {
  const { startingDeadlineSeconds } = cron.spec ?? {};
  const since = cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp;
  let fromMs = since ? Date.parse(since) : nowMs;
  if (startingDeadlineSeconds !== undefined) fromMs = Math.max(fromMs, nowMs - Number(startingDeadlineSeconds) * 1000);
  let dueMs: number | undefined;
  let missed = 0;
  let atMs = nextTime(schedule, fromMs, timeZone);
  while (atMs !== undefined && atMs <= nowMs) {
    dueMs = atMs;
    // After a long pause only the latest matters: jump near to now instead of counting every minute of a year.
    if (++missed > manyMissed) {
      const step = Math.max(60_000, (nextTime(schedule, atMs, timeZone) ?? nowMs) - atMs);
      const jumpMs = Math.max(atMs, nowMs - 2 * step);
      atMs = nextTime(schedule, jumpMs, timeZone);
      if (atMs !== undefined && atMs > nowMs) break;
      if (atMs !== undefined && atMs <= dueMs) break;
      continue;
    }
    atMs = nextTime(schedule, atMs, timeZone);
  }
  return { dueMs, nextMs: nextTime(schedule, nowMs, timeZone), tooMany: missed > manyMissed };
}

/** The name of the job of one time: the same time never makes two jobs. */
export function jobName(cron: CronJobView, atMs: number): string {
  return `${cron.metadata.name}-${Math.floor(atMs / 60_000)}`;
}

/** The job of one time, without its owner. */
export function jobOf(cron: CronJobView, atMs: number): Job {
  const { metadata, spec } = structuredClone(cron.spec?.jobTemplate ?? {}) as {
    metadata?: Job["metadata"];
    spec?: Job["spec"];
  };
  const { namespace } = cron.metadata;
  return {
    metadata: {
      name: jobName(cron, atMs),
      ...(namespace ? { namespace } : {}),
      ...(metadata?.labels ? { labels: metadata.labels } : {}),
      annotations: {
        ...metadata?.annotations,
        "batch.kubernetes.io/cronjob-scheduled-timestamp": localTimeText(atMs, cron.spec?.timeZone),
      },
    },
    ...(spec ? { spec } : {}),
  };
}

/** Finished jobs beyond the history limits, oldest first. */
export function surplusJobs(cron: CronJobView, jobs: readonly JobView[]): readonly JobView[] {
  // Those that never started come last.
  const started = (job: JobView) => `${job.status?.startTime ?? "~"} ${job.metadata.name}`;
  const oldestFirst = [...jobs].sort((a, b) => (started(a) < started(b) ? -1 : 1));
  const beyond = (type: string, limit: number) => {
    const finished = oldestFirst.filter((job) => isFinished(job) && jobCondition(job, type));
    return finished.slice(0, Math.max(0, finished.length - limit));
  };
  return [
    ...beyond("Complete", cron.spec?.successfulJobsHistoryLimit ?? 3),
    ...beyond("Failed", cron.spec?.failedJobsHistoryLimit ?? 1),
  ];
}
