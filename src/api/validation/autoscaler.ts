import { pathSegmentName } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  CrossVersionObjectReference,
  HorizontalPodAutoscaler,
  HPAScalingRules,
  MetricIdentifier,
  MetricSpec,
  MetricTarget,
} from "../generated/autoscaling-v2.ts";
import { Errors } from "./errors.ts";
import { checkContainerResourceName } from "./resource-names.ts";

const maxPeriodSeconds = 1800;
const maxWindowSeconds = 3600;

function checkReference(
  errors: Errors,
  at: string,
  reference: CrossVersionObjectReference | undefined,
  any: boolean,
): void {
  for (const field of ["kind", "name"] as const) {
    const value = reference?.[field] ?? "";
    if (errors.present(`${at}.${field}`, value)) errors.messages(`${at}.${field}`, value, pathSegmentName(value));
  }
  const version = reference?.apiVersion ?? "";
  const slashes = version.split("/").length - 1;
  const path = `${at}.apiVersion`;
  if (slashes > 1) errors.invalid(path, version, `unexpected GroupVersion string: ${version}`);
  else if (!any && (slashes === 0 || version.startsWith("/"))) {
    errors.invalid(path, version, "apiVersion must specify API group");
  }
}

/** What scales and what is measured were not always checked so strictly: what is wrong in `old` may stay. */
function checkSpec(errors: Errors, { spec }: HorizontalPodAutoscaler, old?: HorizontalPodAutoscaler): void {
  if (!spec) return;
  const { minReplicas, maxReplicas } = spec;
  // HPAScaleToZero is off by default.
  if (minReplicas !== undefined && minReplicas < 1) {
    errors.invalid("spec.minReplicas", minReplicas, "must be greater than or equal to 1");
  }
  if (!maxReplicas) errors.required("spec.maxReplicas", "must be set and greater than 0");
  else if (maxReplicas < 0) errors.invalid("spec.maxReplicas", maxReplicas, "must be greater than or equal to 1");
  if (minReplicas !== undefined && (maxReplicas ?? 0) < minReplicas) {
    errors.invalid("spec.maxReplicas", maxReplicas ?? 0, "must be greater than or equal to `minReplicas`");
  }
  const before = new Errors();
  if (old) checkReference(before, "spec.scaleTargetRef", old.spec?.scaleTargetRef, false);
  const lenient = before.list.some(({ field }) => field.endsWith(".apiVersion"));
  checkReference(errors, "spec.scaleTargetRef", spec.scaleTargetRef, lenient);
  for (const [index, metric] of (spec.metrics ?? []).entries()) checkMetric(errors, `spec.metrics[${index}]`, metric);
  if (minReplicas === 0 && !spec.metrics?.some(({ type }) => type === "Object" || type === "External")) {
    const text = "must specify at least one Object or External metric to support scaling to zero replicas";
    errors.forbidden("spec.metrics", text);
  }
  for (const field of ["scaleUp", "scaleDown"] as const) {
    const rules = spec.behavior?.[field];
    if (rules) checkRules(errors, `spec.behavior.${field}`, rules);
  }
}

function checkRules(errors: Errors, at: string, rules: HPAScalingRules): void {
  const window = rules.stabilizationWindowSeconds;
  const path = `${at}.stabilizationWindowSeconds`;
  if (window !== undefined && window < 0) errors.invalid(path, window, "must be greater than or equal to zero");
  if (window !== undefined && window > maxWindowSeconds) {
    errors.invalid(path, window, `must be less than or equal to ${maxWindowSeconds}`);
  }
  errors.setOneOf(`${at}.selectPolicy`, rules.selectPolicy, ["Disabled", "Max", "Min"]);
  errors.present(`${at}.policies`, rules.policies, "must specify at least one Policy");
  for (const [index, { type, value, periodSeconds }] of (rules.policies ?? []).entries()) {
    const policy = `${at}.policies[${index}]`;
    errors.setOneOf(`${policy}.type`, type ?? "", ["Percent", "Pods"]);
    errors.positive(`${policy}.value`, value ?? 0);
    errors.positive(`${policy}.periodSeconds`, periodSeconds ?? 0);
    if (periodSeconds > maxPeriodSeconds) {
      errors.invalid(`${policy}.periodSeconds`, periodSeconds, `must be less than or equal to ${maxPeriodSeconds}`);
    }
  }
  if (rules.tolerance !== undefined && parseQuantity(rules.tolerance).sign < 0) {
    errors.invalid(`${at}.tolerance`, rules.tolerance, "must be greater than or equal to 0");
  }
}

const sourceTypes: Readonly<Record<string, "object" | "external" | "pods" | "resource" | "containerResource">> = {
  Object: "object",
  External: "external",
  Pods: "pods",
  Resource: "resource",
  ContainerResource: "containerResource",
};

