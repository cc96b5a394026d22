import {
  mutatingWebhookConfigurations,
  validatingWebhookConfigurations,
} from "../../../api/generated/admissionregistration-v1.ts";
import type { Client } from "../../../client/client.ts";
import { createInformer, type Informer } from "../../../client/informer.ts";
import type { Clock } from "../../../machinery/clock.ts";
import type { Logger } from "../../../machinery/log.ts";
import type { KubeObject, ResourceType } from "../../../machinery/object.ts";
import { compileHooks, type Hook } from "./hook.ts";

interface HookSourceOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** The webhooks of all configurations of one kind, compiled when one of them has changed. Follows them from its first use. */
export class HookSource {
  readonly #type: ResourceType;
  readonly #options: HookSourceOptions;
  #informer: Informer<KubeObject> | undefined;
  #hooks: readonly Hook[] | undefined;

  constructor(kind: "mutating" | "validating", options: HookSourceOptions) {
    this.#type = kind === "mutating" ? mutatingWebhookConfigurations : validatingWebhookConfigurations;
    this.#options = options;
  }

  /** What is known now; a promise only until the first state is there. */
  hooks(): readonly Hook[] | Promise<readonly Hook[]> {
    if (this.#informer?.hasSynced) return this.#current(this.#informer);
    const informer = this.#follow();
    return informer.synced(this.#options.signal).then(() => this.#current(informer));
  }

  #follow(): Informer<KubeObject> {
    if (this.#informer) return this.#informer;
    const { client, clock, logger, signal } = this.#options;
    const informer = createInformer(client, this.#type, { clock, logger });
    const forget = () => {
      this.#hooks = undefined;
    };
    informer.on({ add: forget, update: forget, delete: forget });
    this.#informer = informer;
    void informer.start(signal);
    return informer;
  }

  #current(informer: Informer<KubeObject>): readonly Hook[] {
    this.#hooks ??= compileHooks(informer.list());
    return this.#hooks;
  }
}
