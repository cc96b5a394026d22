import { type PairKind, startDatabasePair } from "../../../support/database-pair.ts";
import { startTcpProxy, type TcpProxy } from "../../../support/tcp-proxy.ts";
import { changesIn } from "./changes-in.ts";
import { databaseFaults, ofDatabase } from "./database-faults.ts";
import type { Ground } from "./ground.ts";

/** A database with a standby in containers. Each server has a wire of its own, which leads to the one that takes writes. */
export async function sqlGround(kind: PairKind): Promise<Ground> {
  await using starting = new AsyncDisposableStack();
  const servers = 3;
  const pair = starting.use(await startDatabasePair(kind));
  const wires: TcpProxy[] = [];
  for (let index = 0; index < servers; index++) wires.push(starting.use(await startTcpProxy(pair.primary)));
  const all = starting.move();
  return {
    servers,
    settings: (index) => ({
      args: [],
      env: { K3S_DATASTORE_ENDPOINT: pair.primary.endpointAt(wires[index]!.port) },
    }),
    faults: () => [
      ...databaseFaults({ database: () => pair.primary, settled: () => pair.together(), wires }),
      {
        kind: "the database is killed and its standby takes over",
        of: ofDatabase,
        healFirst: true,
        inject: () =>
          pair.failOver((to) => {
            for (const wire of wires) wire.lead(to);
          }),
        heal: () => pair.renew(),
      },
    ],
    readAlone: false,
    changesAfter: (namespace, revision) => changesIn(pair.primary.endpoint, {}, namespace, revision),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
