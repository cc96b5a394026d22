import type {
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
} from "../../../api/generated/admissionregistration-v1.ts";
import type { CelValue } from "../../../machinery/cel/values.ts";
import { type StatusCause, StatusError } from "../../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin, Authorizer } from "../../request.ts";
import { AccessAnswers } from "./access-answers.ts";
import type { PolicySource } from "./policy-source.ts";
import { isBeyondPolicies, namespaceObjectOf, refusal, type SelectionOptions, select, shownAs } from "./selection.ts";
import type { Objection, Validations } from "./validations.ts";

export type ValidatingSource = PolicySource<ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, Validations>;

const codes: Readonly<Record<string, number>> = { Forbidden: 403, Unauthorized: 401, RequestEntityTooLarge: 413 };

/** Holds requests to ValidatingAdmissionPolicies. */
export function validatingPolicies(
  source: ValidatingSource,
  options: SelectionOptions & { readonly authorize: Authorizer },
): AdmissionPlugin {
  async function validate(attributes: AdmissionAttributes): Promise<void> {
    if (isBeyondPolicies(attributes)) return;
    const bound = source.bound();
    const policies = "then" in bound ? await bound : bound;
    if (policies.length === 0) return;
    const denials: Objection[] = [];
    const deny = (policy: string, binding: string | undefined, { message, reason }: Objection) => {
      const by = binding === undefined ? "" : ` with binding '${binding}'`;
      denials.push({ message: `ValidatingAdmissionPolicy '${policy}'${by} denied request: ${message}`, reason });
    };
    const invocations = await select(policies, attributes, options, (policy, binding, message) => {
      if (!policy.failsOpen) deny(policy.name, binding?.name, { message, reason: "Invalid" });
    });
    if (invocations.length > 0) {
      const namespace = await namespaceObjectOf(attributes, options.client);
      const access = new AccessAnswers(options.authorize, attributes.user);
      for (const { policy, binding, facts, parameter } of invocations) {
        let shown: AdmissionAttributes;
        try {
          shown = await shownAs(attributes, facts);
        } catch (error) {
          const message = `failed to configure binding: failed to convert object version: ${(error as Error).message}`;
          if (!policy.failsOpen) deny(policy.name, binding.name, { message, reason: "Invalid" });
          continue;
        }
        const compiled = await policy.compiled();
        const params = parameter as CelValue;
        for (const objection of await compiled.objections({
          attributes: shown,
          asked: attributes,
          access,
          namespace,
          params,
        })) {
          const { message, unconditional } = objection;
          if (unconditional || binding.actions.includes("Deny")) deny(policy.name, binding.name, objection);
          if (!unconditional && binding.actions.includes("Warn")) {
            attributes.warn(
              `Validation failed for ValidatingAdmissionPolicy '${policy.name}' with binding '${binding.name}': ${message}`,
            );
          }
        }
      }
    }
    const [first] = denials;
    if (!first) return;
    const { message, details } = refusal(attributes, first.message);
    const causes: StatusCause[] = [{ message: first.message }];
    throw new StatusError(codes[first.reason] ?? 422, first.reason, message, { ...details, causes });
  }
  return { name: "ValidatingAdmissionPolicy", validate };
}
