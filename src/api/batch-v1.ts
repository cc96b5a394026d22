import { randomUUID } from "node:crypto";
import { age, ageColumn, containerColumns, humanDuration, integer, none, selectorColumn, text } from "./columns.ts";
import { type CronJob, cronJobs, type Job, type JobSpec, jobs } from "./generated/batch-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { defaultPodTemplate } from "./pod/defaults.ts";
import { dropDisabled } from "./pod/disabled-fields.ts";
import { validateCronJob, validateCronJobUpdate, validateJob, validateJobUpdate } from "./validation/batch.ts";
import { cronJobWarnings, jobWarnings } from "./workload-warnings.ts";

const maxInt32 = 2_147_483_647;

function hasCondition(job: Job, type: string): boolean {
  return job.status?.conditions?.find((condition) => condition.type === type)?.status === "True";
}

function jobState(job: Job): string {
  if (hasCondition(job, "Complete")) return "Complete";
  if (hasCondition(job, "Failed")) return "Failed";
  if (job.metadata.deletionTimestamp) return "Terminating";
  for (const type of ["Suspended", "FailureTarget", "SuccessCriteriaMet"]) if (hasCondition(job, type)) return type;
  return "Running";
}

function completions({ spec, status }: Job): string {
  const succeeded = status?.succeeded ?? 0;
  if (spec?.completions !== undefined) return `${succeeded}/${spec.completions}`;
  const parallelism = spec?.parallelism ?? 0;
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function defaultJobSpec(spec: JobSpec): void {
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? 6 : maxInt32;
  spec.completionMode ??= "NonIndexed";
  spec.suspend ??= false;
  spec.podReplacementPolicy ??= spec.podFailurePolicy ? "Failed" : "TerminatingOrFailed";
  spec.manualSelector ??= false;
  defaultFailurePolicy(spec);
  defaultPodTemplate(spec.template);
}

function defaultFailurePolicy(spec: JobSpec): void {
  for (const rule of spec.podFailurePolicy?.rules ?? []) {
    for (const pattern of rule.onPodConditions ?? []) pattern.status ||= "True";
  }
}

/** A job selects its pods by its own uid, unless the user chose the selector. */
function generateSelector(job: Job): void {
  const { spec, metadata } = job;
  if (!spec || spec.manualSelector === true) return;
  spec.template.metadata ??= {};
  metadata.uid ||= randomUUID();
  const own: Record<string, string> = {
    "job-name": metadata.name ?? "",
    "batch.kubernetes.io/job-name": metadata.name ?? "",
    "controller-uid": metadata.uid,
    "batch.kubernetes.io/controller-uid": metadata.uid,
  };
  // Labels that the user set stay, and validation tells them apart.
  spec.template.metadata.labels = { ...own, ...spec.template.metadata.labels };
  spec.selector ??= {};
  spec.selector.matchLabels ??= {};
  spec.selector.matchLabels["batch.kubernetes.io/controller-uid"] ??= metadata.uid;
  // Every later reading would default them from the template, and a status writer would seem to have set them.
  defaultLabels(job);
}

function defaultLabels(job: Job): void {
  const labels = job.spec?.template?.metadata?.labels;
  if (labels && Object.keys(job.metadata.labels ?? {}).length === 0) job.metadata.labels = { ...labels };
}

export const batchV1: readonly KindEntry[] = [
  kind(jobs, {
    categories: ["all"],
    columns: [
      text("Status", jobState),
      text("Completions", completions),
      text("Duration", ({ status }, nowMs) => {
        if (!status?.startTime) return "";
        const end = status.completionTime ? Date.parse(status.completionTime) : nowMs;
        return humanDuration(end - Date.parse(status.startTime));
      }),
      ageColumn,
      ...containerColumns<Job>(({ spec }) => spec?.template.spec?.containers),
      selectorColumn(({ spec }) => spec?.selector),
    ],
    selectableFields: { "status.successful": ({ status }) => String(status?.succeeded ?? 0) },
    strategy: {
      generation: true,
      defaultPropagation: "Orphan",
      warningWithoutPropagation:
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
      applyDefaults(job) {
        if (!job.spec) return;
        defaultJobSpec(job.spec);
        defaultLabels(job);
      },
      validate: validateJob,
      validateUpdate: validateJobUpdate,
      warnings: jobWarnings,
      prepareForCreate(job) {
        generateSelector(job);
        dropDisabled(job.spec?.template?.spec);
      },
      prepareForUpdate: ({ spec }) => dropDisabled(spec?.template?.spec),
    },
  }),
  kind(cronJobs, {
    shortNames: ["cj"],
    categories: ["all"],
    columns: [
      text("Schedule", ({ spec }) => spec?.schedule ?? ""),
      text("Timezone", ({ spec }) => spec?.timeZone ?? none),
      {
        name: "Suspend",
        type: "boolean",
        value: ({ spec }) => (spec?.suspend === undefined ? "<unset>" : spec.suspend ? "True" : "False"),
      },
      integer("Active", ({ status }) => status?.active?.length),
      text("Last Schedule", ({ status }, nowMs) =>
        status?.lastScheduleTime ? age(status.lastScheduleTime, nowMs) : none,
      ),
      ageColumn,
      ...containerColumns<CronJob>(({ spec }) => spec?.jobTemplate.spec?.template.spec?.containers),
      selectorColumn(({ spec }) => spec?.jobTemplate.spec?.selector),
    ],
    strategy: {
      generation: true,
      ratchets: true,
      validate: validateCronJob,
      validateUpdate: validateCronJobUpdate,
      warnings: cronJobWarnings,
      prepareForCreate: ({ spec }) => dropDisabled(spec?.jobTemplate?.spec?.template?.spec),
      prepareForUpdate: ({ spec }) => dropDisabled(spec?.jobTemplate?.spec?.template?.spec),
      applyDefaults({ spec }) {
        if (!spec) return;
        spec.concurrencyPolicy ||= "Allow";
        spec.suspend ??= false;
        spec.successfulJobsHistoryLimit ??= 3;
        spec.failedJobsHistoryLimit ??= 1;
        // The job's own defaults come when a job is made; the pod template's are part of its type.
        defaultPodTemplate(spec.jobTemplate?.spec?.template);
        if (spec.jobTemplate?.spec) defaultFailurePolicy(spec.jobTemplate.spec);
      },
    },
  }),
];
