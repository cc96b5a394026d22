import {
  type MutatingWebhookConfiguration,
  mutatingWebhookConfigurations,
  type ValidatingWebhookConfiguration,
  validatingWebhookConfigurations,
} from "../../../api/generated/admissionregistration-v1.ts";
import { sameJson } from "../../../api/strategy.ts";
import { type FieldError, invalid } from "../../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../../request.ts";

type Configuration = MutatingWebhookConfiguration | ValidatingWebhookConfiguration;

/**
 * Refuses webhooks whose match conditions do not compile. Part of admission, not of the kinds' own rules, because it
 * loads the expression engine, which most clusters need no webhook for.
 */
export const conditionCheck: AdmissionPlugin = {
  name: "WebhookConditionCheck",
  async validate({ facts, operation, subresource, object, oldObject, name }: AdmissionAttributes) {
    if (facts.group !== mutatingWebhookConfigurations.group || subresource) return;
    if (operation !== "CREATE" && operation !== "UPDATE") return;
    const { resource } = facts;
    if (resource !== mutatingWebhookConfigurations.resource && resource !== validatingWebhookConfigurations.resource) {
      return;
    }
    const webhooks = (object as Configuration).webhooks ?? [];
    if (!webhooks.some(({ matchConditions }) => matchConditions?.length)) return;
    const conditions = (configuration: Configuration | undefined) =>
      configuration?.webhooks?.map(({ matchConditions }) => matchConditions ?? []);
    // What is there already may stay, whatever later releases think of it.
    if (oldObject && sameJson(conditions(object as Configuration), conditions(oldObject as Configuration))) return;
    const { checkMatchConditions } = await import("../match-conditions.ts");
    const errors: FieldError[] = webhooks.flatMap(({ matchConditions }, index) =>
      checkMatchConditions(matchConditions ?? [], `webhooks[${index}].matchConditions`),
    );
    if (errors.length > 0) throw invalid({ group: facts.group, resource: facts.kind }, name, errors);
  },
};
