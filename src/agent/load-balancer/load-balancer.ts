import { createServer, type Socket } from "node:net";
import type { Clock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { dialFirst, joinHostPort } from "./dial-first.ts";
import {
  type Destination,
  dialOrder,
  keeps,
  type ServerStates,
  unknownServers,
  withDial,
  withServers,
  withTunnel,
} from "./server-states.ts";

export const loadBalancerName = "k3s-agent-load-balancer";

export interface LoadBalancer {
  /** "https://127.0.0.1:6444": what the agent's clients connect to. */
  readonly url: string;
  /** Takes the list of servers ("host:port") as it is now; an empty one is ignored. */
  update(addresses: readonly string[]): void;
  /** Tells how the tunnel to a server is. */
  report(address: string, connected: boolean): void;
}

export interface LoadBalancerOptions {
  /** On 127.0.0.1. */
  readonly port: number;
  /** "host:port" of the server that the agent was told to join by. */
  readonly fallback: string;
  /** Servers that are known already. */
  readonly addresses: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Closes the port and ends all connections. */
  readonly signal: AbortSignal;
}

/**
 * Passes TCP connections from a port of this machine on to whichever server works, so that an agent's clients have one
 * address for all of them.
 * @throws ConfigurationError when the port is taken
 */
export async function startLoadBalancer(options: LoadBalancerOptions): Promise<LoadBalancer> {
  const balancer = new TcpLoadBalancer(options);
  await balancer.listen();
  return balancer;
}

class TcpLoadBalancer implements LoadBalancer {
  readonly #options: LoadBalancerOptions;
  /** Where the connection of each client goes, once it is made. */
  readonly #clients = new Map<Socket, Destination | undefined>();
  #states: ServerStates;
  #port = 0;

  constructor(options: LoadBalancerOptions) {
    this.#options = options;
    this.#states = withServers(unknownServers(options.fallback), options.addresses, options.random);
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  listen(): Promise<void> {
    const { port, logger, signal } = this.#options;
    const listener = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
      void this.#serve(client);
    });
    const stop = () => {
      listener.close();
      for (const client of this.#clients.keys()) cut(client);
    };
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener("abort", stop, { once: true });
      listener.once("error", (error: NodeJS.ErrnoException) => reject(unlessPortProblem(error, port)));
      listener.listen(port, "127.0.0.1", () => {
        listener.on("error", (error) => logger.error({ err: error }, "The load balancer's listener failed"));
        this.#port = (listener.address() as { port: number }).port;
        logger.info(`Running load balancer ${loadBalancerName} 127.0.0.1:${this.#port} -> ${this.#described()}`);
        resolve();
      });
    });
  }

  update(addresses: readonly string[]): void {
    const before = this.#states;
    this.#become(withServers(before, addresses, this.#options.random));
    if (this.#states === before) return;
    this.#options.logger.info(`Updated load balancer ${loadBalancerName} server addresses -> ${this.#described()}`);
  }

  report(address: string, connected: boolean): void {
    this.#become(withTunnel(this.#states, address, connected));
  }

  #become(states: ServerStates): void {
    this.#states = states;
    for (const [client, destination] of this.#clients) {
      if (destination && !keeps(states, destination)) cut(client);
    }
  }

  async #serve(client: Socket): Promise<void> {
    const { clock, logger, signal } = this.#options;
    this.#clients.set(client, undefined);
    client.once("close", () => this.#clients.delete(client));
    client.on("error", () => {});
    try {
      const { address, socket } = await dialFirst(dialOrder(this.#states), {
        clock,
        signal,
        onFailure: (failed, error) => {
          logger.debug({ server: failed, error: error.message }, "Dial error from load balancer");
          this.#become(withDial(this.#states, failed, false));
        },
      });
      joinSockets(client, socket);
      const reached = joinHostPort(socket.remoteAddress ?? "", socket.remotePort ?? 0);
      if (!client.destroyed) this.#clients.set(client, { dialled: address, reached });
      this.#become(withDial(this.#states, address, true));
    } catch (error) {
      logger.debug({ error: (error as Error).message }, "No server takes connections of the load balancer");
      cut(client);
    }
  }

  #described(): string {
    return `[${this.#states.listed.join(" ")}] [default: ${this.#states.fallback}]`;
  }
}

/** Each direction ends on its own, and is held up on its own; what breaks one socket ends the other. */
function joinSockets(client: Socket, server: Socket): void {
  const follow = (socket: Socket, other: Socket) => {
    socket.on("error", () => cut(other));
    socket.once("close", () => {
      if (!socket.readableEnded || !socket.writableFinished) other.destroy();
    });
    socket.pipe(other);
  };
  follow(client, server);
  follow(server, client);
  if (client.destroyed) server.destroy();
}

/**
 * Resets a connection: after a mere end its peer, which may still send, would go on. A socket that said its end already
 * cannot be reset (its handle would stay open for ever, and the process with it), and need not be: its peer knows.
 */
function cut(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

function unlessPortProblem(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code !== "EADDRINUSE" && error.code !== "EACCES") return error;
  return new ConfigurationError(
    `the agent's load balancer cannot listen on 127.0.0.1:${port} (${error.code}); stop what uses the port, or choose another with --lb-server-port`,
  );
}
