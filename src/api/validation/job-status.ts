/** What job controllers may say of a job, and in which order. */
import { deepEqual } from "../../machinery/equality.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Job } from "../generated/batch-v1.ts";
import { Errors } from "./errors.ts";
import { commonIndex, countIndexes } from "./job-indexes.ts";

/** Kubernetes shows no value where it would be long. */
function conditions(errors: Errors, path: string, detail: string): void {
  errors.list.push({ reason: "FieldValueInvalid", field: path, message: `Invalid value: ${detail}` });
}

function has({ status }: Job, type: string): boolean {
  return status?.conditions?.some((condition) => condition.type === type && condition.status === "True") ?? false;
}

const isFinished = (job: Job) => has(job, "Complete") || has(job, "Failed");

export function validateJobStatus(job: Job, old: Job): FieldError[] {
  const errors = new Errors();
  const status = job.status ?? {};
  for (const field of ["active", "succeeded", "failed", "ready", "terminating"] as const) {
    errors.nonNegative(`status.${field}`, status[field]);
  }
  checkUncounted(errors, status.uncountedTerminatedPods ?? {});
  const changed = (read: (job: Job) => unknown) => !deepEqual(read(job), read(old));
  const turned = (...types: string[]) => types.some((type) => has(job, type) !== has(old, type));
  const times = changed((one) => one.status?.completionTime) || turned("Complete");
  checkConditions(errors, job, turned);
  checkTimes(errors, job, old, times);
  if (isFinished(job)) checkFinished(errors, job, changed, isFinished(old) !== true);
  checkIndexes(errors, job, changed);
  const moved = changed((one) => one.status?.ready) || changed((one) => one.status?.active);
  if (moved && (status.ready ?? 0) > (status.active ?? 0)) {
    errors.invalid("status.ready", status.ready, "cannot set more ready pods than active");
  }
  checkOutcome(errors, job);
  checkProgress(errors, job, old);
  return errors.list;
}

function checkUncounted(errors: Errors, pods: { succeeded?: string[]; failed?: string[] }): void {
  const seen = new Set<string>();
  for (const field of ["succeeded", "failed"] as const) {
    for (const [index, uid] of (pods[field] ?? []).entries()) {
      const at = `status.uncountedTerminatedPods.${field}[${index}]`;
      if (uid === "") errors.invalid(at, uid, "must not be empty");
      else if (seen.has(uid)) errors.duplicate(at, uid);
      seen.add(uid);
    }
  }
}

