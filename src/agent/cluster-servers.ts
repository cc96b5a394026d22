import { join } from "node:path";
import type { EndpointSlice } from "../api/generated/discovery-v1.ts";
import type { Informer } from "../client/informer.ts";
import type { Clock, Timer } from "../machinery/clock.ts";
import { parseJson } from "../machinery/json.ts";
import type { Logger } from "../machinery/log.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { type Supervisor, serverUrl } from "./bootstrap/supervisor-client.ts";
import { isHostPort, joinHostPort } from "./load-balancer/dial-first.ts";
import { type LoadBalancer, loadBalancerName, startLoadBalancer } from "./load-balancer/load-balancer.ts";
import { rememberedServers, rememberServers } from "./load-balancer/remembered-servers.ts";
import { sameServers } from "./load-balancer/server-states.ts";
import { serviceKeyOf } from "./proxy/service-informers.ts";
import { serverAddresses } from "./server-addresses.ts";
import { ServerTunnels, type ServerTunnelsOptions } from "./server-tunnels.ts";

/** Servers that start come and go in their list a few times, milliseconds (K3s' own). */
const debounceMs = 1_000;

export interface ClusterServersOptions {
  /** Where the node was told to join. */
  readonly server: string;
  /** "host:port" under which the server that this node is part of is listed; undefined for an agent. */
  readonly own: string | undefined;
  /** The load balancer's port; undefined: clients speak to `server`. */
  readonly loadBalancerPort: number | undefined;
  /** "/var/lib/rancher/k3s/agent" */
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * The servers of the cluster as this node knows them: where its clients connect to, and to which it keeps tunnels. An
 * agent knows those that it knew when it last ran, then those that the server it joins tells, then those that the
 * cluster's own Service has.
 */
export class ClusterServers {
  readonly #options: ClusterServersOptions;
  readonly #fallback: string;
  readonly #file: string;
  #known: readonly string[] = [];
  #balancer: LoadBalancer | undefined;
  #tunnels: ServerTunnels | undefined;

  constructor(options: ClusterServersOptions) {
    const { hostname, port } = serverUrl(options.server);
    this.#options = options;
    this.#fallback = joinHostPort(hostname.replace(/^\[(.*)\]$/, "$1"), port || "443");
    this.#file = join(options.directory, "etc", `${loadBalancerName}.json`);
  }

  /** @throws ConfigurationError when the load balancer's port is taken */
  async start(): Promise<void> {
    const { loadBalancerPort, server, clock, logger, signal } = this.#options;
    if (loadBalancerPort === undefined) return;
    this.#known = rememberedServers(this.#file, server);
    this.#balancer = await startLoadBalancer({
      port: loadBalancerPort,
      fallback: this.#fallback,
      addresses: this.#known,
      random: Math.random,
      clock,
      logger,
      signal,
    });
  }

  /** What the node's clients connect to. */
  get url(): string {
    return this.#balancer?.url ?? serverUrl(this.#options.server).origin;
  }

  /** Where to try to join, best first. */
  get joinUrls(): string[] {
    return [this.#options.server, ...this.#known.map((address) => `https://${address}`)];
  }

  /** Asks a server for all of them. One that does not tell leaves what is known as it was. */
  async learn(supervisor: Supervisor): Promise<void> {
    const { logger, own } = this.#options;
    if (own !== undefined) return;
    try {
      const addresses = parseAddresses(await supervisor.get("/v1-k3s/apiservers"));
      logger.info(`Got apiserver addresses from supervisor: [${addresses.join(" ")}]`);
      this.#take(addresses);
    } catch (error) {
      logger.warn({ error: (error as Error).message }, "The server does not tell which servers there are");
    }
  }

  /** Keeps a tunnel to every server from now on. */
  openTunnels(options: Omit<ServerTunnelsOptions, "onState" | "clock" | "logger" | "signal">): void {
    const { clock, logger, signal } = this.#options;
    const onState = (address: string, connected: boolean) => this.#balancer?.report(address, connected);
    this.#tunnels = new ServerTunnels({ ...options, onState, clock, logger, signal });
    this.#tunnels.follow(this.#reachable());
  }

  /** Follows the endpoints of the Service `default/kubernetes`. */
  follow(slices: Informer<EndpointSlice>): void {
    const { clock, signal } = this.#options;
    slices.addIndex("service", (slice) => [serviceKeyOf(slice)]);
    let timer: Timer | undefined;
    const changed = (slice: DeepReadonly<EndpointSlice>) => {
      if (serviceKeyOf(slice) !== apiService) return;
      timer?.cancel();
      timer = clock.after(debounceMs, () => {
        if (!signal.aborted) this.#take(serverAddresses(slices.byIndex("service", apiService)));
      });
    };
    slices.on({ add: changed, update: changed, delete: changed });
  }

  /** A list without a server is a bad answer: whoever gave it is one. */
  #take(addresses: readonly string[]): void {
    if (addresses.length === 0 || sameServers(addresses, this.#known)) return;
    this.#known = addresses;
    this.#balancer?.update(addresses);
    this.#tunnels?.follow(this.#reachable());
    if (!this.#balancer) return;
    rememberServers(this.#file, this.#options.server, addresses).catch((error: Error) => {
      this.#options.logger.warn({ error: error.message }, "Failed to write the load balancer's state");
    });
  }

  /** Where tunnels go: a server's own node reaches its server without leaving the machine. */
  #reachable(): readonly string[] {
    const { own } = this.#options;
    if (own !== undefined) return [this.#fallback, ...this.#known.filter((address) => address !== own)];
    return this.#known.length > 0 ? this.#known : [this.#fallback];
  }
}

const apiService = "default/kubernetes";

/** @throws when it is no list of addresses */
function parseAddresses(body: Buffer): string[] {
  const addresses = parseJson(body);
  if (!Array.isArray(addresses) || !addresses.every(isHostPort))
    throw new Error(`the answer is no list of addresses: ${body.toString("utf8").slice(0, 200)}`);
  return addresses;
}
