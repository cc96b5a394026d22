/** Where pods may run: affinity, spreading, tolerations, gates. */
import { dns1123Label, labelValue } from "../../machinery/names.ts";
import type {
  PodAffinityTerm,
  PodSchedulingGate,
  PodSpec,
  Toleration,
  TopologySpreadConstraint,
} from "../generated/core-v1.ts";
import type { LabelSelector } from "../generated/meta-v1.ts";
import type { Errors } from "./errors.ts";
import { checkLabelSelector } from "./labels.ts";
import { checkNodeSelector, checkNodeSelectorTerm } from "./node-selector.ts";

const required = "requiredDuringSchedulingIgnoredDuringExecution";
const preferred = "preferredDuringSchedulingIgnoredDuringExecution";

export function checkAffinity(errors: Errors, path: string, { affinity }: PodSpec): void {
  const node = affinity?.nodeAffinity;
  const nodeAt = `${path}.nodeAffinity`;
  if (node?.[required]) checkNodeSelector(errors, `${nodeAt}.${required}`, node[required]);
  for (const [index, term] of (node?.[preferred] ?? []).entries()) {
    const at = `${nodeAt}.${preferred}[${index}]`;
    checkWeight(errors, at, term.weight);
    checkNodeSelectorTerm(errors, `${at}.preference`, term.preference, true);
  }
  for (const field of ["podAffinity", "podAntiAffinity"] as const) {
    const terms = affinity?.[field];
    for (const [index, term] of (terms?.[required] ?? []).entries()) {
      checkPodTerm(errors, `${path}.${field}.${required}[${index}]`, term);
    }
    for (const [index, weighted] of (terms?.[preferred] ?? []).entries()) {
      const at = `${path}.${field}.${preferred}[${index}]`;
      checkWeight(errors, at, weighted.weight);
      checkPodTerm(errors, `${at}.podAffinityTerm`, weighted.podAffinityTerm);
    }
  }
}

function checkWeight(errors: Errors, at: string, weight: number): void {
  if (weight < 1 || weight > 100) errors.invalid(`${at}.weight`, weight, "must be in the range 1-100");
}

function checkPodTerm(errors: Errors, at: string, term: PodAffinityTerm): void {
  checkLabelSelector(errors, `${at}.labelSelector`, term.labelSelector);
  checkLabelSelector(errors, `${at}.namespaceSelector`, term.namespaceSelector);
  for (const name of term.namespaces ?? []) errors.messages(`${at}.namespace`, name, dns1123Label(name));
  checkKeys(errors, at, term.matchLabelKeys ?? [], term.mismatchLabelKeys ?? [], term.labelSelector);
  errors.present(`${at}.topologyKey`, term.topologyKey, "can not be empty");
  errors.qualified(`${at}.topologyKey`, term.topologyKey);
}

/** Keys whose values are taken from the pod; they become part of the selector. */
function checkKeys(
  errors: Errors,
  at: string,
  match: readonly string[],
  mismatch: readonly string[],
  selector: LabelSelector | undefined,
): void {
  for (const [field, keys] of [
    ["matchLabelKeys", match],
    ["mismatchLabelKeys", mismatch],
  ] as const) {
    if (keys.length > 0 && !selector) {
      errors.forbidden(`${at}.${field}`, "must not be specified when labelSelector is not set");
      continue;
    }
    for (const [index, key] of keys.entries()) errors.qualified(`${at}.${field}[${index}]`, key);
  }
  const seen = new Set(Object.keys(selector?.matchLabels ?? {}));
  for (const { key } of selector?.matchExpressions ?? []) {
    const index = match.lastIndexOf(key);
    if (index >= 0 && seen.has(key)) {
      errors.invalid(`${at}[${index}]`, key, "exists in both matchLabelKeys and labelSelector");
    }
    seen.add(key);
  }
  for (const [index, key] of match.entries()) {
    if (!mismatch.includes(key)) continue;
    errors.invalid(`${at}.matchLabelKeys[${index}]`, key, "exists in both matchLabelKeys and mismatchLabelKeys");
  }
}

const actions = ["DoNotSchedule", "ScheduleAnyway"];

export function checkSpreading(errors: Errors, path: string, spec: PodSpec): void {
  const constraints = spec.topologySpreadConstraints ?? [];
  for (const [index, constraint] of constraints.entries()) {
    const at = `${path}[${index}]`;
    const { topologyKey, whenUnsatisfiable, minDomains, labelSelector } = constraint;
    errors.positive(`${at}.maxSkew`, constraint.maxSkew);
    errors.present(`${at}.topologyKey`, topologyKey, "can not be empty");
    errors.setOneOf(`${at}.whenUnsatisfiable`, whenUnsatisfiable ?? "", actions);
    const same = (other: TopologySpreadConstraint) =>
      other.topologyKey === topologyKey && other.whenUnsatisfiable === whenUnsatisfiable;
    if (constraints.slice(index + 1).some(same)) {
      errors.duplicate(`${at}.{topologyKey, whenUnsatisfiable}`, `{${topologyKey}, ${whenUnsatisfiable}}`);
    }
    if (minDomains !== undefined) {
      errors.positive(`${at}.minDomains`, minDomains);
      if (whenUnsatisfiable !== "DoNotSchedule") {
        const text = `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${whenUnsatisfiable}`;
        errors.invalid(`${at}.minDomains`, minDomains, text);
      }
    }
    for (const field of ["nodeAffinityPolicy", "nodeTaintsPolicy"] as const) {
      errors.setOneOf(`${at}.${field}`, constraint[field], ["Honor", "Ignore"]);
    }
    checkKeys(errors, at, constraint.matchLabelKeys ?? [], [], labelSelector);
    checkLabelSelector(errors, `${at}.labelSelector`, labelSelector);
  }
}

export const taintEffects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

export function checkTolerations(errors: Errors, path: string, tolerations: readonly Toleration[]): void {
  for (const [index, { key, operator, value, effect, tolerationSeconds }] of tolerations.entries()) {
    const at = `${path}[${index}]`;
    if (key) errors.qualified(`${at}.key`, key);
    else if (operator !== "Exists") {
      const text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"';
      errors.invalid(`${at}.operator`, operator ?? "", text);
    }
    if (tolerationSeconds !== undefined && effect !== "NoExecute") {
      errors.invalid(`${at}.effect`, effect ?? "", "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    if (!operator || operator === "Equal") {
      const messages = labelValue(value ?? "");
      if (messages.length > 0) errors.invalid(`${at}.operator`, value, messages.join(";"));
    } else if (operator === "Exists") {
      if (value) errors.invalid(`${at}.operator`, value, "value must be empty when `operator` is 'Exists'");
    } else {
      const comparing = operator === "Lt" || operator === "Gt" ? ["Lt", "Gt"] : [];
      errors.notSupportedInOrder(`${at}.operator`, operator, ["Equal", "Exists", ...comparing]);
    }
    if (effect && !taintEffects.includes(effect)) errors.notSupportedInOrder(`${at}.effect`, effect, taintEffects);
  }
}

export function checkGates(errors: Errors, path: string, gates: readonly PodSchedulingGate[]): void {
  const seen = new Set<string>();
  for (const [index, { name }] of gates.entries()) {
    errors.qualified(`${path}[${index}]`, name);
    if (seen.has(name)) errors.duplicate(`${path}[${index}]`, name);
    seen.add(name);
  }
}