function checkConditions(errors: Errors, job: Job, turned: (...types: string[]) => boolean): void {
  const path = "status.conditions";
  if (turned("Complete", "Failed") && has(job, "Complete") && has(job, "Failed")) {
    conditions(errors, path, "cannot set Complete=True and Failed=true conditions");
  }
  if (turned("Complete", "FailureTarget") && has(job, "Complete") && has(job, "FailureTarget")) {
    conditions(errors, path, "cannot set Complete=True and FailureTarget=true conditions");
  }
  if (turned("Failed") && has(job, "Failed") && !has(job, "FailureTarget")) {
    conditions(errors, path, "cannot set Failed=True condition without the FailureTarget=true condition");
  }
  if (turned("Complete", "SuccessCriteriaMet") && has(job, "Complete") && !has(job, "SuccessCriteriaMet")) {
    conditions(errors, path, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
  }
}

function checkTimes(errors: Errors, job: Job, old: Job, changed: boolean): void {
  const { completionTime, startTime } = job.status ?? {};
  const path = "status.completionTime";
  if (changed && completionTime && !has(job, "Complete")) {
    errors.invalid(path, completionTime, "cannot set completionTime when there is no Complete=True condition");
  }
  if (changed && !completionTime && has(job, "Complete")) {
    errors.required(path, "completionTime is required for Complete jobs");
  }
  const started = old.status?.startTime !== startTime;
  if ((started || changed) && startTime && completionTime && Date.parse(completionTime) < Date.parse(startTime)) {
    errors.invalid(path, completionTime, "must be equal to or after `startTime`");
  }
}

function checkFinished(
  errors: Errors,
  job: Job,
  changed: (read: (job: Job) => unknown) => boolean,
  now: boolean,
): void {
  const { active, startTime, uncountedTerminatedPods: pods, terminating } = job.status ?? {};
  if ((now || changed((one) => one.status?.active)) && (active ?? 0) > 0) {
    errors.invalid("status.active", active, "active>0 is invalid for finished job");
  }
  const nothingToDo = job.spec?.suspend === true && job.spec.completions === 0;
  if ((now || changed((one) => one.status?.startTime)) && !startTime && !nothingToDo) {
    errors.required("status.startTime", "startTime is required for finished job");
  }
  const left = (pods?.failed?.length ?? 0) + (pods?.succeeded?.length ?? 0);
  if ((now || changed((one) => one.status?.uncountedTerminatedPods)) && left > 0) {
    errors.invalid("status.uncountedTerminatedPods", pods, "must be empty for finished job");
  }
  if ((now || changed((one) => one.status?.terminating)) && (terminating ?? 0) > 0) {
    errors.invalid("status.terminating", terminating, "terminating>0 is invalid for finished job");
  }
}

function checkIndexes(errors: Errors, job: Job, changed: (read: (job: Job) => unknown) => boolean): void {
  const { completedIndexes = "", failedIndexes } = job.status ?? {};
  const { completions, backoffLimitPerIndex, completionMode } = job.spec ?? {};
  const completed = changed((one) => one.status?.completedIndexes);
  const failed = changed((one) => one.status?.failedIndexes);
  const parse = (field: string, list: string) => {
    const count = countIndexes(list, completions ?? 0);
    if (typeof count === "string") errors.invalid(`status.${field}`, list, `error parsing ${field}: ${count}`);
  };
  if (completed && completions !== undefined) parse("completedIndexes", completedIndexes);
  if (failed && completions !== undefined && backoffLimitPerIndex !== undefined && failedIndexes !== undefined) {
    parse("failedIndexes", failedIndexes);
  }
  if (completed && completedIndexes !== "" && completionMode !== "Indexed") {
    const text = "cannot set non-empty completedIndexes when non-indexed completion mode";
    errors.invalid("status.completedIndexes", completedIndexes, text);
  }
  if (failedIndexes === undefined) return;
  if (failed && backoffLimitPerIndex === undefined) {
    const text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
    errors.invalid("status.failedIndexes", failedIndexes, text);
  }
  if ((!completed && !failed) || completions === undefined || !completedIndexes || !failedIndexes) return;
  const index = commonIndex(completedIndexes, failedIndexes, completions);
  if (index === undefined) return;
  const text = `failedIndexes and completedIndexes overlap at index: ${index}`;
  errors.invalid("status.failedIndexes", failedIndexes, text);
}

/** A job has one outcome. */
function checkOutcome(errors: Errors, job: Job): void {
  const path = "status.conditions";
  const met = has(job, "SuccessCriteriaMet");
  if (met && has(job, "Failed")) {
    conditions(errors, path, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
  }
  if (met && has(job, "FailureTarget")) {
    conditions(errors, path, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
  }
  if (job.spec?.successPolicy && !met && has(job, "Complete")) {
    const text = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
    conditions(errors, path, text);
  }
}

/** What was said once stays true. */
function checkProgress(errors: Errors, job: Job, old: Job): void {
  const { failed = 0, succeeded = 0, completionTime, startTime } = job.status ?? {};
  const before = old.status ?? {};
  const path = "status.conditions";
  for (const type of ["Failed", "Complete", "FailureTarget"]) {
    if (has(old, type) && !has(job, type))
      conditions(errors, path, `cannot disable the terminal ${type}=True condition`);
  }
  if (failed < (before.failed ?? 0)) errors.invalid("status.failed", failed, "cannot decrease the failed counter");
  const { completionMode, completions, parallelism, suspend } = job.spec ?? {};
  // An elastic job may be made smaller.
  const elastic = completionMode === "Indexed" && completions === parallelism;
  if (!elastic && succeeded < (before.succeeded ?? 0)) {
    errors.invalid("status.succeeded", succeeded, "cannot decrease the succeeded counter");
  }
  if (completionTime && before.completionTime && completionTime !== before.completionTime) {
    errors.invalid("status.completionTime", completionTime, "field is immutable");
  }
  const suspended = (one: Job) => one.status?.conditions?.find(({ type }) => type === "Suspended")?.status;
  const resuming = suspended(old) === "True" && suspended(job) === "False";
  if (before.startTime && before.startTime !== startTime && !resuming && !suspend) {
    const text = "field is immutable for unsuspended job once set";
    errors.invalid("status.startTime", startTime ?? null, text);
  }
  const [met, wasMet] = [has(job, "SuccessCriteriaMet"), has(old, "SuccessCriteriaMet")];
  if (wasMet && !met) conditions(errors, path, "cannot disable the SuccessCriteriaMet=True condition");
  if (has(old, "Complete") && !wasMet && met) {
    conditions(errors, path, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
  }
}
