import type { Clock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import { connectTunnel, type TunnelTls } from "../tunnel/tunnel-client.ts";

/** A tunnel to each server that is known: each connects again by itself, until its server leaves the list. */
export class ServerTunnels {
  readonly #options: ServerTunnelsOptions;
  readonly #tunnels = new Map<string, AbortController>();

  constructor(options: ServerTunnelsOptions) {
    this.#options = options;
  }

  /** Opens tunnels to those of `addresses` ("host:port") that have none, and ends those to others. */
  follow(addresses: readonly string[]): void {
    for (const [address, tunnel] of this.#tunnels) {
      if (addresses.includes(address)) continue;
      this.#tunnels.delete(address);
      tunnel.abort(new Error("the server left the cluster"));
      this.#options.logger.info(`Stopped tunnel to ${address}`);
    }
    for (const address of addresses) if (!this.#tunnels.has(address)) this.#open(address);
  }

  #open(address: string): void {
    const { onState, signal, ...options } = this.#options;
    const tunnel = new AbortController();
    this.#tunnels.set(address, tunnel);
    void connectTunnel({
      ...options,
      url: `wss://${address}/v1-k3s/connect`,
      onState: (state) => {
        if (state !== "connecting" && !tunnel.signal.aborted) onState(address, state === "connected");
      },
      signal: AbortSignal.any([signal, tunnel.signal]),
    });
  }
}

export interface ServerTunnelsOptions {
  readonly tls: TunnelTls;
  /** May a server reach "host:port" through this node? */
  readonly allow: (target: string) => boolean;
  /** Told whenever a tunnel stands, or fell, or could not be made. */
  readonly onState: (address: string, connected: boolean) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends all tunnels. */
  readonly signal: AbortSignal;
}
