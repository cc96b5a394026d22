import type { AdmissionAttributes, AdmissionPlugin } from "../../request.ts";
import { isExempt } from "../matching.ts";
import type { Hook } from "./hook.ts";
import type { HookCaller } from "./hook-caller.ts";
import type { HookSource } from "./hook-source.ts";

/** Asks all validating webhooks that a request concerns at once; any of them may refuse. */
export function validatingWebhooks(source: HookSource, caller: HookCaller): AdmissionPlugin {
  async function validate(attributes: AdmissionAttributes): Promise<void> {
    if (isExempt(attributes)) return;
    const found = source.hooks();
    const hooks = "then" in found ? await found : found;
    if (hooks.length === 0) return;
    const concerned: [Hook, AdmissionAttributes][] = [];
    for (const hook of hooks) {
      const shown = await caller.shown(hook, attributes);
      if (shown) concerned.push([hook, shown]);
    }
    const refusals: unknown[] = [];
    await Promise.all(
      concerned.map(([hook, shown]) =>
        caller.ask(hook, false, shown, attributes).catch((error) => refusals.push(error)),
      ),
    );
    if (refusals.length > 0) throw refusals[0];
  }
  return { name: "ValidatingAdmissionWebhook", validate };
}
