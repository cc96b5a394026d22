import { randomUUID } from "node:crypto";
import type { ResourceFacts } from "../../../api/resource.ts";
import type { Client } from "../../../client/client.ts";
import type { Logger } from "../../../machinery/log.ts";
import type { KubeObject } from "../../../machinery/object.ts";
import { badRequest, forbidden, internalError, StatusError } from "../../../machinery/status.ts";
import type { AdmissionAttributes, Authorizer } from "../../request.ts";
import { NoBackendError, type WebhookCaller, type WebhookClientConfig } from "../../webhook-call/webhook-caller.ts";
import { convertBetween, type Equivalents } from "../equivalents.ts";
import { namespaceSelected, objectSelected, ruledAs } from "../matching.ts";
import { denial, makeReview, type ReviewVersion, readVerdict, type Verdict } from "./admission-review.ts";
import type { Hook } from "./hook.ts";

export interface HookCallerOptions {
  readonly client: Client;
  readonly authorize: Authorizer;
  readonly logger: Logger;
  readonly caller: WebhookCaller;
  readonly equivalents?: Equivalents | undefined;
}

/** A webhook could not be asked, or its answer not be understood: its failure policy decides. */
class HookFailure extends Error {}

/** Decides which webhooks a request concerns, and asks them. */
export class HookCaller {
  readonly #options: HookCallerOptions;

  constructor(options: HookCallerOptions) {
    this.#options = options;
  }

  /**
   * The request as the webhook is to see it, or undefined when it is none of its business. Throws what Kubernetes refuses
   * with when that cannot be decided.
   */
  async shown(hook: Hook, asked: AdmissionAttributes): Promise<AdmissionAttributes | undefined> {
    const { client, authorize, equivalents, logger } = this.#options;
    const { spec } = hook;
    const facts = ruledAs(spec.rules ?? [], asked, hook.equivalent ? equivalents : undefined);
    if (!facts) return undefined;
    const { objectSelector, namespaceSelector } = hook;
    if (objectSelector && !objectSelected(objectSelector, asked)) return undefined;
    if (namespaceSelector && !(await namespaceSelected(client, namespaceSelector, asked))) return undefined;
    const shown = await asResource(asked, facts);
    if (!spec.matchConditions?.length) return shown;
    // Loaded at use: the expression engine is large, and most webhooks have no conditions.
    const { matchConditions } = await import("../match-conditions.ts");
    try {
      return (await matchConditions(spec.matchConditions, shown, authorize)) ? shown : undefined;
    } catch (error) {
      if (hook.failsOpen) return undefined;
      logger.warn(
        { err: error, webhook: hook.name },
        "A webhook's match conditions cannot be evaluated; the request is refused",
      );
      const { group, resource } = asked.facts;
      throw forbidden({ group, resource }, asked.name, (error as Error).message);
    }
  }

  /**
   * Asks a webhook. Undefined: it could not be asked, and its failures let requests pass. Throws a StatusError when it
   * refuses, or fails and its failures do not let requests pass.
   */
  async ask(
    hook: Hook,
    mutating: boolean,
    shown: AdmissionAttributes,
    asked: AdmissionAttributes,
  ): Promise<Verdict | undefined> {
    try {
      const verdict = await this.#call(hook, mutating, shown, asked);
      for (const text of verdict.warnings) asked.warn(text);
      if (!verdict.allowed) throw denial(hook.name, verdict.result);
      return verdict;
    } catch (error) {
      if (!(error instanceof HookFailure)) throw error;
      this.failed(hook, error.message);
      return undefined;
    }
  }

  /** Lets a failure pass, or throws what the client gets. */
  failed(hook: Hook, why: string): void {
    const message = `failed calling webhook ${JSON.stringify(hook.name)}: ${why}`;
    const fields = { webhook: hook.name, error: why };
    if (!hook.failsOpen) {
      this.#options.logger.warn(fields, "Calling a webhook failed; the request is refused");
      throw internalError(new Error(message));
    }
    this.#options.logger.warn(fields, "Calling a webhook failed; the request passes without it");
  }

  async #call(hook: Hook, mutating: boolean, shown: AdmissionAttributes, asked: AdmissionAttributes): Promise<Verdict> {
    const { sideEffects, admissionReviewVersions = [], clientConfig } = hook.spec;
    if (asked.dryRun) {
      if (!sideEffects) throw new HookFailure("Webhook SideEffects is nil");
      if (sideEffects !== "None" && sideEffects !== "NoneOnDryRun") {
        throw badRequest(`admission webhook ${JSON.stringify(hook.name)} does not support dry run`);
      }
    }
    const version = admissionReviewVersions.find((one): one is ReviewVersion => one === "v1" || one === "v1beta1");
    if (!version) {
      const text = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
      throw new HookFailure(`could not create admission objects: ${text}`);
    }
    const uid = randomUUID();
    const review = makeReview(version, uid, shown, asked);
    let answer: unknown;
    try {
      answer = await this.#options.caller.post((clientConfig ?? {}) as WebhookClientConfig, review, hook.timeoutMs);
    } catch (error) {
      const what = error instanceof NoBackendError ? "could not get REST client" : "failed to call webhook";
      throw new HookFailure(`${what}: ${(error as Error).message}`);
    }
    try {
      return readVerdict(version, uid, mutating, answer);
    } catch (error) {
      throw new HookFailure(`received invalid webhook response: ${(error as Error).message}`);
    }
  }
}

async function asResource(asked: AdmissionAttributes, facts: ResourceFacts): Promise<AdmissionAttributes> {
  if (facts === asked.facts) return asked;
  // The body of a subresource is the same whatever the version of what it belongs to.
  const own = asked.subresource !== undefined && facts.subresources[asked.subresource]?.kind !== undefined;
  const convert = (object: KubeObject | undefined) =>
    object && !own ? convertBetween(asked.facts, facts, object) : Promise.resolve(object);
  try {
    const [object, oldObject] = await Promise.all([convert(asked.object), convert(asked.oldObject)]);
    return { ...asked, facts, ...(object ? { object } : {}), ...(oldObject ? { oldObject } : {}) };
  } catch (error) {
    throw error instanceof StatusError && error.code < 500 ? error : internalError(error);
  }
}
