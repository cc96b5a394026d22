import type { AdmissionPlugin, ServerContext } from "../request.ts";
import { WebhookCaller } from "../webhook-call/webhook-caller.ts";
import type { Equivalents } from "./equivalents.ts";
import { HookCaller } from "./webhooks/hook-caller.ts";
import { HookSource } from "./webhooks/hook-source.ts";
import { mutatingWebhooks } from "./webhooks/mutating.ts";
import { validatingWebhooks } from "./webhooks/validating.ts";

export interface WebhooksOptions {
  readonly context: ServerContext;
  /** Absent: no resource has others. */
  readonly equivalents?: Equivalents | undefined;
  /** Ends what is followed, and calls under way. */
  readonly signal: AbortSignal;
}

/**
 * Admission by webhooks: those that change objects come after every other plugin that does, those that judge them before
 * the quota, which counts only what all others let pass.
 */
export function webhooks({ context, equivalents, signal }: WebhooksOptions): {
  readonly mutating: AdmissionPlugin;
  readonly validating: AdmissionPlugin;
} {
  const { client, authorize, clusterClock: clock, logger } = context;
  const caller = new HookCaller({
    client,
    authorize,
    logger,
    caller: new WebhookCaller(context, signal),
    equivalents,
  });
  const source = (kind: "mutating" | "validating") => new HookSource(kind, { client, clock, logger, signal });
  return {
    mutating: mutatingWebhooks(source("mutating"), caller),
    validating: validatingWebhooks(source("validating"), caller),
  };
}
