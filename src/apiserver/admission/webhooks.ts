import {
  mutatingWebhookConfigurations,
  validatingWebhookConfigurations,
} from "../../api/generated/admissionregistration-v1.ts";
import type { Client } from "../../client/client.ts";
import { notBuilt } from "../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../request.ts";
import { isExempt, matches } from "./matching.ts";

/** The cache has every commit that was answered: asking the store adds nothing. */
const cached = { resourceVersion: "0" };

/**
 * Webhooks are stored but not called yet. A request that one of them would have to judge is refused, unless it may be
 * ignored when it fails: to let it pass unjudged would be worse.
 */
export function webhooks(client: Client): AdmissionPlugin {
  const refuseIfJudged = async (attributes: AdmissionAttributes) => {
    if (isExempt(attributes)) return;
    const [mutating, validating] = await Promise.all([
      client.list(mutatingWebhookConfigurations, cached),
      client.list(validatingWebhookConfigurations, cached),
    ]);
    for (const configuration of [...mutating.items, ...validating.items]) {
      for (const hook of configuration.webhooks ?? []) {
        if (hook.failurePolicy !== "Ignore" && (await matches(client, hook, attributes)))
          throw notBuilt(`Calling admission webhook ${JSON.stringify(hook.name ?? "")}`);
      }
    }
  };
  return { name: "Webhooks", validate: refuseIfJudged };
}
