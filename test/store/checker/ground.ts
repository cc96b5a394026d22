import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { configMaps } from "../../../src/api/generated/core-v1.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { type DatastoreFiles, parseDatastoreEndpoint } from "../../../src/store/datastore-endpoint.ts";
import { openStore } from "../../../src/store/open-store.ts";
import type { StoreEvent } from "../../../src/store/store.ts";
import { type DatabaseKind, startDatabase } from "../../support/database.ts";
import { loopbackNetwork, provideEtcd } from "../../support/etcd-programs.ts";
import { eventually } from "../../support/eventually.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";
import type { Fault } from "./fault.ts";
import type { Change } from "./history.ts";

/** What a cluster is kept in. */
export const storeKinds = ["sqlite", "etcd", "embedded-etcd", "postgres", "mariadb"] as const;
export type StoreKind = (typeof storeKinds)[number];

/** A server of the arena, as what is below it sees it. */
export interface GroundServer {
  readonly directory: string;
  readonly url: string;
}

/** What the servers of an arena stand on, and what can happen to it. */
export interface Ground extends AsyncDisposable {
  /** How many servers it is for. */
  readonly servers: number;
  /** How a server is started on it. The first is undefined for the first itself. */
  settings(index: number, first: GroundServer | undefined): { args: readonly string[]; env: Record<string, string> };
  /** What can happen to it and to its wires, once all servers run. */
  faults(servers: readonly GroundServer[]): readonly Fault[];
  /** Whether the servers have to be away while the store is read. */
  readonly readAlone: boolean;
  /** Every change of a namespace's ConfigMaps after a revision, read from the store without any server. */
  changesAfter(namespace: string, revision: number, servers: readonly GroundServer[]): Promise<readonly Change[]>;
}

export function prepareGround(kind: StoreKind): Promise<Ground> {
  if (kind === "sqlite") return Promise.resolve(sqliteGround);
  return kind === "embedded-etcd" ? embeddedGround() : databaseGround(kind);
}

/** One server with its own file: nobody else can be asked, and nobody else may open it. */
const sqliteGround: Ground = {
  servers: 1,
  settings: () => ({ args: [], env: {} }),
  faults: () => [],
  readAlone: true,
  changesAfter: (namespace, revision, [server]) =>
    changesIn(`sqlite://${join(server!.directory, "data/server/db/state.db")}`, {}, namespace, revision),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/** A database in a container, to which each server has a wire of its own. */
async function databaseGround(kind: DatabaseKind): Promise<Ground> {
  await using starting = new AsyncDisposableStack();
  const servers = 3;
  const database = starting.use(await startDatabase(kind));
  const wires: TcpProxy[] = [];
  for (let index = 0; index < servers; index++) wires.push(starting.use(await startTcpProxy(database)));
  const all = starting.move();
  return {
    servers,
    settings: (index) => {
      const endpoint = database.endpoint.replace(`:${database.port}`, `:${wires[index]!.port}`);
      return { args: [], env: { K3S_DATASTORE_ENDPOINT: endpoint } };
    },
    faults: () => [
      {
        kind: "the database is killed and started",
        of: "database",
        healFirst: true,
        inject: () => database.kill(),
        heal: () => database.start(),
      },
      {
        kind: "the database is paused",
        of: "database",
        healFirst: true,
        inject: () => database.pause(),
        heal: () => database.unpause(),
      },
      ...wires.flatMap((wire, index): Fault[] => [
        {
          kind: "a server is cut off from the database",
          of: `wire ${index}`,
          healFirst: true,
          inject: async () => wire.cut(),
          heal: async () => wire.heal(),
        },
        {
          kind: "a server's packets to the database are lost",
          of: `wire ${index}`,
          healFirst: true,
          inject: async () => wire.stall(),
          heal: async () => wire.heal(),
        },
      ]),
    ],
    readAlone: false,
    changesAfter: (namespace, revision) => changesIn(database.endpoint, {}, namespace, revision),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** A member of etcd beside each server, each at an address of its own. */
async function embeddedGround(): Promise<Ground> {
  const remove = await provideEtcd();
  const network = loopbackNetwork();
  const servers = 3;
  const addressOf = (index: number) => `${network}.${index + 1}`;
  return {
    servers,
    settings: (index, first) => ({
      args: [
        ...["--node-ip", addressOf(index)],
        ...(first === undefined ? ["--cluster-init"] : ["--server", first.url]),
      ],
      env: {},
    }),
    faults: (running) =>
      running.flatMap((server, index): Fault[] => [
        {
          kind: "a server's etcd is killed",
          of: `etcd ${index}`,
          healFirst: true,
          inject: async () => {
            process.kill(await eventually(() => etcdOf(server)), "SIGKILL");
          },
          // Its server starts it again.
          heal: () => Promise.resolve(),
        },
        pausedEtcd(server, index),
      ]),
    readAlone: false,
    changesAfter: (namespace, revision, [first]) => {
      const tls = (file: string) => join(first!.directory, "data/server/tls/etcd", file);
      const files = { ca: tls("server-ca.crt"), cert: tls("client.crt"), key: tls("client.key") };
      const endpoint = Array.from({ length: servers }, (_, index) => `https://${addressOf(index)}:2379`).join(",");
      return changesIn(endpoint, files, namespace, revision);
    },
    [Symbol.asyncDispose]: async () => remove(),
  };
}

function pausedEtcd(server: GroundServer, index: number): Fault {
  let paused: number | undefined;
  return {
    kind: "a server's etcd is paused",
    of: `etcd ${index}`,
    healFirst: true,
    inject: async () => {
      paused = await eventually(() => etcdOf(server));
      process.kill(paused, "SIGSTOP");
    },
    heal: async () => {
      // It may be gone: it dies with its server.
      if (paused !== undefined && etcdsOf(server).includes(paused)) process.kill(paused, "SIGCONT");
      paused = undefined;
    },
  };
}

/** The etcd of a server. Throws while there is none. */
function etcdOf(server: GroundServer): number {
  const [pid] = etcdsOf(server);
  if (pid === undefined) throw new Error(`no etcd runs for ${server.directory}`);
  return pid;
}

function etcdsOf({ directory }: GroundServer): number[] {
  const config = join(directory, "data/server/db/etcd/config");
  const isIts = (pid: string) => {
    const file = `/proc/${pid}/cmdline`;
    try {
      return existsSync(file) && readFileSync(file, "utf8").startsWith(`etcd\0--config-file\0${config}`);
    } catch {
      // It has ended meanwhile.
      return false;
    }
  };
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && isIts(name))
    .map(Number);
}

async function changesIn(
  endpoint: string,
  files: DatastoreFiles,
  namespace: string,
  revision: number,
): Promise<readonly Change[]> {
  const store = await openStore({
    endpoint: parseDatastoreEndpoint(endpoint),
    files,
    sqlitePath: "",
    logger: silentLogger,
    clock: ioClock,
  });
  try {
    const changes: Change[] = [];
    const prefix = `/registry/${configMaps.resource}/${namespace}/`;
    for await (const page of store.history(prefix, revision))
      changes.push(...page.map((event) => toChange(prefix, event)));
    return changes;
  } finally {
    await store.close();
  }
}

function toChange(prefix: string, { type, key, revision, entry }: StoreEvent): Change {
  const data = entry ? (JSON.parse(entry.value.toString()) as { data?: { value?: string } }).data : undefined;
  return { type, key: key.slice(prefix.length), revision, value: data?.value ?? "" };
}
