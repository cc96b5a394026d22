import type { PolicyRule } from "../../api/generated/rbac-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import type { AuthorizationAttributes } from "../request.ts";

/** A rule as caches hold it. */
export type Rule = DeepReadonly<PolicyRule>;

/** Does this one rule allow the request? */
export function ruleAllows(rule: Rule, attributes: Omit<AuthorizationAttributes, "user">): boolean {
  if (!holds(rule.verbs, attributes.verb)) return false;
  if (attributes.path !== undefined)
    return rule.nonResourceURLs?.some((url) => urlCovers(url, attributes.path!)) ?? false;
  if (!holds(rule.apiGroups, attributes.group)) return false;
  if (!resourceCovers(rule.resources, attributes.resource, attributes.subresource)) return false;
  return !rule.resourceNames?.length || rule.resourceNames.includes(attributes.name ?? "");
}

/** The parts of `wanted` that `held` does not cover: what someone who holds `held` may not grant. */
export function uncovered(held: readonly Rule[], wanted: readonly Rule[]): PolicyRule[] {
  return wanted.flatMap(split).filter((part) => !held.some((rule) => covers(rule, part)));
}

/** Cuts a rule into rules of one verb and one resource (and one name), or one verb and one URL. */
function split(rule: Rule): PolicyRule[] {
  const parts: PolicyRule[] = [];
  for (const verb of rule.verbs ?? []) {
    for (const url of rule.nonResourceURLs ?? []) parts.push({ verbs: [verb], nonResourceURLs: [url] });
    for (const group of rule.apiGroups ?? []) {
      for (const resource of rule.resources ?? []) {
        const part: PolicyRule = { verbs: [verb], apiGroups: [group], resources: [resource] };
        if (!rule.resourceNames?.length) parts.push(part);
        else for (const name of rule.resourceNames) parts.push({ ...part, resourceNames: [name] });
      }
    }
  }
  return parts;
}

function covers(held: Rule, part: PolicyRule): boolean {
  if (!holds(held.verbs, part.verbs[0]!)) return false;
  const url = part.nonResourceURLs?.[0];
  if (url !== undefined) return held.nonResourceURLs?.some((own) => urlCovers(own, url)) ?? false;
  const [resource, subresource] = part.resources![0]!.split("/", 2);
  if (!holds(held.apiGroups, part.apiGroups![0]!)) return false;
  if (!resourceCovers(held.resources, resource!, subresource)) return false;
  const name = part.resourceNames?.[0];
  if (!held.resourceNames?.length) return true;
  return name !== undefined && held.resourceNames.includes(name);
}

function holds(list: readonly string[] | undefined, value: string): boolean {
  return list !== undefined && (list.includes(value) || list.includes("*"));
}

function resourceCovers(list: readonly string[] | undefined, resource: string, subresource?: string): boolean {
  if (!list) return false;
  const whole = subresource ? `${resource}/${subresource}` : resource;
  return list.some((own) => own === "*" || own === whole || (subresource && own === `*/${subresource}`));
}

function urlCovers(pattern: string, path: string): boolean {
  if (pattern === "*" || pattern === path) return true;
  return pattern.endsWith("*") && path.startsWith(pattern.slice(0, -1));
}

/** A rule as error texts show it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`. */
export function printRule(rule: Rule): string {
  const list = (values: readonly string[]) => `[${values.map((value) => JSON.stringify(value)).join(", ")}]`;
  const parts: string[] = [];
  if (rule.apiGroups?.length) parts.push(`APIGroups:${list(rule.apiGroups)}`);
  if (rule.resources?.length) parts.push(`Resources:${list(rule.resources)}`);
  if (rule.nonResourceURLs?.length) parts.push(`NonResourceURLs:${list(rule.nonResourceURLs)}`);
  if (rule.resourceNames?.length) parts.push(`ResourceNames:${list(rule.resourceNames)}`);
  if (rule.verbs?.length) parts.push(`Verbs:${list(rule.verbs)}`);
  return `{${parts.join(", ")}}`;
}
