/** Jobs and CronJobs. */
import { deepEqual } from "../../machinery/equality.ts";
import { dns1123Label, dns1123Subdomain, regexMessage } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { CronJob, Job, JobSpec, PodFailurePolicyRule } from "../generated/batch-v1.ts";
import type { PodTemplateSpec } from "../generated/core-v1.ts";
import { Errors } from "./errors.ts";
import { countIndexes } from "./job-indexes.ts";
import { validateJobStatus } from "./job-status.ts";
import { checkLabelSelector, trySelector } from "./labels.ts";
import { checkPodTemplate } from "./pod-spec.ts";
import { scheduleProblem } from "./schedule.ts";

/** A cron job's name becomes part of its jobs' names, which become labels. */
const cronJobNameMax = 52;
const managedByMax = 63;
/** What an indexed job may have, and what one with so many completions that each counts. */
const most = 100_000;
const mostOfHuge = 10_000;
const maxRules = 20;

const numbers = [
  "parallelism",
  "completions",
  "activeDeadlineSeconds",
  "backoffLimit",
  "ttlSecondsAfterFinished",
  "backoffLimitPerIndex",
  "maxFailedIndexes",
] as const;

function checkJobSpec(errors: Errors, path: string, spec: JobSpec): void {
  for (const field of numbers) errors.nonNegative(`${path}.${field}`, spec[field]);
  if (spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined) {
    errors.required(`${path}.backoffLimitPerIndex`, "when maxFailedIndexes is specified");
  }
  if (spec.managedBy !== undefined) checkManager(errors, `${path}.managedBy`, spec.managedBy);
  const mode = spec.completionMode;
  if (mode !== undefined && mode !== "NonIndexed" && mode !== "Indexed") {
    errors.notSupportedInOrder(`${path}.completionMode`, mode, ["NonIndexed", "Indexed"]);
  }
  if (mode === "Indexed") checkIndexed(errors, path, spec);
  if (mode === undefined || mode === "NonIndexed") {
    for (const field of ["backoffLimitPerIndex", "maxFailedIndexes"] as const) {
      if (spec[field] !== undefined)
        errors.invalid(`${path}.${field}`, spec[field], "requires indexed completion mode");
    }
  }
  checkFailurePolicy(errors, `${path}.podFailurePolicy.rules`, spec);
  if (spec.successPolicy && mode !== "Indexed") {
    errors.invalid(`${path}.successPolicy`, spec.successPolicy, "requires indexed completion mode");
  } else checkSuccessPolicy(errors, `${path}.successPolicy.rules`, spec);
  const replacements = spec.podFailurePolicy ? ["Failed"] : ["Failed", "TerminatingOrFailed"];
  errors.setOneOf(`${path}.podReplacementPolicy`, spec.podReplacementPolicy, replacements);
  checkPodTemplate(errors, `${path}.template`, spec.template);
  const restartPolicy = spec.template?.spec?.restartPolicy;
  const at = `${path}.template.spec.restartPolicy`;
  if (!restartPolicy || restartPolicy === "Always") errors.required(at, 'valid values: "OnFailure", "Never"');
  else if (restartPolicy !== "OnFailure" && restartPolicy !== "Never") {
    errors.notSupportedInOrder(at, restartPolicy, ["OnFailure", "Never"]);
  } else if (spec.podFailurePolicy && restartPolicy !== "Never") {
    errors.invalid(at, restartPolicy, 'only "Never" is supported when podFailurePolicy is specified');
  }
}

const urlPath = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";

function checkManager(errors: Errors, path: string, manager: string): void {
  if (!errors.present(path, manager)) return;
  const slash = manager.indexOf("/");
  const [domain, name] = [manager.slice(0, Math.max(slash, 0)), manager.slice(slash + 1)];
  if (slash < 0 || domain === "" || name === "") {
    errors.invalid(path, manager, 'must be a domain-prefixed path (such as "acme.io/foo")');
  } else {
    errors.messages(path, domain, dns1123Subdomain(domain));
    if (!new RegExp(`^${urlPath}$`).test(name)) errors.invalid(path, name, regexMessage("Invalid path", urlPath));
  }
  if (Buffer.byteLength(manager) > managedByMax) errors.tooLong(path, managedByMax);
}

