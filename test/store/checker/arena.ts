import { rmSync } from "node:fs";
import { createHttpsClient, type HttpsClient } from "../../../src/client/https-client.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { eventually } from "../../support/eventually.ts";
import { type ServerProcess, type ServerProcessOptions, startServerProcess } from "../../support/server-process.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";
import type { Fault } from "./fault.ts";
import type { Ground } from "./grounds/ground.ts";
import { prepareGround, type StoreKind } from "./grounds/prepare-ground.ts";
import type { Change } from "./history.ts";
import type { Target } from "./workload.ts";

/** Servers on one store, each with a wire of its own from its clients, and what can happen to all of them. */
export interface Arena extends AsyncDisposable {
  readonly targets: readonly Target[];
  readonly faults: readonly Fault[];
  /** Every change of a namespace's ConfigMaps after a revision, read from the store without any server. */
  changesAfter(namespace: string, revision: number): Promise<readonly Change[]>;
}

/** Starts a server, or starts it again where it was. */
type Start = (again: ServerProcess | undefined) => Promise<ServerProcess>;

/** A server of the arena: at the same place however often it is started. */
class ArenaServer {
  readonly #index: number;
  readonly #wire: TcpProxy;
  readonly #start: Start;
  #process: ServerProcess;
  #client: HttpsClient;

  private constructor(index: number, wire: TcpProxy, process: ServerProcess, start: Start) {
    this.#index = index;
    this.#wire = wire;
    this.#start = start;
    this.#process = process;
    this.#client = clientOf(process, wire);
  }

  static async begin(index: number, start: Start): Promise<ArenaServer> {
    const process = await start(undefined);
    const wire = await startTcpProxy({ host: "127.0.0.1", port: Number(new URL(process.url).port) });
    return new ArenaServer(index, wire, process, start);
  }

  get process(): ServerProcess {
    return this.#process;
  }

  get target(): Target {
    return { name: `server ${this.#index}`, client: () => this.#client };
  }

  async kill(): Promise<void> {
    this.#client.close();
    await this.#process.kill();
  }

  async startAgain(): Promise<void> {
    this.#process = await this.#start(this.#process);
    this.#client = clientOf(this.#process, this.#wire);
  }

  get faults(): readonly Fault[] {
    const [of, wire] = [`server ${this.#index}`, `clients of server ${this.#index}`];
    return [
      {
        kind: "a server is killed and started",
        of,
        healFirst: false,
        inject: () => this.kill(),
        heal: () => this.startAgain(),
      },
      {
        kind: "a server is paused",
        of,
        healFirst: true,
        inject: async () => void process.kill(this.#process.pid, "SIGSTOP"),
        heal: async () => void process.kill(this.#process.pid, "SIGCONT"),
      },
      {
        kind: "clients are cut off from a server",
        of: wire,
        healFirst: true,
        inject: async () => this.#wire.cut(),
        heal: async () => this.#wire.heal(),
      },
      {
        kind: "packets between clients and a server are lost",
        of: wire,
        healFirst: true,
        inject: async () => this.#wire.stall(),
        heal: async () => this.#wire.heal(),
      },
    ];
  }

  /** Whatever state it is in: nothing of it is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#wire[Symbol.asyncDispose]();
    await this.#process.stop().catch(() => {});
    // Its etcd, where it has one, ends a moment after it.
    await eventually(() => rmSync(this.#process.directory, { recursive: true, force: true }));
  }
}

/**
 * Starts the servers one after the other: the first makes the authorities that all share.
 * @param options.program Node's arguments up to the servers' program; default the sources
 */
export async function startArena(kind: StoreKind, options: Pick<ServerProcessOptions, "program"> = {}): Promise<Arena> {
  await using starting = new AsyncDisposableStack();
  const ground: Ground = starting.use(await prepareGround(kind));
  const servers: ArenaServer[] = [];
  for (let index = 0; index < ground.servers; index++) {
    const { args, env } = ground.settings(index, servers[0]?.process);
    const start: Start = (again) =>
      startServerProcess({
        ...options,
        // Addresses of servers that nobody dials: all of them listen on this machine.
        args: ["--node-name", `server-${index}`, "--advertise-address", `192.0.2.${index + 1}`, ...args],
        env: { K3S_TOKEN: "checker", ...env },
        ...(again ? { directory: again.directory, port: Number(new URL(again.url).port) } : {}),
      });
    servers.push(starting.use(await ArenaServer.begin(index, start)));
  }
  const all = starting.move();
  return {
    targets: servers.map(({ target }) => target),
    faults: [...ground.faults(servers.map(({ process }) => process)), ...servers.flatMap((server) => server.faults)],
    async changesAfter(namespace, revision) {
      if (ground.readAlone) for (const server of servers) await server.kill();
      try {
        return await ground.changesAfter(
          namespace,
          revision,
          servers.map(({ process }) => process),
        );
      } finally {
        if (ground.readAlone) for (const server of servers) await server.startAgain();
      }
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function clientOf({ credentials }: ServerProcess, wire: TcpProxy): HttpsClient {
  const server = `https://127.0.0.1:${wire.port}`;
  return createHttpsClient({ server, ...credentials, userAgent: "checker", logger: silentLogger });
}
