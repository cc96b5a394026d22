import type { Service } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { keyOf } from "../../machinery/object.ts";
import { applyNft, listNftTable } from "../host/nft.ts";
import { filterBridge } from "../network/kernel-parameters.ts";
import { forgetFlows, staleFlows } from "./conntrack.ts";
import type { HostPort } from "./host-port.ts";
import { render } from "./render.ts";
import { proxyTable, type Ruleset, renderChange, renderWhole } from "./ruleset.ts";
import { followServices, type ServiceInformers } from "./service-informers.ts";
import { type ServicePort, servicePortsOf } from "./service-port.ts";

export interface ProxyOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  /** Do packets between pods of one bridge pass nftables? Absent: it is turned on where the kernel can. */
  readonly bridgeFiltered?: boolean;
  /** Shared with the DNS; absent: own ones are started. */
  readonly informers?: ServiceInformers;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the work. The rules stay, since running pods use them. */
  readonly signal: AbortSignal;
}

export interface ServiceProxy {
  /** Tells the host ports of this node's pods: the whole list, each time it changes. */
  setHostPorts(hostPorts: readonly HostPort[]): void;
}

/** Changes that come faster are collected for this long. */
const intervalMs = 100;
const retryFirstMs = 1000;
const retryMaxMs = 30_000;
/** How often to look whether somebody removed the table (a firewall that flushes everything). */
const checkMs = 300_000;

/**
 * Serves ClusterIPs, node ports, external addresses and host ports of this node through one nftables table.
 * Resolves when the rules of all Services are in place; rejects with the signal's reason.
 */
export async function startProxy(options: ProxyOptions): Promise<ServiceProxy> {
  const { signal } = options;
  const informers = options.informers ?? followServices(options);
  const bridgeFiltered = options.bridgeFiltered ?? (await filterBridge(options.logger));
  const proxy = new NftProxy({ ...options, bridgeFiltered }, informers);
  await Promise.all([informers.services.synced(signal), informers.endpointSlices.synced(signal)]);
  await proxy.start();
  return proxy;
}

class NftProxy implements ServiceProxy {
  readonly #options: ProxyOptions;
  readonly #informers: ServiceInformers;
  #hostPorts: readonly HostPort[] = [];
  /** What the kernel holds; undefined: unknown, so the whole table is written. */
  #applied: Ruleset | undefined;
  /** What was served last; undefined before the first round, whose clients are none of an earlier proxy's concern. */
  #served: readonly ServicePort[] | undefined;
  #dirty = true;
  #running = false;
  #timer: Timer | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;
  #retryMs = retryFirstMs;
  #first: { resolve(): void; reject(reason: unknown): void } | undefined;

  constructor(options: ProxyOptions, informers: ServiceInformers) {
    this.#options = options;
    this.#informers = informers;
  }

  start(): Promise<void> {
    const { signal } = this.#options;
    const mark = () => this.#mark();
    this.#informers.services.on({ add: mark, update: mark, delete: mark });
    this.#informers.endpointSlices.on({ add: mark, update: mark, delete: mark });
    return new Promise((resolve, reject) => {
      this.#first = { resolve, reject };
      signal.addEventListener(
        "abort",
        () => {
          this.#timer?.cancel();
          reject(signal.reason);
        },
        { once: true },
      );
      this.#mark();
    });
  }

  setHostPorts(hostPorts: readonly HostPort[]): void {
    this.#hostPorts = hostPorts;
    this.#mark();
  }

  /** The first change after a pause is applied in this turn of the loop, the next ones together a moment later. */
  #mark(): void {
    this.#dirty = true;
    if (!this.#first || this.#running || this.#options.signal.aborted) return;
    const waitMs = this.#lastMs + intervalMs - this.#options.clock.now();
    this.#schedule(Math.max(0, waitMs));
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(delayMs, () => void this.#round());
  }

  async #round(): Promise<void> {
    const { clock, logger, signal } = this.#options;
    if (this.#running) return;
    this.#running = true;
    let nextMs = checkMs;
    try {
      if (!this.#dirty && this.#applied && (await listNftTable("ip", proxyTable)) === undefined) {
        logger.warn("Service rules were removed by somebody else; they are written again");
        this.#applied = undefined;
      }
      if (this.#dirty || !this.#applied) await this.#apply();
      this.#retryMs = retryFirstMs;
      this.#first?.resolve();
    } catch (error) {
      this.#dirty = true;
      nextMs = this.#retryMs;
      this.#retryMs = Math.min(this.#retryMs * 2, retryMaxMs);
      const fields = { error: error instanceof Error ? error.message : String(error), retryMs: nextMs };
      if (!signal.aborted) logger.error(fields, "Could not write the Service rules");
    }
    this.#running = false;
    this.#lastMs = clock.now();
    if (signal.aborted) return;
    this.#schedule(this.#dirty && this.#retryMs === retryFirstMs ? intervalMs : nextMs);
  }

  async #apply(): Promise<void> {
    const { clusterCidr, serviceCidr, bridgeFiltered = true, logger, signal } = this.#options;
    this.#dirty = false;
    const servicePorts = this.#servicePorts();
    const ruleset = render({ servicePorts, hostPorts: this.#hostPorts, clusterCidr, serviceCidr, bridgeFiltered });
    const applied = this.#applied;
    const change = applied && renderChange(applied, ruleset);
    if (change === "") return;
    // Whatever happens now, what the kernel holds is known only after it succeeded.
    this.#applied = undefined;
    if (change) {
      try {
        await applyNft(change, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        const fields = { error: error instanceof Error ? error.message : String(error) };
        logger.warn(fields, "Service rules are not what was written last; the whole table is written");
        await applyNft(renderWhole(ruleset), signal);
      }
    } else {
      await applyNft(renderWhole(ruleset), signal);
    }
    this.#applied = ruleset;
    const served = this.#served;
    this.#served = servicePorts;
    if (served) await this.#forget(staleFlows(served, servicePorts));
  }

  async #forget(flows: ReturnType<typeof staleFlows>): Promise<void> {
    const { logger, signal } = this.#options;
    try {
      await forgetFlows(flows, signal);
    } catch (error) {
      if (signal.aborted) return;
      // The rules stand; what is left over ends with its clients.
      logger.warn({ error: error instanceof Error ? error.message : String(error) }, "Could not forget old UDP flows");
    }
  }

  #servicePorts(): ServicePort[] {
    const { services, endpointSlices } = this.#informers;
    const order = (a: DeepReadonly<Service>, b: DeepReadonly<Service>) => (age(a) < age(b) ? -1 : 1);
    // The older of two Services that claim the same address and port keeps it.
    return services
      .list()
      .sort(order)
      .flatMap((service) =>
        servicePortsOf(service, endpointSlices.byIndex("service", keyOf(service as Service)), this.#options.nodeName),
      );
  }
}

function age(service: DeepReadonly<Service>): string {
  return `${service.metadata.creationTimestamp ?? ""} ${service.metadata.namespace}/${service.metadata.name}`;
}
