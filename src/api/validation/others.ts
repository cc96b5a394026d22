/** Kinds with a few rules each: disruption budgets, priority and runtime classes, leases. */
import { dns1123Label, maskTrailingDash, qualifiedName } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Lease } from "../generated/coordination-v1.ts";
import type { RuntimeClass } from "../generated/node-v1.ts";
import type { PodDisruptionBudget } from "../generated/policy-v1.ts";
import type { PriorityClass } from "../generated/scheduling-v1.ts";
import { checkConditions } from "./conditions.ts";
import { Errors } from "./errors.ts";
import { checkAtMost100Percent, checkIntOrPercent, checkLabelSelector, checkLabels } from "./labels.ts";
import { checkTolerations } from "./placement.ts";
import { checkOverhead } from "./pod-spec.ts";

/** Names of services are labels; since v1.36 they may begin with a digit. */
export function serviceName(name: string, prefix: boolean): string[] {
  return dns1123Label(prefix ? maskTrailingDash(name) : name);
}

export function validateDisruptionBudget({ spec }: PodDisruptionBudget): FieldError[] {
  const errors = new Errors();
  if (spec?.minAvailable !== undefined && spec.maxUnavailable !== undefined) {
    errors.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set");
  }
  for (const field of ["minAvailable", "maxUnavailable"] as const) {
    checkIntOrPercent(errors, `spec.${field}`, spec?.[field]);
    checkAtMost100Percent(errors, `spec.${field}`, spec?.[field]);
  }
  checkLabelSelector(errors, "spec.selector", spec?.selector);
  const policies = ["AlwaysAllow", "IfHealthyBudget"];
  errors.setOneOf("spec.unhealthyPodEvictionPolicy", spec?.unhealthyPodEvictionPolicy, policies);
  return errors.list;
}

export function validateDisruptionBudgetUpdate(
  { status }: PodDisruptionBudget,
  _old: PodDisruptionBudget,
  subresource?: string,
): FieldError[] {
  const errors = new Errors();
  if (subresource !== "status") return errors.list;
  checkConditions(errors, "status.conditions", status?.conditions ?? []);
  for (const field of ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] as const) {
    errors.nonNegative(`status.${field}`, status?.[field]);
  }
  return errors.list;
}

const highestUserPriority = 1_000_000_000;
const systemPriorities: Readonly<Record<string, number>> = {
  "system-cluster-critical": 2_000_000_000,
  "system-node-critical": 2_000_001_000,
};

/** Why a name is not one of the system's own classes; undefined when it is. */
function systemProblem(name: string, { value, globalDefault }: PriorityClass): string | undefined {
  const known = systemPriorities[name];
  if (known === undefined) return `${name} is not a known system priority class`;
  if (value !== known) return `value of ${name} PriorityClass must be ${known}`;
  return globalDefault ? `globalDefault of ${name} PriorityClass must be false` : undefined;
}

export function validatePriorityClass(priorityClass: PriorityClass): FieldError[] {
  const errors = new Errors();
  const { value = 0, preemptionPolicy } = priorityClass;
  const name = priorityClass.metadata.name ?? "";
  if (name.startsWith("system-")) {
    const problem = systemProblem(name, priorityClass);
    const text = "priority class names with 'system-' prefix are reserved for system use only. error:";
    if (problem) errors.forbidden("metadata.name", `${text} ${problem}`);
  } else if (value > highestUserPriority) {
    errors.forbidden("value", `maximum allowed value of a user defined priority is ${highestUserPriority}`);
  }
  if (preemptionPolicy !== undefined) {
    errors.oneOfInOrder("preemptionPolicy", preemptionPolicy, ["PreemptLowerPriority", "Never"]);
  }
  return errors.list;
}

export function validatePriorityClassUpdate(priorityClass: PriorityClass, old: PriorityClass): FieldError[] {
  const errors = new Errors();
  if ((priorityClass.value ?? 0) !== (old.value ?? 0)) errors.forbidden("value", "may not be changed in an update.");
  const { preemptionPolicy: policy } = priorityClass;
  errors.immutable("preemptionPolicy", policy ?? null, policy === old.preemptionPolicy);
  return errors.list;
}

export function validateRuntimeClass({ handler, overhead, scheduling }: RuntimeClass): FieldError[] {
  const errors = new Errors();
  if (errors.present("handler", handler)) errors.label("handler", handler);
  if (overhead) checkOverhead(errors, "overhead", overhead.podFixed);
  if (!scheduling) return errors.list;
  checkLabels(errors, "scheduling.nodeSelector", scheduling.nodeSelector);
  const tolerations = scheduling.tolerations ?? [];
  checkTolerations(errors, "scheduling.tolerations", tolerations);
  const seen = new Set<string>();
  for (const [index, toleration] of tolerations.entries()) {
    const { key, operator, value, effect } = toleration;
    const identity = JSON.stringify([key ?? "", operator ?? "", value ?? "", effect ?? ""]);
    if (seen.has(identity)) errors.duplicate(`scheduling.tolerations[${index}]`, toleration);
    seen.add(identity);
  }
  return errors.list;
}

export function validateRuntimeClassUpdate({ handler }: RuntimeClass, old: RuntimeClass): FieldError[] {
  const errors = new Errors();
  errors.immutable("handler", handler, handler === old.handler);
  return errors.list;
}

export function validateLease({ spec = {} }: Lease): FieldError[] {
  const errors = new Errors();
  const { leaseDurationSeconds: duration, leaseTransitions: transitions, strategy, preferredHolder } = spec;
  if (duration !== undefined && duration <= 0) {
    errors.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0");
  }
  errors.nonNegative("spec.leaseTransitions", transitions);
  // Kubernetes names the field twice.
  const path = "spec.strategy.strategy";
  if (strategy?.includes("/")) errors.messages(path, strategy, qualifiedName(strategy));
  else errors.setOneOf(path, strategy, ["OldestEmulationVersion"]);
  if (preferredHolder && !strategy) {
    errors.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined");
  }
  return errors.list;
}