function checkIndexed(errors: Errors, path: string, spec: JobSpec): void {
  const { completions, parallelism, maxFailedIndexes: failures, backoffLimitPerIndex } = spec;
  if (completions === undefined) errors.required(`${path}.completions`, "when completion mode is Indexed");
  if ((parallelism ?? 0) > most) {
    const text = `must be less than or equal to ${most} when completion mode is Indexed`;
    errors.invalid(`${path}.parallelism`, parallelism, text);
  }
  if (completions !== undefined && (failures ?? 0) > completions) {
    errors.invalid(`${path}.maxFailedIndexes`, failures, "must be less than or equal to completions");
  }
  if ((failures ?? 0) > most) {
    errors.invalid(`${path}.maxFailedIndexes`, failures, `must be less than or equal to ${most}`);
  }
  if ((completions ?? 0) <= most || backoffLimitPerIndex === undefined) return;
  if (failures === undefined) {
    errors.required(`${path}.maxFailedIndexes`, `must be specified when completions is above ${most}`);
  }
  const text = `must be less than or equal to ${mostOfHuge} when completions are above ${most} and used with backoff limit per index`;
  if ((parallelism ?? 0) > mostOfHuge) errors.invalid(`${path}.parallelism`, parallelism, text);
  if ((failures ?? 0) > mostOfHuge) errors.invalid(`${path}.maxFailedIndexes`, failures, text);
}

const actions = ["Count", "FailIndex", "FailJob", "Ignore"];
const quotedList = (values: readonly string[]) => `[${values.map((value) => JSON.stringify(value)).join(" ")}]`;

function checkFailurePolicy(errors: Errors, path: string, spec: JobSpec): void {
  const rules = spec.podFailurePolicy?.rules ?? [];
  if (rules.length > maxRules) errors.tooMany(path, rules.length, maxRules);
  const pod = spec.template?.spec;
  const names = [...(pod?.containers ?? []), ...(pod?.initContainers ?? [])].map(({ name }) => name);
  for (const [index, rule] of rules.entries()) {
    const at = `${path}[${index}]`;
    if (!rule.action) errors.required(`${at}.action`, `valid values: ${quotedList(actions)}`);
    else if (rule.action === "FailIndex") {
      if (spec.backoffLimitPerIndex === undefined) {
        errors.invalid(`${at}.action`, rule.action, "requires the backoffLimitPerIndex to be set");
      }
    } else errors.setOneOf(`${at}.action`, rule.action, actions);
    if (rule.onExitCodes) checkExitCodes(errors, `${at}.onExitCodes`, rule.onExitCodes, names);
    checkPatterns(errors, `${at}.onPodConditions`, rule.onPodConditions ?? []);
    const both = Boolean(rule.onExitCodes) === (rule.onPodConditions?.length ?? 0) > 0;
    if (!both) continue;
    const text = rule.onExitCodes
      ? "specifying both OnExitCodes and OnPodConditions is not supported"
      : "specifying one of OnExitCodes and OnPodConditions is required";
    errors.list.push({ reason: "FieldValueInvalid", field: at, message: `Invalid value: ${text}` });
  }
}

function checkPatterns(
  errors: Errors,
  path: string,
  patterns: NonNullable<PodFailurePolicyRule["onPodConditions"]>,
): void {
  const statuses = ["False", "True", "Unknown"];
  if (patterns.length > maxRules) errors.tooMany(path, patterns.length, maxRules);
  for (const [index, { type, status }] of patterns.entries()) {
    errors.qualified(`${path}[${index}].type`, type);
    const at = `${path}[${index}].status`;
    if (!status) errors.required(at, `valid values: ${quotedList(statuses)}`);
    else errors.setOneOf(at, status, statuses);
  }
}

function checkExitCodes(
  errors: Errors,
  path: string,
  codes: NonNullable<PodFailurePolicyRule["onExitCodes"]>,
  containers: readonly string[],
): void {
  const operators = ["In", "NotIn"];
  if (!codes.operator) errors.required(`${path}.operator`, `valid values: ${quotedList(operators)}`);
  else errors.setOneOf(`${path}.operator`, codes.operator, operators);
  if (codes.containerName !== undefined && !containers.includes(codes.containerName)) {
    const text = "must be one of the container or initContainer names in the pod template";
    errors.invalid(`${path}.containerName`, codes.containerName, text);
  }
  const values = codes.values ?? [];
  if (values.length === 0) errors.invalid(`${path}.values`, codes.values ?? null, "at least one value is required");
  else if (values.length > 255) errors.tooMany(`${path}.values`, values.length, 255);
  for (const [index, value] of values.entries()) {
    const at = `${path}.values[${index}]`;
    if (codes.operator === "In" && value === 0) errors.invalid(at, value, "must not be 0 for the In operator");
    if (values.indexOf(value) < index) errors.duplicate(at, value);
  }
  if (values.some((value, index) => index > 0 && values[index - 1]! > value)) {
    errors.invalid(`${path}.values`, values, "must be ordered");
  }
}

const longestIndexes = 64 * 1024;

