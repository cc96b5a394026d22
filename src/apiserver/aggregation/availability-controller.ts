import { type APIService, apiServices } from "../../api/generated/apiregistration-v1.ts";
import { services } from "../../api/generated/core-v1.ts";
import { endpointSlices } from "../../api/generated/discovery-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer } from "../../client/informer.ts";
import { WorkQueue } from "../../client/work-queue.ts";
import { type Clock, formatTime } from "../../machinery/clock.ts";
import { cloneJson } from "../../machinery/json.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly, KubeObject, ResourceType } from "../../machinery/object.ts";
import { hasReason } from "../../machinery/status.ts";
import { judgeService, localVerdict, probe, type Verdict } from "./availability.ts";
import { type RemoteApi, remoteApiOf } from "./remote-api.ts";
import type { ServiceBackend } from "./service-backend.ts";

/** What no event tells: a server that no longer answers. Milliseconds between two looks. */
const againMs = 30_000;
const firstRetryMs = 250;

export interface AvailabilityOptions {
  readonly client: Client;
  readonly clusterClock: Clock;
  readonly ioClock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** How an APIService's server is reached now; undefined when there is no such APIService any more. */
  readonly backendOf: (name: string) => ServiceBackend | undefined;
}

/** Keeps the condition Available of all APIServices. What it follows, it follows for APIServices that have a service. */
export class AvailabilityController {
  readonly #options: AvailabilityOptions;
  readonly #queue: WorkQueue;
  /** What each APIService with a service makes this controller follow. */
  readonly #followed = new Map<string, { readonly service: string; readonly stop: AbortController }>();

  /** How often an APIService ceased to be available, by its name and the reason. */
  readonly #failures = new Map<string, number>();

  constructor(options: AvailabilityOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({ clock: options.ioClock, baseDelayMs: firstRetryMs, maxDelayMs: againMs });
    options.signal.addEventListener("abort", () => this.#queue.close(), { once: true });
    void this.#run();
  }

  /** An APIService came or changed. */
  changed(name: string, api: RemoteApi | undefined): void {
    const service = api ? `${api.service.namespace}/${api.service.name}` : undefined;
    if (this.#followed.get(name)?.service !== service) {
      this.#leave(name);
      if (api) this.#follow(name, api);
    }
    this.#queue.add(name);
  }

  removed(name: string): void {
    this.#leave(name);
    for (const labels of this.#failures.keys()) {
      if (labels.startsWith(`name="${name}",`)) this.#failures.delete(labels);
    }
    this.#queue.forget(name);
  }

  /** Prometheus' text format, under the names that Kubernetes' own alerts know. */
  metrics(all: readonly DeepReadonly<APIService>[]): string {
    const available = ({ status }: DeepReadonly<APIService>) =>
      status?.conditions?.some((one) => one.type === "Available" && one.status === "True") === true;
    const lines = [
      "# HELP aggregator_unavailable_apiservice Whether an APIService cannot be reached (1) or can (0).",
      "# TYPE aggregator_unavailable_apiservice gauge",
      ...all.map((one) => `aggregator_unavailable_apiservice{name="${one.metadata.name}"} ${available(one) ? 0 : 1}`),
      "# HELP aggregator_unavailable_apiservice_total How often an APIService ceased to be reachable, by reason.",
      "# TYPE aggregator_unavailable_apiservice_total counter",
      ...[...this.#failures].map(([labels, count]) => `aggregator_unavailable_apiservice_total{${labels}} ${count}`),
    ];
    return `${lines.join("\n")}\n`;
  }

  #leave(name: string): void {
    this.#followed.get(name)?.stop.abort();
    this.#followed.delete(name);
  }

  #follow(name: string, { service }: RemoteApi): void {
    const { client, ioClock: clock, logger } = this.#options;
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#options.signal]);
    this.#followed.set(name, { service: `${service.namespace}/${service.name}`, stop });
    const look = () => this.#queue.add(name);
    const start = <T extends KubeObject>(type: ResourceType<T>, selection: object) => {
      const informer = createInformer(client, type, { namespace: service.namespace, ...selection, clock, logger });
      informer.on({ add: look, update: look, delete: look });
      void informer.start(signal);
    };
    start(services, { fieldSelector: `metadata.name=${service.name}` });
    start(endpointSlices, { labelSelector: `kubernetes.io/service-name=${service.name}` });
  }

