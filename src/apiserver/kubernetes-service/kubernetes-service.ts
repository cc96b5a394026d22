/** The Service `kubernetes`, by which pods reach the API, and the addresses of the API servers behind it. */
import { isIPv6 } from "node:net";
import { endpoints, type Service, services } from "../../api/generated/core-v1.ts";
import { endpointSlices } from "../../api/generated/discovery-v1.ts";
import type { Client } from "../../client/client.ts";
import { parseCidr } from "../../machinery/cidr.ts";
import type { Clock, Timer } from "../../machinery/clock.ts";
import { deepEqual } from "../../machinery/equality.ts";
import type { Logger } from "../../machinery/log.ts";
import { hasReason } from "../../machinery/status.ts";
import type { Store } from "../../store/store.ts";
import { ensure } from "../ensure.ts";
import type { StoreFeed } from "../storage/store-feed.ts";
import { endpointSlicesOf, endpointsOf, type ServerAddress, serviceName, serviceNamespace } from "./endpoints-plan.ts";
import { listServerLeases, removeServerLease, renewServerLease, serverLeasePrefix } from "./server-leases.ts";

export interface KubernetesServiceOptions {
  readonly client: Client;
  readonly store: Store;
  readonly feed: StoreFeed;
  /** io time. */
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where this server is reached. */
  readonly advertise: ServerAddress;
  readonly serviceCidr: string;
}

/** How often a server says that it works (Kubernetes' figure), and tries again when it could not. */
const renewIntervalMs = 10_000;
const retryMs = 1000;
/** A server that stops waits for a slow store this long at most: its key runs out by itself. */
const leaveTimeoutMs = 3000;

/**
 * Keeps the Service and its endpoints. A server that has its store alone writes its address once. Where the store is
 * shared, every server keeps a key in it that runs out, and whoever sees one come or go writes the endpoints anew
 * (Kubernetes' lease reconciler).
 */
export class KubernetesService {
  readonly #options: KubernetesServiceOptions;
  #timer: Timer | undefined;
  #unlisten: (() => void) | undefined;
  #stopped = false;
  /** Writes of the endpoints, one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: KubernetesServiceOptions) {
    this.#options = options;
  }

  /** Resolves when this server is among the endpoints. Rejects when the store does not take it. */
  async start(): Promise<void> {
    const { client, store, feed, advertise, serviceCidr } = this.#options;
    await ensureService(client, advertise, serviceCidr);
    if (store.exclusive) {
      await this.#write([advertise]);
      // Of servers that it was shared with before; nobody waits for that.
      return void this.#try(() => this.#removeOthers([advertise]));
    }
    this.#unlisten = feed.listen(serverLeasePrefix.slice("/registry/".length), (events) => {
      // A renewal changes nothing.
      if (events.some(({ entry, previous }) => !entry || !previous?.value.equals(entry.value)))
        void this.#try(() => this.#inTurn(() => this.#reconcile()));
    });
    await this.#renew();
    this.#again(renewIntervalMs);
  }

  /** "host:port" of every API server that works. */
  async addresses(): Promise<readonly string[]> {
    return (await this.#servers()).map(({ address, port }) => `${isIPv6(address) ? `[${address}]` : address}:${port}`);
  }

  /** Takes this server out of the endpoints, where there are others. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#unlisten?.();
    const { store, advertise, clock, logger } = this.#options;
    if (store.exclusive) return;
    const leave = this.#inTurn(async () => {
      await removeServerLease(store, advertise);
      const others = await this.#servers();
      await this.#write(others);
      await this.#removeOthers(others);
    });
    const late = new AbortController();
    await Promise.race([leave, clock.sleep(leaveTimeoutMs, late.signal).catch(() => {})])
      .catch((error) => logger.warn({ err: error }, "This server could not take itself out of the endpoints"))
      .finally(() => late.abort());
  }

  #again(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#renew().then(
        () => this.#again(renewIntervalMs),
        (error) => {
          if (!this.#stopped) this.#options.logger.warn({ err: error }, "Renewing this server's key failed");
          this.#again(retryMs);
        },
      );
    });
  }

  #renew(): Promise<void> {
    const { store, advertise } = this.#options;
    return this.#inTurn(async () => {
      if (this.#stopped) return;
      await renewServerLease(store, advertise);
      await this.#reconcile();
    });
  }

  async #reconcile(): Promise<void> {
    if (this.#stopped) return;
    const servers = await this.#servers();
    // This one works: a list without any server is not believed.
    if (servers.length === 0) return;
    await this.#write(servers);
    await this.#removeOthers(servers);
  }

  /** Runs after everything that was begun before. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work, work);
    this.#turn = mine;
    return mine;
  }

  async #try(work: () => Promise<void>): Promise<void> {
    await work().catch((error) => {
      if (!this.#stopped) this.#options.logger.warn({ err: error }, "Writing the endpoints of the API servers failed");
    });
  }

  #servers(): Promise<ServerAddress[]> {
    const { store, advertise } = this.#options;
    return store.exclusive ? Promise.resolve([advertise]) : listServerLeases(store, advertise.port);
  }

  async #write(servers: readonly ServerAddress[]): Promise<void> {
    const { client } = this.#options;
    const wanted = endpointsOf(servers);
    await ensure(client, endpoints, wanted, (present) => {
      if (deepEqual(present.subsets, wanted.subsets)) return false;
      present.subsets = wanted.subsets!;
      return true;
    });
    for (const slice of endpointSlicesOf(servers)) {
      await ensure(client, endpointSlices, slice, (present) => {
        if (present.addressType !== slice.addressType) return "replace";
        if (deepEqual(present.endpoints, slice.endpoints) && deepEqual(present.ports, slice.ports)) return false;
        present.endpoints = slice.endpoints;
        present.ports = slice.ports!;
        return true;
      });
    }
  }

  /** Slices of ports that no server has any more. */
  async #removeOthers(servers: readonly ServerAddress[]): Promise<void> {
    const { client } = this.#options;
    const kept = endpointSlicesOf(servers).map(({ metadata }) => metadata.name);
    const namespace = serviceNamespace;
    const labelSelector = `kubernetes.io/service-name=${serviceName}`;
    const { items } = await client.list(endpointSlices, { namespace, labelSelector });
    for (const { metadata } of items) {
      const { name = "" } = metadata;
      const ours = name === serviceName || /^kubernetes-ipv[46]-\d+$/.test(name);
      if (!ours || kept.includes(name)) continue;
      await client.delete(endpointSlices, name, { namespace }).catch((error) => {
        if (!hasReason(error, "NotFound")) throw error;
      });
    }
  }
}

async function ensureService(client: Client, advertise: ServerAddress, serviceCidr: string): Promise<void> {
  const clusterIP = parseCidr(serviceCidr.split(",")[0]!).nth(1);
  const wanted: Service = {
    metadata: {
      name: serviceName,
      namespace: serviceNamespace,
      labels: { component: "apiserver", provider: "kubernetes" },
    },
    spec: {
      type: "ClusterIP",
      // Reserved: the first address of the range, which the allocator leaves alone.
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: [isIPv6(clusterIP) ? "IPv6" : "IPv4"],
      ipFamilyPolicy: "SingleStack",
      internalTrafficPolicy: "Cluster",
      ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: advertise.port }],
      sessionAffinity: "None",
    },
  };
  await ensure(client, services, wanted, ({ spec }) => {
    const [first] = spec?.ports ?? [];
    if (!first || first.targetPort === advertise.port) return false;
    first.targetPort = advertise.port;
    return true;
  });
}
