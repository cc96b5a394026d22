import { pathSegmentName } from "../../machinery/names.ts";
import type {
  MatchResources,
  NamedRuleWithOperations,
  RuleWithOperations,
} from "../generated/admissionregistration-v1.ts";
import type { Errors } from "./errors.ts";
import { checkLabelSelector } from "./labels.ts";

const operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const scopes = ["*", "Cluster", "Namespaced"];

/** Where there are several, none may mean all. */
function checkWildcard(errors: Errors, path: string, values: readonly string[] | undefined, others: string): void {
  if (!values || values.length < 2 || !values.includes("*")) return;
  errors.invalid(path, values, `if '*' is present, must not specify other ${others}`);
}

/** Which requests a webhook or a policy is for. */
export function checkRuleWithOperations(errors: Errors, path: string, rule: RuleWithOperations): void {
  if (!rule.operations?.length) errors.required(`${path}.operations`);
  checkWildcard(errors, `${path}.operations`, rule.operations, "operations");
  for (const [i, operation] of (rule.operations ?? []).entries()) {
    if (!operations.includes(operation)) errors.notSupported(`${path}.operations[${i}]`, operation, operations);
  }
  if (!rule.apiGroups?.length) errors.required(`${path}.apiGroups`);
  checkWildcard(errors, `${path}.apiGroups`, rule.apiGroups, "API groups");
  if (!rule.apiVersions?.length) errors.required(`${path}.apiVersions`);
  checkWildcard(errors, `${path}.apiVersions`, rule.apiVersions, "API versions");
  for (const [i, version] of (rule.apiVersions ?? []).entries()) {
    if (version === "") errors.required(`${path}.apiVersions[${i}]`);
  }
  checkResources(errors, `${path}.resources`, rule.resources ?? []);
  if (rule.scope !== undefined && !scopes.includes(rule.scope)) {
    errors.notSupported(`${path}.scope`, rule.scope, scopes);
  }
}

/** Patterns of resources with subresources must not say the same twice. */
function checkResources(errors: Errors, path: string, resources: readonly string[]): void {
  if (resources.length === 0) errors.required(path);
  const allSubresourcesOf = new Set<string>();
  const subresourcesOfAll = new Set<string>();
  let single = false;
  for (const [i, pattern] of resources.entries()) {
    const at = `${path}[${i}]`;
    if (pattern === "") {
      errors.required(at);
      continue;
    }
    const slash = pattern.indexOf("/");
    if (slash < 0) {
      single = pattern !== "*";
      continue;
    }
    const resource = pattern.slice(0, slash);
    const subresource = pattern.slice(slash + 1);
    if (allSubresourcesOf.has(resource)) {
      errors.invalid(at, pattern, `if '${resource}/*' is present, must not specify ${pattern}`);
    }
    if (subresourcesOfAll.has(subresource)) {
      errors.invalid(at, pattern, `if '*/${subresource}' is present, must not specify ${pattern}`);
    }
    if (subresource === "*") allSubresourcesOf.add(resource);
    if (resource === "*") subresourcesOfAll.add(subresource);
  }
  if (resources.length > 1 && resources.includes("*/*")) {
    errors.invalid(path, resources, "if '*/*' is present, must not specify other resources");
  }
  if (resources.includes("*") && single) {
    errors.invalid(path, resources, "if '*' is present, must not specify other resources without subresources");
  }
}

/** What a policy or a binding says of the requests that it is for. */
export function checkMatchResources(errors: Errors, path: string, match: MatchResources | undefined): void {
  if (!match) return;
  errors.oneOf(`${path}.matchPolicy`, match.matchPolicy, ["Equivalent", "Exact"]);
  for (const field of ["namespaceSelector", "objectSelector"] as const) {
    if (!match[field]) errors.required(`${path}.${field}`);
    else checkLabelSelector(errors, `${path}.${field}`, match[field]);
  }
  for (const [i, rule] of (match.resourceRules ?? []).entries()) {
    checkNamedRule(errors, `${path}.resourceRules[${i}]`, rule);
  }
  for (const [i, rule] of (match.excludeResourceRules ?? []).entries()) {
    checkNamedRule(errors, `${path}.excludeResourceRules[${i}]`, rule);
  }
}

function checkNamedRule(errors: Errors, path: string, rule: NamedRuleWithOperations): void {
  const seen = new Set<string>();
  for (const [i, name] of (rule.resourceNames ?? []).entries()) {
    errors.messages(`${path}.resourceNames[${i}]`, name, pathSegmentName(name));
    if (seen.has(name)) errors.duplicate(`${path}.resourceNames[${i}]`, name);
    seen.add(name);
  }
  checkRuleWithOperations(errors, path, rule);
}
