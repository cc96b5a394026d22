import {
  type MutatingAdmissionPolicy,
  mutatingAdmissionPolicies,
  mutatingAdmissionPolicyBindings,
  mutatingWebhookConfigurations,
  type RuleWithOperations,
  type ValidatingAdmissionPolicy,
  validatingAdmissionPolicies,
  validatingAdmissionPolicyBindings,
  validatingWebhookConfigurations,
} from "../../api/generated/admissionregistration-v1.ts";
import { namespaces } from "../../api/generated/core-v1.ts";
import type { LabelSelector } from "../../api/generated/meta-v1.ts";
import type { Client } from "../../client/client.ts";
import { fromLabelSelector } from "../../machinery/label-selector.ts";
import { notBuilt } from "../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../request.ts";

/** The cache has every commit that was answered: asking the store adds nothing. */
const cached = { resourceVersion: "0" };

type Policy = ValidatingAdmissionPolicy | MutatingAdmissionPolicy;

interface Hook {
  readonly rules?: readonly RuleWithOperations[];
  readonly failurePolicy?: string;
  readonly namespaceSelector?: LabelSelector;
  readonly objectSelector?: LabelSelector;
}

/**
 * Webhooks and admission policies are stored but not called yet. A request that one of them would have to judge is
 * refused, unless it may be ignored when it fails: to let it pass unjudged would be worse.
 */
export function webhooks(client: Client): AdmissionPlugin {
  const matches = async (hook: Hook, attributes: AdmissionAttributes): Promise<boolean> => {
    if (hook.failurePolicy === "Ignore") return false;
    if (!hook.rules?.some((rule) => ruleMatches(rule, attributes))) return false;
    const labels = attributes.object?.metadata.labels ?? attributes.oldObject?.metadata.labels ?? {};
    if (hook.objectSelector && !fromLabelSelector(hook.objectSelector).matches(labels)) return false;
    if (!hook.namespaceSelector) return true;
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
    return fromLabelSelector(hook.namespaceSelector).matches(own);
  };

  const refuseIfJudged = async (attributes: AdmissionAttributes) => {
    const { group } = attributes.facts;
    // The way out must stay open: these are how a webhook is taken away again.
    if (
      group === "admissionregistration.k8s.io" ||
      group === "authorization.k8s.io" ||
      group === "authentication.k8s.io"
    ) {
      return;
    }
    const [mutating, validating, validatingBindings, mutatingBindings] = await Promise.all([
      client.list(mutatingWebhookConfigurations, cached),
      client.list(validatingWebhookConfigurations, cached),
      client.list(validatingAdmissionPolicyBindings, cached),
      client.list(mutatingAdmissionPolicyBindings, cached),
    ]);
    for (const configuration of [...mutating.items, ...validating.items]) {
      for (const hook of configuration.webhooks ?? []) {
        if (await matches(hook, attributes))
          throw notBuilt(`Calling admission webhook ${JSON.stringify(hook.name ?? "")}`);
      }
    }
    for (const [kind, type, bindings] of [
      ["ValidatingAdmissionPolicy", validatingAdmissionPolicies, validatingBindings],
      ["MutatingAdmissionPolicy", mutatingAdmissionPolicies, mutatingBindings],
    ] as const) {
      if (bindings.items.length === 0) continue;
      const bound = new Set(bindings.items.map((binding) => binding.spec?.policyName));
      const policies = await client.list<Policy>(type, cached);
      await refuseIfMatched(
        kind,
        policies.items.filter(({ metadata }) => bound.has(metadata.name ?? "")),
        attributes,
      );
    }
  };

  const refuseIfMatched = async (kind: string, policies: readonly Policy[], attributes: AdmissionAttributes) => {
    for (const policy of policies) {
      const { matchConstraints, failurePolicy } = policy.spec ?? {};
      const hook: Hook = {
        rules: matchConstraints?.resourceRules ?? [],
        ...(failurePolicy ? { failurePolicy } : {}),
        ...(matchConstraints?.namespaceSelector ? { namespaceSelector: matchConstraints.namespaceSelector } : {}),
        ...(matchConstraints?.objectSelector ? { objectSelector: matchConstraints.objectSelector } : {}),
      };
      if (await matches(hook, attributes)) {
        throw notBuilt(`Evaluating ${kind} ${JSON.stringify(policy.metadata.name ?? "")}`);
      }
    }
  };
  return { name: "Webhooks", validate: refuseIfJudged };
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