function checkSuccessPolicy(errors: Errors, path: string, spec: JobSpec): void {
  if (!spec.successPolicy) return;
  const rules = spec.successPolicy.rules ?? [];
  errors.present(path, rules, "at least one rules must be specified when the successPolicy is specified");
  if (rules.length > maxRules) errors.tooMany(path, rules.length, maxRules);
  const completions = spec.completions ?? 0;
  for (const [index, { succeededCount: count, succeededIndexes: indexes }] of rules.entries()) {
    const at = `${path}[${index}]`;
    if (count === undefined && indexes === undefined) {
      errors.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let total = 0;
    if (indexes !== undefined) {
      if (indexes.length > longestIndexes) errors.tooLong(`${at}.succeededIndexes`, longestIndexes);
      const counted = countIndexes(indexes, completions);
      if (typeof counted === "number") total = counted;
      else errors.invalid(`${at}.succeededIndexes`, indexes, `error parsing succeededIndexes: ${counted}`);
    }
    if (count === undefined) continue;
    errors.nonNegative(`${at}.succeededCount`, count);
    const less = (than: number, what: string) => `must be less than or equal to ${than} (the number of ${what})`;
    if (count > completions) {
      errors.invalid(`${at}.succeededCount`, count, less(completions, "specified completions"));
    }
    if (indexes !== undefined && count > total) {
      const text = less(total, "indexes in the specified succeededIndexes field");
      errors.invalid(`${at}.succeededCount`, count, text);
    }
  }
}

export function validateJob(job: Job): FieldError[] {
  const errors = new Errors();
  const { spec, metadata } = job;
  if (!spec) return errors.list;
  const labels = spec.template?.metadata?.labels;
  if (spec.manualSelector !== true && spec.selector) checkGenerated(errors, job, labels ?? {});
  checkJobSpec(errors, "spec", spec);
  const parsed = trySelector(spec.selector);
  if (!spec.selector) errors.required("spec.selector");
  else checkLabelSelector(errors, "spec.selector", spec.selector);
  if (!spec.selector || parsed?.matches(labels ?? {}) === false) {
    errors.invalid("spec.template.metadata.labels", labels ?? null, "`selector` does not match template `labels`");
  }
  if (spec.completionMode === "Indexed" && (spec.completions ?? 0) > 0) {
    const host = `${metadata.name ?? ""}-${spec.completions! - 1}`;
    if (dns1123Label(host).length > 0) {
      const text = `will not able to create pod with invalid DNS label: ${host}`;
      errors.invalid("metadata.name", metadata.name, text);
    }
  }
  return errors.list;
}

/** With a generated selector, the labels that it is made of are ours. */
function checkGenerated(errors: Errors, { spec, metadata }: Job, labels: Readonly<Record<string, string>>): void {
  const uid = metadata.uid ?? "";
  const name = metadata.name ?? "";
  const own: Record<string, string> = {};
  for (const [key, expected] of [
    ["controller-uid", uid],
    ["job-name", name],
    ["batch.kubernetes.io/controller-uid", uid],
    ["batch.kubernetes.io/job-name", name],
  ] as const) {
    own[key] = expected;
    const path = `spec.template.metadata.labels`;
    if (labels[key] === undefined) errors.required(`${path}[${key}]`, `must be '${expected}'`);
    else if (labels[key] !== expected) errors.invalid(`${path}[${key}]`, labels, `must be '${expected}'`);
  }
  if (trySelector(spec?.selector)?.matches(own) === false) {
    errors.invalid("spec.selector", spec?.selector, "`selector` not auto-generated");
  }
}

const fixed = ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] as const;

export function validateJobUpdate(job: Job, old: Job, subresource?: string): FieldError[] {
  if (subresource === "status") return validateJobStatus(job, old);
  const errors = new Errors();
  const { spec } = job;
  const before = old.spec;
  if (!spec || !before) return errors.list;
  const { completions, parallelism } = spec;
  if (spec.completionMode !== "Indexed") {
    errors.immutable("spec.completions", completions ?? null, completions === before.completions);
  } else if (completions !== before.completions && completions !== undefined && completions !== parallelism) {
    errors.invalid("spec.completions", completions, "can only be modified in tandem with spec.parallelism");
  }
  errors.immutable("spec.selector", spec.selector ?? null, deepEqual(spec.selector, before.selector));
  checkTemplateUpdate(errors, spec, old);
  for (const field of fixed) {
    errors.immutable(`spec.${field}`, spec[field] ?? null, deepEqual(spec[field], before[field]));
  }
  return errors.list;
}

