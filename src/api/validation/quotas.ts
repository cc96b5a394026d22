/** LimitRanges and ResourceQuotas. */
import { qualifiedName } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { LimitRange, LimitRangeItem, ResourceQuota, ResourceQuotaSpec } from "../generated/core-v1.ts";
import { Errors } from "./errors.ts";
import {
  checkContainerResourceName,
  checkResourceName,
  checkResourceQuantity,
  isOvercommitAllowed,
  isQuotaResource,
} from "./resource-names.ts";

const limitTypes = ["Container", "PersistentVolumeClaim", "Pod"];

export function validateLimitRange({ spec }: LimitRange): FieldError[] {
  const errors = new Errors();
  const types = new Set<string>();
  for (const [index, item] of (spec?.limits ?? []).entries()) {
    const at = `spec.limits[${index}]`;
    const messages = qualifiedName(item.type);
    errors.messages(`${at}.type`, item.type, messages);
    if (messages.length === 0 && !item.type.includes("/") && !limitTypes.includes(item.type)) {
      errors.invalid(`${at}.type`, item.type, "must be a standard limit type or fully qualified");
    }
    if (types.has(item.type)) errors.duplicate(`${at}.type`, item.type);
    types.add(item.type);
    checkLimits(errors, at, item);
  }
  return errors.list;
}

const limitFields = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] as const;

function checkLimits(errors: Errors, at: string, item: LimitRangeItem): void {
  const checkName = item.type === "Pod" || item.type === "Container" ? checkContainerResourceName : checkResourceName;
  const names = new Set<string>();
  const claimsStorage = item.min?.["storage"] !== undefined || item.max?.["storage"] !== undefined;
  for (const field of limitFields) {
    if (field === "maxLimitRequestRatio" && item.type === "PersistentVolumeClaim" && !claimsStorage) {
      const text = "either minimum or maximum storage value is required, but neither was provided";
      errors.required(`${at}.limits`, text);
    }
    const amounts = Object.keys(item[field] ?? {});
    if (item.type === "Pod" && (field === "default" || field === "defaultRequest")) {
      if (amounts.length > 0) errors.forbidden(`${at}.${field}`, "may not be specified when `type` is 'Pod'");
      continue;
    }
    for (const name of amounts) {
      checkName(errors, `${at}.${field}[${name}]`, name);
      names.add(name);
    }
  }
  for (const name of names) checkAmounts(errors, at, item, name);
}

/** The amounts of one resource, in order: min ≤ defaultRequest ≤ default ≤ max. */
function checkAmounts(errors: Errors, at: string, item: LimitRangeItem, name: string): void {
  // Only own keys: a resource may be called "constructor".
  const amount = (of: Readonly<Record<string, string>> = {}) => (Object.hasOwn(of, name) ? of[name] : undefined);
  const [limit, request] = item.type === "Pod" ? [] : [amount(item.default), amount(item.defaultRequest)];
  const [min, max, ratio] = [amount(item.min), amount(item.max), amount(item.maxLimitRequestRatio)];
  const exceeds = (a: string | undefined, b: string | undefined) =>
    a !== undefined && b !== undefined && parseQuantity(a).compare(parseQuantity(b)) > 0;
  const invalid = (field: string, value: string | undefined, text: string) =>
    errors.invalid(`${at}.${field}[${name}]`, value, text);
  if (exceeds(min, max)) invalid("min", min, `min value ${min} is greater than max value ${max}`);
  if (exceeds(min, request)) {
    invalid("defaultRequest", request, `min value ${min} is greater than default request value ${request}`);
  }
  if (exceeds(request, max)) {
    invalid("defaultRequest", request, `default request value ${request} is greater than max value ${max}`);
  }
  if (exceeds(request, limit)) {
    invalid("defaultRequest", request, `default request value ${request} is greater than default limit value ${limit}`);
  }
  if (exceeds(min, limit)) invalid("default", min, `min value ${min} is greater than default value ${limit}`);
  if (exceeds(limit, max)) invalid("default", max, `default value ${limit} is greater than max value ${max}`);
  if (ratio !== undefined) {
    if (exceeds("1", ratio)) invalid("maxLimitRequestRatio", ratio, `ratio ${ratio} is less than 1`);
    if (min !== undefined && max !== undefined) {
      const greatest = parseQuantity(max).toNumber() / parseQuantity(min).toNumber();
      if (parseQuantity(ratio).toNumber() > greatest) {
        const text = `ratio ${ratio} is greater than max/min = ${greatest.toFixed(6)}`;
        invalid("maxLimitRequestRatio", ratio, text);
      }
    }
  }
  if (isOvercommitAllowed(name) || limit === undefined || request === undefined) return;
  if (parseQuantity(limit).compare(parseQuantity(request)) !== 0) {
    const text = `default value ${limit} must equal to defaultRequest value ${request} in ${name}`;
    invalid("defaultRequest", request, text);
  }
}

