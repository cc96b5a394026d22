import type { RuleWithOperations } from "../../api/generated/admissionregistration-v1.ts";
import { namespaces } from "../../api/generated/core-v1.ts";
import type { LabelSelector } from "../../api/generated/meta-v1.ts";
import type { Client } from "../../client/client.ts";
import { fromLabelSelector } from "../../machinery/label-selector.ts";
import type { AdmissionAttributes } from "../request.ts";

/** What webhooks and admission policies say about the requests that they judge. */
export interface MatchCriteria {
  readonly rules?: readonly RuleWithOperations[];
  readonly namespaceSelector?: LabelSelector;
  readonly objectSelector?: LabelSelector;
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
  if (!rules?.some((rule) => ruleMatches(rule, attributes))) return false;
  const labels = attributes.object?.metadata.labels ?? attributes.oldObject?.metadata.labels ?? {};
  if (objectSelector && !fromLabelSelector(objectSelector).matches(labels)) return false;
  if (!namespaceSelector) return true;
  const isNamespace = attributes.facts.group === "" && attributes.facts.resource === "namespaces";
  const name = isNamespace ? attributes.name : attributes.namespace;
  // Cluster-scoped objects are never excluded by a selector of namespaces.
  if (!name) return true;
  const own = isNamespace
    ? labels
    : await client.get(namespaces, name).then(
        (found) => found.metadata.labels ?? {},
        () => ({}),
      );
  return fromLabelSelector(namespaceSelector).matches(own);
}

function ruleMatches(rule: RuleWithOperations, attributes: AdmissionAttributes): boolean {
  const { facts, operation, subresource, namespace } = attributes;
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
