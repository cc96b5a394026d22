import type { FieldError } from "../../machinery/status.ts";
import type { CronJob, Job, JobSpec } from "../generated/batch-v1.ts";
import { sameJson } from "../strategy.ts";
import { Errors } from "./errors.ts";
import { checkLabelSelector, trySelector } from "./labels.ts";
import { checkPodTemplate } from "./pod-spec.ts";

/** A cron job's name becomes part of its jobs' names, which become labels. */
const cronJobNameMax = 52;

function checkJobSpec(errors: Errors, path: string, spec: JobSpec): void {
  for (const field of [
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
  ] as const) {
    errors.nonNegative(`${path}.${field}`, spec[field]);
  }
  if (spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined) {
    errors.required(`${path}.backoffLimitPerIndex`, "when maxFailedIndexes is specified");
  }
  errors.optionalOneOf(`${path}.completionMode`, spec.completionMode, ["Indexed", "NonIndexed"]);
  if (spec.completionMode === "Indexed") {
    if (spec.completions === undefined) errors.required(`${path}.completions`, "when completion mode is Indexed");
  } else {
    for (const field of ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] as const) {
      if (spec[field] !== undefined)
        errors.invalid(`${path}.${field}`, spec[field], "requires indexed completion mode");
    }
  }
  checkPodTemplate(errors, `${path}.template`, spec.template);
  const restartPolicy = spec.template?.spec?.restartPolicy;
  const at = `${path}.template.spec.restartPolicy`;
  if (!restartPolicy || restartPolicy === "Always") {
    errors.required(at, 'valid values: "OnFailure", "Never"');
  } else if (restartPolicy !== "OnFailure" && restartPolicy !== "Never") {
    errors.notSupported(at, restartPolicy, ["Never", "OnFailure"]);
  } else if (spec.podFailurePolicy && restartPolicy !== "Never") {
    errors.invalid(at, restartPolicy, 'only "Never" is supported when podFailurePolicy is specified');
  }
}

export function validateJob(job: Job): FieldError[] {
  const errors = new Errors();
  const { spec, metadata } = job;
  if (!spec) return errors.list;
  checkJobSpec(errors, "spec", spec);
  if (!spec.selector) errors.required("spec.selector");
  else {
    checkLabelSelector(errors, "spec.selector", spec.selector);
    const labels = spec.template?.metadata?.labels ?? {};
    if (trySelector(spec.selector)?.matches(labels) === false) {
      errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
    }
    if (spec.manualSelector !== true) checkGenerated(errors, labels, metadata.uid ?? "", metadata.name ?? "");
  }
  return errors.list;
}

/** With a generated selector, the labels that it is made of are ours. */
function checkGenerated(errors: Errors, labels: Readonly<Record<string, string>>, uid: string, name: string): void {
  for (const [key, expected] of [
    ["controller-uid", uid],
    ["job-name", name],
    ["batch.kubernetes.io/controller-uid", uid],
    ["batch.kubernetes.io/job-name", name],
  ] as const) {
    const path = "spec.template.metadata.labels";
    if (labels[key] === undefined) errors.required(`${path}[${key}]`, `must be '${expected}'`);
    else if (labels[key] !== expected) errors.invalid(`${path}[${key}]`, labels[key], `must be '${expected}'`);
  }
}

export function validateJobUpdate(job: Job, old: Job): FieldError[] {
  const errors = new Errors();
  const { spec } = job;
  const before = old.spec;
  if (!spec || !before) return errors.list;
  const same = (a: unknown, b: unknown) => sameJson(a ?? null, b ?? null);
  if (spec.completionMode !== "Indexed") {
    errors.immutable("spec.completions", spec.completions, spec.completions === before.completions);
  }
  for (const field of [
    "selector",
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
  ] as const) {
    errors.immutable(`spec.${field}`, spec[field], same(spec[field], before[field]));
  }
  // A suspended job that never started may still be told where to run.
  const mutable = before.suspend === true && old.status?.startTime === undefined;
  if (!mutable) errors.immutable("spec.template", spec.template, same(spec.template, before.template));
  return errors.list;
}

export function validateCronJob({ spec, metadata }: CronJob): FieldError[] {
  const errors = new Errors();
  if ((metadata.name ?? "").length > cronJobNameMax) {
    errors.invalid("metadata.name", metadata.name, `must be no more than ${cronJobNameMax} characters`);
  }
  if (!spec) return errors.list;
  if (!spec.schedule) errors.required("spec.schedule");
  else checkSchedule(errors, "spec.schedule", spec.schedule);
  errors.nonNegative("spec.startingDeadlineSeconds", spec.startingDeadlineSeconds);
  errors.optionalOneOf("spec.concurrencyPolicy", spec.concurrencyPolicy, ["Allow", "Forbid", "Replace"]);
  errors.nonNegative("spec.successfulJobsHistoryLimit", spec.successfulJobsHistoryLimit);
  errors.nonNegative("spec.failedJobsHistoryLimit", spec.failedJobsHistoryLimit);
  if (spec.timeZone !== undefined && !isTimeZone(spec.timeZone)) {
    errors.invalid("spec.timeZone", spec.timeZone, `unknown time zone ${spec.timeZone}`);
  }
  if (spec.jobTemplate?.spec) checkJobSpec(errors, "spec.jobTemplate.spec", spec.jobTemplate.spec);
  return errors.list;
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return name !== "";
  } catch {
    return false;
  }
}

/** Five fields, or one of the short names. */
function checkSchedule(errors: Errors, path: string, schedule: string): void {
  if (schedule.includes("TZ")) {
    errors.invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    return;
  }
  if (/^@(yearly|annually|monthly|weekly|daily|midnight|hourly|every \S+)$/.test(schedule)) return;
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== 5) {
    errors.invalid(path, schedule, `expected exactly 5 fields, found ${fields.length}: [${fields.join(" ")}]`);
  } else if (!fields.every((field) => /^[\d*?/,\-a-z]+$/i.test(field))) {
    errors.invalid(path, schedule, `failed to parse the fields: [${fields.join(" ")}]`);
  }
}