  async #run(): Promise<void> {
    const { logger, signal } = this.#options;
    for (;;) {
      const name = await this.#queue.take();
      if (name === undefined) return;
      // One that hangs does not hold up the others.
      this.#check(name)
        .then((fine) => {
          if (signal.aborted || fine === undefined) return;
          if (fine) this.#queue.forget(name);
          if (fine) this.#queue.addAfter(name, againMs);
          else this.#queue.addRateLimited(name);
        })
        .catch((error) => {
          if (signal.aborted) return;
          // Lost to another server, which checks it, too, is no failure.
          if (!hasReason(error, "Conflict"))
            logger.warn({ err: error, apiService: name }, "Checking an APIService failed; it is tried again");
          this.#queue.addRateLimited(name);
        })
        .finally(() => this.#queue.done(name));
    }
  }

  /** Does it answer? Undefined where there is nothing to look at again. */
  async #check(name: string): Promise<boolean | undefined> {
    const { client } = this.#options;
    const object = await client.get(apiServices, name).catch((error) => {
      if (hasReason(error, "NotFound")) return undefined;
      throw error;
    });
    if (!object) return undefined;
    const api = remoteApiOf(object);
    if (!api) {
      await this.#write(object, localVerdict);
      return undefined;
    }
    const verdict = await this.#judge(name, api);
    if (!verdict) return false;
    await this.#write(object, verdict);
    return verdict.status === "True" || verdict.reason !== "FailedDiscoveryCheck";
  }

  async #judge(name: string, api: RemoteApi): Promise<Verdict | undefined> {
    const { client, ioClock, signal, backendOf } = this.#options;
    const { namespace } = api.service;
    const [service, slices] = await Promise.all([
      client.get(services, api.service.name, { namespace }).catch((error) => {
        if (hasReason(error, "NotFound")) return undefined;
        throw error;
      }),
      client.list(endpointSlices, {
        namespace,
        labelSelector: `kubernetes.io/service-name=${api.service.name}`,
        resourceVersion: "0",
      }),
    ]);
    const seen = judgeService(api, service, slices.items);
    if (seen) return seen;
    const backend = backendOf(name);
    return backend && probe(backend, ioClock, signal);
  }

  async #write(object: APIService, verdict: Verdict): Promise<void> {
    const { client, clusterClock } = this.#options;
    const present = object.status?.conditions?.find(({ type }) => type === "Available");
    const { status, reason, message } = verdict;
    if (present?.status === status && present.reason === reason && present.message === message) return;
    const next = cloneJson(object);
    const lastTransitionTime =
      present?.status === status && present.lastTransitionTime
        ? present.lastTransitionTime
        : formatTime(clusterClock.now());
    const condition = { type: "Available", status, reason, message, lastTransitionTime };
    const conditions = next.status?.conditions ?? [];
    const index = conditions.findIndex(({ type }) => type === "Available");
    if (index < 0) conditions.push(condition);
    else conditions[index] = condition;
    next.status = { ...next.status, conditions };
    await client.update(apiServices, next, { subresource: "status", fieldManager: "kube-apiserver" });
    // After the write: one that meets a conflict is done again, and is still one failure.
    if (status === "False" && present?.status !== "False") {
      const labels = `name="${object.metadata.name}",reason="${reason}"`;
      this.#failures.set(labels, (this.#failures.get(labels) ?? 0) + 1);
    }
  }
}
