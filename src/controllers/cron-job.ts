import { type CronJob, type CronJobStatus, cronJobs, jobs } from "../api/generated/batch-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import { deepEqual } from "../machinery/equality.ts";
import { apiVersionOf, type KubeObject, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { type CronJobView, type DueTimes, dueTimes, jobName, jobOf, scheduleOf, surplusJobs } from "./cron-job-plan.ts";
import { isTimeZone } from "./cron-schedule.ts";
import { isFinished, type JobView, jobCondition } from "./job-facts.ts";
import { found } from "./shared/found.ts";
import { controlledBy, controllerReference, indexByOwner, mutable, ownerOf, type View } from "./shared/owned.ts";
import { isNamespaceTerminating } from "./shared/pod-control.ts";

/** Starts Jobs at their times, by the cluster's clock. */
export const cronJobController: ControllerFactory = {
  name: "cronjob-controller",
  create({ client, clock, informers, events }) {
    const crons = informers.of(cronJobs);
    const jobInformer = indexByOwner(informers.of(jobs));
    const keysOfJob = (job: JobView): string[] => {
      const owner = ownerOf(job as View);
      const isCron = owner?.kind === cronJobs.kind && owner.apiVersion === apiVersionOf(cronJobs);
      return isCron ? [`${job.metadata.namespace}/${owner.name}`] : [];
    };
    return {
      watches: [watch(crons, (cron) => [keyOf(cron as KubeObject)]), watch(jobInformer, keysOfJob)],
      async reconcile(key, signal) {
        const cron = crons.get(key);
        if (!cron) return undefined;
        const owned = controlledBy(jobInformer, cron as View) as JobView[];
        const status: CronJobStatus = structuredClone(cron.status ?? {}) as CronJobStatus;
        await takeStock(cron, owned, status, signal);
        const requeueAfterMs = cron.metadata.deletionTimestamp ? undefined : await start(cron, status, signal);
        for (const job of surplusJobs(cron, owned)) {
          if (await remove(cron, job, signal)) status.active = withoutJob(status, job.metadata.uid);
        }
        if (!deepEqual(cron.status ?? {}, status)) {
          await client.update(cronJobs, { ...mutable<CronJob>(cron), status }, { subresource: "status", signal });
        }
        return requeueAfterMs === undefined ? undefined : { requeueAfterMs };
      },
    };

    /** Brings what the status says of jobs that were started up to date. */
    async function takeStock(cron: CronJobView, owned: readonly JobView[], status: CronJobStatus, signal: AbortSignal) {
      for (const job of owned) {
        const { name, uid } = job.metadata;
        const listed = (status.active ?? []).some((one) => one.uid === uid);
        if (!isFinished(job)) {
          // The cache may be older than the status that this loop wrote itself.
          if (listed || (await liveStatus(cron, signal))?.active?.some((one) => one.uid === uid)) continue;
          const text = `Saw a job that the controller did not create or forgot: ${name}`;
          events.event(cronJobs, cron, "Warning", "UnexpectedJob", text);
          continue;
        }
        const succeeded = jobCondition(job, "Complete") !== undefined;
        if (listed) {
          status.active = withoutJob(status, uid);
          const how = succeeded ? "Complete" : "Failed";
          events.event(cronJobs, cron, "Normal", "SawCompletedJob", `Saw completed job: ${name}, condition: ${how}`);
        }
        const at = job.status?.completionTime;
        if (succeeded && at && at > (status.lastSuccessfulTime ?? "")) status.lastSuccessfulTime = at;
      }
      for (const { name = "", uid } of status.active ?? []) {
        if (owned.some(({ metadata }) => metadata.uid === uid) || (await liveJob(cron, name, signal))) continue;
        events.event(cronJobs, cron, "Normal", "MissingJob", `Active job went missing: ${name}`);
        status.active = withoutJob(status, uid);
      }
    }

    /** Starts the job of a time that is due. @returns milliseconds until the next look */
    async function start(cron: CronJobView, status: CronJobStatus, signal: AbortSignal): Promise<number | undefined> {
      const { spec } = cron;
      const warn = (reason: string, text: string) => events.event(cronJobs, cron, "Warning", reason, text);
      if (spec?.timeZone !== undefined && !isTimeZone(spec.timeZone)) {
        const quoted = JSON.stringify(spec.timeZone);
        warn("UnknownTimeZone", `invalid timeZone: ${quoted}: unknown time zone ${spec.timeZone}`);
        return undefined;
      }
      if (spec?.suspend) return undefined;
      let due: DueTimes;
      const quoted = JSON.stringify(spec?.schedule);
      try {
        const { schedule, timeZone } = scheduleOf(cron);
        if (spec?.schedule.includes("TZ")) {
          const text = `CRON_TZ or TZ used in schedule ${quoted} is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details`;
          warn("UnsupportedSchedule", text);
        }
        due = dueTimes(cron, schedule, clock.now(), timeZone);
      } catch (error) {
        warn("UnparseableSchedule", `unparseable schedule: ${quoted} : ${(error as Error).message}`);
        return undefined;
      }
      const { dueMs, nextMs, tooMany } = due;
      const nextInMs = nextMs === undefined ? undefined : Math.max(1, nextMs - clock.now());
      if (dueMs === undefined) return nextInMs;
      if (tooMany) {
        const text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        warn("TooManyMissedTimes", text);
      }
      const atText = formatTime(dueMs);
      const begun = (status.active ?? []).some(({ name }) => name === jobName(cron, dueMs));
      if (begun || status.lastScheduleTime === atText) return nextInMs;
      if (spec?.concurrencyPolicy === "Forbid" && (status.active ?? []).length > 0) {
        const text = "Not starting job because prior execution is running and concurrency policy is Forbid";
        events.event(cronJobs, cron, "Normal", "JobAlreadyActive", text);
        return nextInMs;
      }
      if (spec?.concurrencyPolicy === "Replace") {
        for (const { name = "", uid } of status.active ?? []) {
          const job = await liveJob(cron, name, signal);
          if (job) await remove(cron, job, signal);
          status.active = withoutJob(status, uid);
        }
      }
      const job = await create(cron, dueMs, signal);
      if (!job) return nextInMs;
      const { name = "", namespace = "", uid = "" } = job.metadata;
      const reference = { apiVersion: apiVersionOf(jobs), kind: jobs.kind, namespace, name, uid };
      if (!(status.active ?? []).some((one) => one.uid === uid)) status.active = [...(status.active ?? []), reference];
      status.lastScheduleTime = atText;
      return nextInMs;
    }

    /** The job of a time, made now or before; undefined: somebody else's has the name. */
    async function create(cron: CronJobView, dueMs: number, signal: AbortSignal): Promise<JobView | undefined> {
      const job = jobOf(cron, dueMs);
      job.metadata.ownerReferences = [controllerReference(cronJobs, cron as View)];
      try {
        const created = await client.create(jobs, job, { namespace: cron.metadata.namespace ?? "", signal });
        events.event(cronJobs, cron, "Normal", "SuccessfulCreate", `Created job ${created.metadata.name}`);
        return created;
      } catch (error) {
        // Made before, but the status that says so was not written.
        if (error instanceof StatusError && error.reason === "AlreadyExists") {
          const existing = await liveJob(cron, job.metadata.name ?? "", signal);
          return existing && ownerOf(existing as View)?.uid === cron.metadata.uid ? existing : undefined;
        }
        if (!isNamespaceTerminating(error)) {
          const text = `Error creating job: ${(error as Error).message}`;
          events.event(cronJobs, cron, "Warning", "FailedCreate", text);
        }
        throw error;
      }
    }

    async function liveJob(cron: CronJobView, name: string, signal: AbortSignal): Promise<JobView | undefined> {
      return found(client.get(jobs, name, { namespace: cron.metadata.namespace ?? "", signal }));
    }

    async function liveStatus(cron: CronJobView, signal: AbortSignal): Promise<CronJobStatus | undefined> {
      const { name = "", namespace = "" } = cron.metadata;
      return (await found(client.get(cronJobs, name, { namespace, signal })))?.status;
    }

    /** False when it was gone already. */
    async function remove(cron: CronJobView, job: JobView, signal: AbortSignal): Promise<boolean> {
      const { name = "", namespace = "", uid } = job.metadata;
      try {
        const preconditions = uid ? { preconditions: { uid } } : {};
        await client.delete(jobs, name, { namespace, propagationPolicy: "Background", ...preconditions, signal });
      } catch (error) {
        if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return false;
        events.event(cronJobs, cron, "Warning", "FailedDelete", `Deleted job: ${(error as Error).message}`);
        throw error;
      }
      events.event(cronJobs, cron, "Normal", "SuccessfulDelete", `Deleted job ${name}`);
      return true;
    }
  },
};

function withoutJob(status: CronJobStatus, uid: string | undefined) {
  return (status.active ?? []).filter((one) => one.uid !== uid);
}
