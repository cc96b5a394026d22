import { type CronJob, type CronJobStatus, cronJobs, jobs } from "../api/generated/batch-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import { deepEqual } from "../machinery/equality.ts";
import { apiVersionOf, type KubeObject, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { dueTimes, jobOf, surplusJobs } from "./cron-job-plan.ts";
import { type CronSchedule, parseCron } from "./cron-schedule.ts";
import { isFinished, type JobView, jobCondition } from "./job-facts.ts";
import { controlledBy, controllerReference, indexByOwner, mutable, ownerOf, type View } from "./shared/owned.ts";

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
    const remove = async (job: JobView, signal: AbortSignal) => {
      const { name = "", namespace = "", uid } = job.metadata;
      try {
        const preconditions = uid ? { preconditions: { uid } } : {};
        await client.delete(jobs, name, { namespace, propagationPolicy: "Background", ...preconditions, signal });
        return true;
      } catch (error) {
        if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return false;
        throw error;
      }
    };

    return {
      watches: [watch(crons, (cron) => [keyOf(cron as KubeObject)]), watch(jobInformer, keysOfJob)],
      async reconcile(key, signal) {
        const cron = crons.get(key);
        if (!cron || cron.metadata.deletionTimestamp) return undefined;
        const owned = controlledBy(jobInformer, cron as View) as JobView[];
        for (const job of surplusJobs(cron, owned)) {
          if (await remove(job, signal)) {
            events.event(cronJobs, cron, "Normal", "SuccessfulDelete", `Deleted job ${job.metadata.name}`);
          }
        }
        let running = owned.filter((job) => !isFinished(job) && !job.metadata.deletionTimestamp);
        const status: CronJobStatus = { ...(structuredClone(cron.status ?? {}) as CronJobStatus) };
        for (const job of owned) {
          if (!jobCondition(job, "Complete")) continue;
          const at = job.status?.completionTime;
          if (at && at > (status.lastSuccessfulTime ?? "")) status.lastSuccessfulTime = at;
        }
        for (const { name } of status.active ?? []) {
          const job = owned.find(({ metadata }) => metadata.name === name);
          if (job && isFinished(job)) {
            const how = jobCondition(job, "Complete") ? "Complete" : "Failed";
            events.event(cronJobs, cron, "Normal", "SawCompletedJob", `Saw completed job: ${name}, condition: ${how}`);
          }
        }

        let schedule: CronSchedule | undefined;
        try {
          schedule = parseCron(cron.spec?.schedule ?? "");
          // An unknown zone fails here.
          dueTimes(cron, schedule, clock.now());
        } catch (error) {
          const text = `unparseable schedule: ${JSON.stringify(cron.spec?.schedule)} : ${(error as Error).message}`;
          events.event(cronJobs, cron, "Warning", "UnparseableSchedule", text);
          schedule = undefined;
        }
        let requeueAfterMs: number | undefined;
        if (schedule && !cron.spec?.suspend) {
          const { dueMs, nextMs, tooMany } = dueTimes(cron, schedule, clock.now());
          if (nextMs !== undefined) requeueAfterMs = Math.max(1, nextMs - clock.now());
          if (tooMany) {
            const text =
              "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            events.event(cronJobs, cron, "Warning", "TooManyMissedTimes", text);
          }
          const forbidden = cron.spec?.concurrencyPolicy === "Forbid" && running.length > 0;
          if (dueMs !== undefined && forbidden) {
            const text = `Not starting job because prior execution is running and concurrency policy is Forbid`;
            events.event(cronJobs, cron, "Normal", "JobAlreadyActive", text);
          } else if (dueMs !== undefined) {
            if (cron.spec?.concurrencyPolicy === "Replace") {
              for (const job of running) await remove(job, signal);
              running = [];
            }
            const job = jobOf(cron, dueMs);
            job.metadata.ownerReferences = [controllerReference(cronJobs, cron as View)];
            try {
              const created = await client.create(jobs, job, { namespace: cron.metadata.namespace ?? "", signal });
              running = [...running, created];
              events.event(cronJobs, cron, "Normal", "SuccessfulCreate", `Created job ${job.metadata.name}`);
            } catch (error) {
              // Made before, but the status that says so was not written.
              if (!(error instanceof StatusError && error.reason === "AlreadyExists")) {
                events.event(
                  cronJobs,
                  cron,
                  "Warning",
                  "FailedCreate",
                  `Error creating job: ${(error as Error).message}`,
                );
                throw error;
              }
            }
            status.lastScheduleTime = formatTime(dueMs);
          }
        }
        status.active = running.map(({ metadata }) => ({
          apiVersion: apiVersionOf(jobs),
          kind: jobs.kind,
          ...(metadata.namespace ? { namespace: metadata.namespace } : {}),
          ...(metadata.name ? { name: metadata.name } : {}),
          ...(metadata.uid ? { uid: metadata.uid } : {}),
        }));
        const plain = ({ resourceVersion: _, ...reference }: { readonly resourceVersion?: string }) => reference;
        const same = (a: CronJob["status"]) => ({ ...a, active: (a?.active ?? []).map(plain) });
        if (!deepEqual(same(cron.status as CronJob["status"]), same(status))) {
          await client.update(cronJobs, { ...mutable<CronJob>(cron), status }, { subresource: "status", signal });
        }
        return requeueAfterMs === undefined ? undefined : { requeueAfterMs };
      },
    };
  },
};
