import {
  type MutatingAdmissionPolicy,
  mutatingAdmissionPolicies,
  mutatingAdmissionPolicyBindings,
  type ValidatingAdmissionPolicy,
  validatingAdmissionPolicies,
  validatingAdmissionPolicyBindings,
} from "../../api/generated/admissionregistration-v1.ts";
import type { Client } from "../../client/client.ts";
import { notBuilt } from "../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../request.ts";
import { isExempt, matches } from "./matching.ts";

/** The cache has every commit that was answered: asking the store adds nothing. */
const cached = { resourceVersion: "0" };

type Policy = ValidatingAdmissionPolicy | MutatingAdmissionPolicy;

/** Policies are stored but not evaluated yet. A request that one of them would have to judge is refused, as with webhooks. */
export function policies(client: Client): AdmissionPlugin {
  const refuseIfJudged = async (attributes: AdmissionAttributes) => {
    if (isExempt(attributes)) return;
    const [validatingBindings, mutatingBindings] = await Promise.all([
      client.list(validatingAdmissionPolicyBindings, cached),
      client.list(mutatingAdmissionPolicyBindings, cached),
    ]);
    for (const [kind, type, bindings] of [
      ["ValidatingAdmissionPolicy", validatingAdmissionPolicies, validatingBindings],
      ["MutatingAdmissionPolicy", mutatingAdmissionPolicies, mutatingBindings],
    ] as const) {
      if (bindings.items.length === 0) continue;
      const bound = new Set(bindings.items.map((binding) => binding.spec?.policyName));
      const { items } = await client.list<Policy>(type, cached);
      for (const { metadata, spec } of items) {
        if (!bound.has(metadata.name ?? "") || spec?.failurePolicy === "Ignore") continue;
        const { resourceRules: rules = [], ...selectors } = spec?.matchConstraints ?? {};
        if (await matches(client, { rules, ...selectors }, attributes))
          throw notBuilt(`Evaluating ${kind} ${JSON.stringify(metadata.name ?? "")}`);
      }
    }
  };
  return { name: "AdmissionPolicies", validate: refuseIfJudged };
}
