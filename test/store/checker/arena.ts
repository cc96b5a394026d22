import { configMaps } from "../../../src/api/generated/core-v1.ts";
import type { Client } from "../../../src/client/client.ts";
import { createHttpsClient, type HttpsClient } from "../../../src/client/https-client.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { parseDatastoreEndpoint } from "../../../src/store/datastore-endpoint.ts";
import { openStore } from "../../../src/store/open-store.ts";
import type { Store, StoreEvent } from "../../../src/store/store.ts";
import { type DatabaseKind, startDatabase, type TestDatabase } from "../../support/database.ts";
import { type ServerProcess, startServerProcess } from "../../support/server-process.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";
import type { Change } from "./history.ts";
import type { Target } from "./workload.ts";

/** Something that goes wrong and is mended again; both may be called at any time. */
export interface Fault {
  readonly name: string;
  inject(): Promise<void>;
  heal(): Promise<void>;
}

/** Servers on one database, each with a wire of its own to it, and what can happen to them. */
export interface Arena extends AsyncDisposable {
  readonly targets: readonly Target[];
  readonly faults: readonly Fault[];
  /** Every change of a namespace's ConfigMaps after a revision, read from the store without any server. */
  changesAfter(namespace: string, revision: number): Promise<readonly Change[]>;
}

interface Running {
  process: ServerProcess;
  client: HttpsClient;
}

/** Starts the servers one after the other: the first makes the authorities that all share. */
export async function startArena(kind: DatabaseKind, servers: number): Promise<Arena> {
  await using starting = new AsyncDisposableStack();
  const database = starting.use(await startDatabase(kind));
  const wires: TcpProxy[] = [];
  const running: Running[] = [];
  const start = async (wire: TcpProxy, again?: ServerProcess): Promise<Running> => {
    const endpoint = database.endpoint.replace(`:${database.port}`, `:${wire.port}`);
    const process = await startServerProcess({
      args: ["--token", "checker"],
      env: { K3S_DATASTORE_ENDPOINT: endpoint },
      ...(again ? { directory: again.directory, port: Number(new URL(again.url).port) } : {}),
    });
    return { process, client: clientOf(process) };
  };
  for (let index = 0; index < servers; index++) {
    const wire = starting.use(await startTcpProxy(database));
    wires.push(wire);
    const one = await start(wire);
    running.push(one);
    starting.defer(async () => {
      running[index]!.client.close();
      await running[index]!.process.stop();
    });
  }
  const faults: Fault[] = [
    {
      name: "the database is killed and started",
      inject: () => database.kill(),
      heal: () => database.start(),
    },
    { name: "the database is paused", inject: () => database.pause(), heal: () => database.unpause() },
    ...wires.flatMap((wire, index): Fault[] => [
      {
        name: `server ${index} is killed and started`,
        inject: async () => {
          running[index]!.client.close();
          await running[index]!.process.kill();
        },
        heal: async () => {
          running[index] = await start(wire, running[index]!.process);
        },
      },
      {
        name: `server ${index} is cut off from the database`,
        inject: async () => wire.cut(),
        heal: async () => wire.heal(),
      },
      {
        name: `server ${index}'s packets to the database are lost`,
        inject: async () => wire.stall(),
        heal: async () => wire.heal(),
      },
    ]),
  ];
  const all = starting.move();
  return {
    targets: running.map((_, index) => ({ name: `server ${index}`, client: (): Client => running[index]!.client })),
    faults,
    changesAfter: (namespace, revision) => changesIn(database, namespace, revision),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function clientOf({ url, credentials }: ServerProcess): HttpsClient {
  return createHttpsClient({ server: url, ...credentials, userAgent: "checker", logger: silentLogger });
}

async function changesIn(database: TestDatabase, namespace: string, revision: number): Promise<readonly Change[]> {
  const store: Store = await openStore({
    endpoint: parseDatastoreEndpoint(database.endpoint),
    files: {},
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
