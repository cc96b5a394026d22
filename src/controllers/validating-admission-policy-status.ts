import { validatingAdmissionPolicies } from "../api/generated/admissionregistration-v1.ts";
import { customResourceDefinitions } from "../api/generated/apiextensions-v1.ts";
import { apiVersionOf, keyOf } from "../machinery/object.ts";
import { hasReason } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";

/** Who owns what it writes; not the name of its service account. */
const fieldManager = "validatingadmissionpolicy-status";

/** Checks the expressions of validating policies against the kinds that they are for, and notes in their status what does not fit. */
export const validatingAdmissionPolicyStatusController: ControllerFactory = {
  name: "validatingadmissionpolicy-status-controller",
  create({ client, informers }) {
    const policies = informers.of(validatingAdmissionPolicies);
    const definitions = informers.of(customResourceDefinitions);
    return {
      watches: [watch(policies, (policy) => [keyOf(policy as { metadata: { name?: string } })])],
      async reconcile(name, signal) {
        const policy = policies.get(name);
        const generation = policy?.metadata.generation ?? 0;
        if (!policy || generation <= (policy.status?.observedGeneration ?? 0)) return undefined;
        // Loaded at use: most clusters have no policies.
        const { checkPolicyTypes } = await import("./policy-type-check.ts");
        const warnings = checkPolicyTypes(policy, definitions.list());
        const body = {
          apiVersion: apiVersionOf(validatingAdmissionPolicies),
          kind: validatingAdmissionPolicies.kind,
          metadata: { name },
          status: {
            observedGeneration: generation,
            typeChecking: warnings.length > 0 ? { expressionWarnings: warnings } : {},
          },
        };
        const options = { subresource: "status", fieldManager, force: true, signal };
        try {
          await client.patch(validatingAdmissionPolicies, name, { type: "apply", body }, options);
        } catch (error) {
          // It may be gone meanwhile.
          if (!hasReason(error, "NotFound")) throw error;
        }
        return undefined;
      },
    };
  },
};