const podCompute = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

/** What each scope may limit. */
const scopes: Readonly<Record<string, readonly string[]>> = {
  Terminating: ["pods", ...podCompute],
  NotTerminating: ["pods", ...podCompute],
  NotBestEffort: ["pods", ...podCompute],
  PriorityClass: ["pods", ...podCompute],
  CrossNamespacePodAffinity: ["pods", ...podCompute],
  BestEffort: ["pods"],
  VolumeAttributesClass: ["persistentvolumeclaims", "requests.storage"],
};

function checkAmountsByName(errors: Errors, path: string, amounts: Readonly<Record<string, string>> | undefined): void {
  for (const [name, quantity] of Object.entries(amounts ?? {})) {
    const at = `${path}[${name}]`;
    checkResourceName(errors, at, name);
    if (!name.includes("/") && !isQuotaResource(name)) {
      errors.invalid(at, name, "must be a standard resource for quota");
    }
    checkResourceQuantity(errors, at, name, quantity);
  }
}

/** Scopes that do not go together, and those that cannot limit what is to be limited. */
function checkScopes(
  errors: Errors,
  spec: ResourceQuotaSpec,
  names: readonly string[],
  { path, value, one }: { path: string; value: unknown; one: (scope: string, index: number) => void },
): void {
  const limited = Object.keys(spec.hard ?? {}).filter(isQuotaResource);
  for (const [index, scope] of names.entries()) {
    const allowed = scopes[scope];
    one(scope, index);
    for (const name of limited) {
      if (allowed && !allowed.includes(name)) errors.invalid(path, value, "unsupported scope applied to resource");
    }
  }
}

function checkConflicts(errors: Errors, path: string, names: readonly string[], value: unknown): void {
  for (const [a, b] of [
    ["BestEffort", "NotBestEffort"],
    ["Terminating", "NotTerminating"],
  ] as const) {
    if (names.includes(a) && names.includes(b)) errors.invalid(path, value, "conflicting scopes");
  }
}

const existsOnly =
  "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

function checkQuotaSpec(errors: Errors, spec: ResourceQuotaSpec): void {
  checkAmountsByName(errors, "spec.hard", spec.hard);
  const names = spec.scopes ?? [];
  checkScopes(errors, spec, names, {
    path: "spec.scopes",
    value: names,
    one(scope) {
      if (!scopes[scope]) errors.invalid("spec.scopes", names, "unsupported scope");
    },
  });
  checkConflicts(errors, "spec.scopes", names, names);
  const expressions = spec.scopeSelector?.matchExpressions ?? [];
  const selected = expressions.map(({ scopeName }) => scopeName);
  const path = "spec.scopeSelector.matchExpressions";
  for (const expression of expressions) {
    const { scopeName, operator, values = [] } = expression;
    checkScopes(errors, spec, [scopeName], {
      path,
      value: spec.scopeSelector,
      one() {
        if (!scopes[scopeName]) errors.invalid(`${path}.scopeName`, scopeName, "unsupported scope");
      },
    });
    const classed = scopeName === "PriorityClass" || scopeName === "VolumeAttributesClass";
    if (scopes[scopeName] && !classed && operator !== "Exists") {
      errors.invalid(`${path}.operator`, operator, existsOnly);
    }
    if (operator === "In" || operator === "NotIn") {
      const text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
      errors.present(`${path}.values`, values, text);
    } else if (operator === "Exists" || operator === "DoesNotExist") {
      if (values.length > 0) {
        const text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
        errors.invalid(`${path}.values`, values, text);
      }
    } else errors.invalid(`${path}.operator`, operator, "not a valid selector operator");
  }
  checkConflicts(errors, path, selected, spec.scopes ?? null);
}

export function validateQuota({ spec }: ResourceQuota): FieldError[] {
  const errors = new Errors();
  checkQuotaSpec(errors, spec ?? {});
  return errors.list;
}

export function validateQuotaUpdate(quota: ResourceQuota, old: ResourceQuota, subresource?: string): FieldError[] {
  const errors = new Errors();
  if (subresource === "status") {
    checkAmountsByName(errors, "status.hard", quota.status?.hard);
    checkAmountsByName(errors, "status.used", quota.status?.used);
    return errors.list;
  }
  const now = new Set(quota.spec?.scopes);
  const before = new Set(old.spec?.scopes);
  errors.immutable("spec.scopes", quota.spec?.scopes ?? null, now.symmetricDifference(before).size === 0);
  return errors.list;
}
