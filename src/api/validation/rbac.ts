import { dns1123Subdomain, pathSegmentName } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { ClusterRole, PolicyRule, Role, RoleRef, Subject } from "../generated/rbac-v1.ts";
import { sameJson } from "../strategy.ts";
import { Errors } from "./errors.ts";
import { checkLabelSelector, trySelector } from "./labels.ts";

const group = "rbac.authorization.k8s.io";

function checkRule(errors: Errors, at: string, rule: PolicyRule, namespaced: boolean): void {
  if (!rule.verbs?.length) errors.required(`${at}.verbs`, "verbs must contain at least one value");
  if (rule.nonResourceURLs?.length) {
    const path = `${at}.nonResourceURLs`;
    if (namespaced) errors.invalid(path, rule.nonResourceURLs, "namespaced rules cannot apply to non-resource URLs");
    if (rule.apiGroups?.length || rule.resources?.length || rule.resourceNames?.length) {
      const text = "rules cannot apply to both regular resources and non-resource URLs";
      errors.invalid(path, rule.nonResourceURLs, text);
    }
    return;
  }
  if (!rule.apiGroups?.length) errors.required(`${at}.apiGroups`, "resource rules must supply at least one api group");
  if (!rule.resources?.length) errors.required(`${at}.resources`, "resource rules must supply at least one resource");
}

export function validateRole(role: Role): FieldError[] {
  const errors = new Errors();
  for (const [index, rule] of (role.rules ?? []).entries()) checkRule(errors, `rules[${index}]`, rule, true);
  return errors.list;
}

export function validateClusterRole(role: ClusterRole): FieldError[] {
  const errors = new Errors();
  for (const [index, rule] of (role.rules ?? []).entries()) checkRule(errors, `rules[${index}]`, rule, false);
  const path = "aggregationRule.clusterRoleSelectors";
  if (role.aggregationRule && !role.aggregationRule.clusterRoleSelectors?.length) {
    errors.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
  }
  for (const [index, selector] of (role.aggregationRule?.clusterRoleSelectors ?? []).entries()) {
    checkLabelSelector(errors, `${path}[${index}]`, selector);
    if (!trySelector(selector)) errors.invalid(`${path}[${index}]`, null, "invalid label selector.");
  }
  return errors.list;
}

interface Binding {
  roleRef: RoleRef;
  subjects?: Subject[];
}

/** Checks a binding; one of a namespace may refer to roles, one of the cluster to cluster roles only. */
export function validateBinding(namespaced: boolean): (binding: Binding) => FieldError[] {
  const roleKinds = namespaced ? ["Role", "ClusterRole"] : ["ClusterRole"];
  return ({ roleRef, subjects }) => {
    const errors = new Errors();
    if (roleRef.apiGroup !== group) errors.notSupported("roleRef.apiGroup", roleRef.apiGroup, [group]);
    if (!roleKinds.includes(roleRef.kind)) errors.notSupportedInOrder("roleRef.kind", roleRef.kind, roleKinds);
    if (!roleRef.name) errors.required("roleRef.name");
    else errors.messages("roleRef.name", roleRef.name, pathSegmentName(roleRef.name));
    for (const [index, subject] of (subjects ?? []).entries()) {
      checkSubject(errors, `subjects[${index}]`, subject, namespaced);
    }
    return errors.list;
  };
}

function checkSubject(errors: Errors, at: string, subject: Subject, namespaced: boolean): void {
  if (!subject.name) errors.required(`${at}.name`);
  switch (subject.kind) {
    case "ServiceAccount":
      if (subject.name) errors.messages(`${at}.name`, subject.name, dns1123Subdomain(subject.name));
      if (subject.apiGroup) errors.notSupported(`${at}.apiGroup`, subject.apiGroup, [""]);
      if (!namespaced && !subject.namespace) errors.required(`${at}.namespace`);
      break;
    case "User":
    case "Group":
      if (subject.apiGroup !== group) errors.notSupported(`${at}.apiGroup`, subject.apiGroup, [group]);
      break;
    default:
      errors.notSupportedInOrder(`${at}.kind`, subject.kind, ["ServiceAccount", "User", "Group"]);
  }
}

export function validateBindingUpdate(binding: Binding, old: Binding): FieldError[] {
  const errors = new Errors();
  if (!sameJson(binding.roleRef, old.roleRef)) errors.invalid("roleRef", binding.roleRef, "cannot change roleRef");
  return errors.list;
}