function checkMetric(errors: Errors, at: string, metric: MetricSpec): void {
  const type = metric.type ?? "";
  const known = Object.hasOwn(sourceTypes, type);
  const unknown = () => errors.notSupported(`${at}.type`, type, Object.keys(sourceTypes));
  if (type === "") errors.required(`${at}.type`, "must specify a metric source type");
  if (!known) unknown();
  const given = Object.values(sourceTypes).filter((field) => metric[field]);
  if (given[0]) checkSource(errors, `${at}.${given[0]}`, given[0], metric);
  const expected = sourceTypes[type];
  if (!known) unknown();
  else if (!metric[expected!]) {
    errors.required(`${at}.${expected}`, "must populate information for the given metric source");
  }
  if (given.length === 1) return;
  for (const field of given) {
    if (field !== expected) errors.forbidden(`${at}.${field}`, "must populate the given metric source only");
  }
}

function checkSource(errors: Errors, at: string, field: string, metric: MetricSpec): void {
  if (field === "object") {
    const source = metric.object!;
    checkReference(errors, `${at}.describedObject`, source.describedObject, true);
    checkIdentifier(errors, `${at}.metric`, source.metric);
    checkTarget(errors, `${at}.target`, source.target);
    if (source.target?.value === undefined && source.target?.averageValue === undefined) {
      errors.required(`${at}.target.averageValue`, "must set either a target value or averageValue");
    }
  } else if (field === "external") {
    const source = metric.external!;
    checkIdentifier(errors, `${at}.metric`, source.metric);
    checkTarget(errors, `${at}.target`, source.target);
    const { value, averageValue } = source.target ?? {};
    if (value === undefined && averageValue === undefined) {
      errors.required(`${at}.target.averageValue`, "must set either a target value for metric or a per-pod target");
    }
    if (value !== undefined && averageValue !== undefined) {
      errors.forbidden(`${at}.target.value`, "may not set both a target value for metric and a per-pod target");
    }
  } else if (field === "pods") {
    const source = metric.pods!;
    checkIdentifier(errors, `${at}.metric`, source.metric);
    checkTarget(errors, `${at}.target`, source.target);
    if (source.target?.averageValue === undefined) {
      errors.required(`${at}.target.averageValue`, "must specify a positive target averageValue");
    }
  } else checkResourceSource(errors, at, metric);
}

function checkResourceSource(errors: Errors, at: string, metric: MetricSpec): void {
  const source = metric.resource ?? metric.containerResource!;
  if (errors.present(`${at}.name`, source.name, "must specify a resource name") && !metric.resource) {
    checkContainerResourceName(errors, `${at}.name`, source.name);
  }
  if (!metric.resource) {
    const { container } = metric.containerResource!;
    if (errors.present(`${at}.container`, container, "must specify a container")) {
      errors.label(`${at}.container`, container);
    }
  }
  checkTarget(errors, `${at}.target`, source.target);
  const { averageUtilization, averageValue } = source.target ?? {};
  if (averageUtilization === undefined && averageValue === undefined) {
    const text = "must set either a target raw value or a target utilization";
    errors.required(`${at}.target.averageUtilization`, text);
  }
  if (averageUtilization !== undefined && averageValue !== undefined) {
    errors.forbidden(`${at}.target.averageValue`, "may not set both a target raw value and a target utilization");
  }
}

function checkTarget(errors: Errors, at: string, target: MetricTarget | undefined): void {
  const type = target?.type ?? "";
  errors.present(`${at}.type`, type, "must specify a metric target type");
  if (!["Utilization", "Value", "AverageValue"].includes(type)) {
    errors.invalid(`${at}.type`, type, "must be either Utilization, Value, or AverageValue");
  }
  for (const field of ["value", "averageValue"] as const) {
    const value = target?.[field];
    if (value !== undefined && parseQuantity(value).sign <= 0)
      errors.invalid(`${at}.${field}`, value, "must be positive");
  }
  const utilization = target?.averageUtilization;
  if (utilization !== undefined && utilization < 1) {
    errors.invalid(`${at}.averageUtilization`, utilization, "must be greater than 0");
  }
}

function checkIdentifier(errors: Errors, at: string, metric: MetricIdentifier | undefined): void {
  const name = metric?.name ?? "";
  if (errors.present(`${at}.name`, name, "must specify a metric name")) {
    errors.messages(`${at}.name`, name, pathSegmentName(name));
  }
}

export function validateAutoscaler(autoscaler: HorizontalPodAutoscaler): FieldError[] {
  const errors = new Errors();
  checkSpec(errors, autoscaler);
  return errors.list;
}

export function validateAutoscalerUpdate(
  autoscaler: HorizontalPodAutoscaler,
  old: HorizontalPodAutoscaler,
  subresource?: string,
): FieldError[] {
  const errors = new Errors();
  if (subresource === undefined) checkSpec(errors, autoscaler, old);
  else {
    for (const field of ["currentReplicas", "desiredReplicas"] as const) {
      errors.nonNegative(`status.${field}`, autoscaler.status?.[field]);
    }
  }
  return errors.list;
}