/** A job that stands still, and has no pods, may be told where and with what to run. */
function checkTemplateUpdate(errors: Errors, spec: JobSpec, old: Job): void {
  const before = old.spec!;
  const suspended = before.suspend === true;
  const settled = old.status?.conditions?.some(({ type, status }) => type === "Suspended" && status === "True");
  const mutable = suspended && settled === true && (old.status?.active ?? 0) === 0;
  const known = mutable ? withPlacement(before.template, spec.template) : before.template;
  if (!mutable) {
    errors.immutable("spec.template", spec.template, deepEqual(spec.template, known));
    return;
  }
  for (const field of ["containers", "initContainers"] as const) {
    const containers = spec.template.spec?.[field] ?? [];
    const kept = known.spec?.[field] ?? [];
    if (containers.length !== kept.length) continue;
    for (const [index, container] of kept.entries()) {
      const now = containers[index]!;
      if (now.name !== container.name) continue;
      if (now.resources) container.resources = structuredClone(now.resources);
      else delete container.resources;
    }
  }
  errors.immutable("spec.template.spec", spec.template.spec, deepEqual(spec.template.spec, known.spec));
}

/** A copy of the old template with what decides on the place taken from the new one. */
function withPlacement(old: PodTemplateSpec, now: PodTemplateSpec): PodTemplateSpec {
  const copy = structuredClone(old);
  const pod = copy.spec!;
  const { nodeAffinity } = now.spec?.affinity ?? {};
  if (pod.affinity || now.spec?.affinity) {
    const { nodeAffinity: _, ...rest } = pod.affinity ?? {};
    const affinity = { ...rest, ...(nodeAffinity && { nodeAffinity: structuredClone(nodeAffinity) }) };
    if (Object.keys(affinity).length > 0 || now.spec?.affinity) pod.affinity = affinity;
    else delete pod.affinity;
  }
  for (const field of ["nodeSelector", "tolerations", "schedulingGates"] as const) {
    const value = now.spec?.[field];
    if (value === undefined) delete pod[field];
    else Object.assign(pod, { [field]: structuredClone(value) });
  }
  return copy;
}

export function validateCronJob(job: CronJob): FieldError[] {
  const errors = new Errors();
  checkCronJob(errors, job, undefined);
  const name = job.metadata.name ?? "";
  if (Buffer.byteLength(name) > cronJobNameMax) {
    errors.invalid("metadata.name", name, `must be no more than ${cronJobNameMax} characters`);
  }
  return errors.list;
}

export function validateCronJobUpdate(job: CronJob, old: CronJob, subresource?: string): FieldError[] {
  const errors = new Errors();
  if (subresource === undefined) checkCronJob(errors, job, old);
  return errors.list;
}

function checkCronJob(errors: Errors, { spec }: CronJob, old: CronJob | undefined): void {
  if (!spec) return;
  if (errors.present("spec.schedule", spec.schedule)) checkSchedule(errors, spec, old);
  errors.nonNegative("spec.startingDeadlineSeconds", spec.startingDeadlineSeconds);
  if (spec.timeZone !== undefined && spec.timeZone !== old?.spec?.timeZone) checkTimeZone(errors, spec.timeZone);
  errors.oneOf("spec.concurrencyPolicy", spec.concurrencyPolicy, ["Allow", "Forbid", "Replace"]);
  const template = spec.jobTemplate?.spec;
  const at = "spec.jobTemplate.spec";
  checkJobSpec(errors, at, template ?? ({ template: {} } as JobSpec));
  if (template?.selector) errors.invalid(`${at}.selector`, template.selector, "`selector` will be auto-generated");
  if (template?.manualSelector) errors.notSupportedInOrder(`${at}.manualSelector`, true, ["nil", "false"]);
  errors.nonNegative("spec.successfulJobsHistoryLimit", spec.successfulJobsHistoryLimit);
  errors.nonNegative("spec.failedJobsHistoryLimit", spec.failedJobsHistoryLimit);
}

function checkSchedule(errors: Errors, spec: NonNullable<CronJob["spec"]>, old: CronJob | undefined): void {
  const { schedule, timeZone } = spec;
  const problem = scheduleProblem(schedule);
  if (problem) errors.invalid("spec.schedule", schedule, problem);
  if (!schedule.includes("TZ")) return;
  // Old objects may have it, from before there was a field.
  if (!old?.spec?.schedule.includes("TZ")) {
    errors.invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
  } else if (timeZone !== undefined) {
    errors.invalid("spec.schedule", schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
  }
}

function checkTimeZone(errors: Errors, zone: string): void {
  const path = "spec.timeZone";
  const unknown = `unknown time zone ${zone}`;
  if (zone === "") {
    errors.invalid(path, zone, "timeZone must be nil or non-empty string");
    return;
  }
  const bad = (part: string) => part === "." || part === ".." || !/^[A-Za-z._0-9+][A-Za-z.\-_0-9+]{0,13}$/.test(part);
  if (zone.split("/").some(bad)) {
    errors.invalid(path, zone, unknown);
    return;
  }
  if (zone.toLowerCase() === "local") {
    const text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    errors.invalid(path, zone, text);
  }
  if (zone !== "Local" && !isTimeZone(zone)) errors.invalid(path, zone, unknown);
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
