import { makeRequirement, matchesRequirement, operatorOf } from "../../machinery/label-selector.ts";
import type { KubeObject } from "../../machinery/object.ts";
import type {
  PersistentVolumeClaim,
  Pod,
  PodAffinityTerm,
  ResourceQuotaSpec,
  ScopedResourceSelectorRequirement,
} from "../generated/core-v1.ts";
import { qosClass } from "../pod/qos.ts";

/** Which kind of object a request or a count is about. */
export interface Counted {
  readonly group: string;
  readonly resource: string;
}

/** All scopes of a quota as requirements: a plain scope asks that it applies. */
function requirementsOf(spec: ResourceQuotaSpec | undefined): ScopedResourceSelectorRequirement[] {
  return [
    ...(spec?.scopes ?? []).map((scopeName) => ({ scopeName, operator: "Exists" })),
    ...(spec?.scopeSelector?.matchExpressions ?? []),
  ];
}

/** Does an object lie in all scopes of a quota? Kinds that know no scopes lie in none. */
export function inScopes(spec: ResourceQuotaSpec | undefined, counted: Counted, object: KubeObject): boolean {
  return requirementsOf(spec).every((requirement) => {
    if (counted.group !== "") return false;
    if (counted.resource === "pods") return podInScope(requirement, object as Pod);
    if (counted.resource === "persistentvolumeclaims")
      return claimInScope(requirement, object as PersistentVolumeClaim);
    return false;
  });
}

/** Is a pod one that ends by itself at a deadline? */
export function hasDeadline(pod: Pod): boolean {
  const deadline = pod.spec?.activeDeadlineSeconds;
  return deadline !== undefined && Number(deadline) >= 0;
}

function podInScope(requirement: ScopedResourceSelectorRequirement, pod: Pod): boolean {
  const { scopeName, operator } = requirement;
  switch (scopeName) {
    case "Terminating":
      return hasDeadline(pod);
    case "NotTerminating":
      return !hasDeadline(pod);
    case "BestEffort":
      return isBestEffort(pod);
    case "NotBestEffort":
      return !isBestEffort(pod);
    case "PriorityClass": {
      const name = pod.spec?.priorityClassName;
      if (operator === "Exists") return Boolean(name);
      return matches(requirement, name ? [name] : []);
    }
    case "CrossNamespacePodAffinity":
      return reachesOtherNamespaces(pod);
    default:
      return false;
  }
}

function isBestEffort(pod: Pod): boolean {
  return (pod.status?.qosClass ?? (pod.spec ? qosClass(pod.spec) : undefined)) === "BestEffort";
}

function claimInScope(requirement: ScopedResourceSelectorRequirement, claim: PersistentVolumeClaim): boolean {
  if (requirement.scopeName !== "VolumeAttributesClass") return false;
  const { spec, status } = claim;
  const names = [
    spec?.volumeAttributesClassName,
    status?.currentVolumeAttributesClassName,
    status?.modifyVolumeStatus?.targetVolumeAttributesClassName,
  ].filter((name): name is string => Boolean(name));
  return requirement.operator === "Exists" ? names.length > 0 : matches(requirement, names);
}

/** Does any of the values fit; with none: does their absence? */
function matches(
  { scopeName, operator, values }: ScopedResourceSelectorRequirement,
  names: readonly string[],
): boolean {
  const rule = makeRequirement(scopeName, operatorOf(operator), values ?? []);
  if (names.length === 0) return matchesRequirement(rule, {});
  return names.some((name) => matchesRequirement(rule, { [scopeName]: name }));
}

function reachesOtherNamespaces({ spec }: Pod): boolean {
  const { podAffinity, podAntiAffinity } = spec?.affinity ?? {};
  const reaches = (term: PodAffinityTerm) => (term.namespaces ?? []).length > 0 || term.namespaceSelector !== undefined;
  return [podAffinity, podAntiAffinity].some(
    (affinity) =>
      affinity?.requiredDuringSchedulingIgnoredDuringExecution?.some(reaches) ||
      affinity?.preferredDuringSchedulingIgnoredDuringExecution?.some(({ podAffinityTerm }) =>
        reaches(podAffinityTerm),
      ),
  );
}
