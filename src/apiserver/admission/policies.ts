import {
  mutatingAdmissionPolicies,
  mutatingAdmissionPolicyBindings,
  validatingAdmissionPolicies,
  validatingAdmissionPolicyBindings,
} from "../../api/generated/admissionregistration-v1.ts";
import { builtInResources } from "../../api/registry.ts";
import type { AdmissionPlugin, ServerContext } from "../request.ts";
import type { Equivalents } from "./equivalents.ts";
import { mutatingPolicies } from "./policies/mutating.ts";
import type { ServedResources } from "./policies/parameters.ts";
import { policyCheck } from "./policies/policy-check.ts";
import { PolicySource } from "./policies/policy-source.ts";
import { validatingPolicies } from "./policies/validating.ts";

export interface PoliciesOptions {
  readonly context: ServerContext;
  /** Where kinds of parameters are looked up; absent: among the built-in ones. */
  readonly resources?: ServedResources | undefined;
  /** Absent: no resource has others. */
  readonly equivalents?: Equivalents | undefined;
  /** Ends what is followed. */
  readonly signal: AbortSignal;
}

/** Admission by policies: those that change objects come before mutating webhooks, those that judge before validating ones. */
export function policies({ context, resources, equivalents, signal }: PoliciesOptions): {
  /** Of policies and bindings themselves. */
  readonly check: AdmissionPlugin;
  readonly mutating: AdmissionPlugin;
  readonly validating: AdmissionPlugin;
} {
  const { client, authorize, clusterClock: clock, logger } = context;
  const options = { client, authorize, resources: resources ?? { all: () => builtInResources }, equivalents };
  const follow = { client, clock, logger, signal };
  return {
    check: policyCheck(options),
    mutating: mutatingPolicies(
      new PolicySource({
        ...follow,
        policies: mutatingAdmissionPolicies,
        bindings: mutatingAdmissionPolicyBindings,
        // The expression engine is loaded where there are policies.
        compile: async (policy) => new (await import("./policies/mutations.ts")).Mutations(policy),
      }),
      options,
    ),
    validating: validatingPolicies(
      new PolicySource({
        ...follow,
        policies: validatingAdmissionPolicies,
        bindings: validatingAdmissionPolicyBindings,
        compile: async (policy) => new (await import("./policies/validations.ts")).Validations(policy),
      }),
      options,
    ),
  };
}
