import type { RuleWithOperations } from "../../api/generated/admissionregistration-v1.ts";
import { namespaces } from "../../api/generated/core-v1.ts";
import type { LabelSelector } from "../../api/generated/meta-v1.ts";
import type { ResourceFacts } from "../../api/resource.ts";
import type { Client } from "../../client/client.ts";
import { fromLabelSelector } from "../../machinery/label-selector.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import type { AdmissionAttributes } from "../request.ts";
import type { Equivalents } from "./equivalents.ts";

/** What webhooks and admission policies say about the requests that they judge. */
export interface MatchCriteria {
  readonly rules?: readonly DeepReadonly<RuleWithOperations>[];
  readonly namespaceSelector?: DeepReadonly<LabelSelector>;
  readonly objectSelector?: DeepReadonly<LabelSelector>;
}

/** A selector that is read already. */
export interface Selects {
  matches(labels: Readonly<Record<string, string>>): boolean;
}

/**
 * Requests that no webhook and no policy may stop: these kinds are how one is taken away again, and how a webhook asks
 * who called it.
 */
export function isExempt({ facts }: AdmissionAttributes): boolean {
  return ["admissionregistration.k8s.io", "authorization.k8s.io", "authentication.k8s.io"].includes(facts.group);
}

/** Whether a request is one of those that the criteria name. */
export async function matches(
  client: Client,
  { rules, namespaceSelector, objectSelector }: MatchCriteria,
  attributes: AdmissionAttributes,
): Promise<boolean> {
  if (!rules?.some((rule) => ruleMatches(rule, attributes, attributes.facts))) return false;
  if (selects(objectSelector) && !objectSelected(read(objectSelector), attributes)) return false;
  return !selects(namespaceSelector) || (await namespaceSelected(client, read(namespaceSelector), attributes));
}

const read = (selector: DeepReadonly<LabelSelector>) => fromLabelSelector(selector as LabelSelector);

/** Does it leave anything out? */
function selects(selector: DeepReadonly<LabelSelector> | undefined): selector is DeepReadonly<LabelSelector> {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  return Object.keys(matchLabels).length + matchExpressions.length > 0;
}

/**
 * As which resource a request is one of those that the rules name: as itself, or, where equivalents count, as another
 * version of it. Earlier rules come first. Undefined: not at all.
 */
export function ruledAs(
  rules: readonly DeepReadonly<RuleWithOperations>[],
  attributes: AdmissionAttributes,
  equivalents: Equivalents | undefined,
): ResourceFacts | undefined {
  const { facts } = attributes;
  if (rules.some((rule) => ruleMatches(rule, attributes, facts))) return facts;
  const others = equivalents?.(facts) ?? [];
  if (others.length === 0) return undefined;
  for (const rule of rules) {
    const found = others.find((other) => ruleMatches(rule, attributes, other));
    if (found) return found;
  }
  return undefined;
}

/** Selectors of objects are tried on what is to be written and on what is there; what has no labels fits none. */
export function objectSelected(selector: Selects, { object, oldObject }: AdmissionAttributes): boolean {
  return [object, oldObject].some((one) => one && selector.matches(one.metadata?.labels ?? {}));
}

/** Throws 404 when the request's namespace is not there. */
export async function namespaceSelected(
  client: Client,
  selector: Selects,
  attributes: AdmissionAttributes,
): Promise<boolean> {
  const { facts, operation, subresource, object } = attributes;
  const isNamespace = facts.group === "" && facts.resource === "namespaces";
  const name = isNamespace ? attributes.name : attributes.namespace;
  // Cluster-scoped objects are never excluded by a selector of namespaces.
  if (!name && !isNamespace) return true;
  if (isNamespace && !subresource && (operation === "CREATE" || operation === "UPDATE")) {
    return selector.matches(object?.metadata.labels ?? {});
  }
  const found = await client.get(namespaces, name ?? "");
  return selector.matches(found.metadata.labels ?? {});
}

function ruleMatches(
  rule: DeepReadonly<RuleWithOperations>,
  attributes: AdmissionAttributes,
  facts: ResourceFacts,
): boolean {
  const { operation, subresource, namespace } = attributes;
  const has = (list: readonly string[] | undefined, value: string) =>
    !!list && (list.includes("*") || list.includes(value));
  if (!has(rule.operations, operation) || !has(rule.apiGroups, facts.group) || !has(rule.apiVersions, facts.version)) {
    return false;
  }
  if (rule.scope === "Namespaced" && !namespace) return false;
  if (rule.scope === "Cluster" && namespace) return false;
  return !!rule.resources?.some((pattern) => {
    const [resource, sub = ""] = pattern.split("/", 2);
    const named = resource === "*" || resource === facts.resource;
    return named && (sub === "*" || sub === (subresource ?? ""));
  });
}
