import { startDatabase } from "../../../support/database.ts";
import { startTcpProxy, type TcpProxy } from "../../../support/tcp-proxy.ts";
import { changesIn } from "./changes-in.ts";
import { databaseFaults } from "./database-faults.ts";
import type { Ground } from "./ground.ts";

/** One etcd in a container, to which each server has a wire of its own. */
export async function etcdGround(): Promise<Ground> {
  await using starting = new AsyncDisposableStack();
  const servers = 3;
  const database = starting.use(await startDatabase("etcd"));
  const wires: TcpProxy[] = [];
  for (let index = 0; index < servers; index++) wires.push(starting.use(await startTcpProxy(database)));
  const all = starting.move();
  return {
    servers,
    settings: (index) => ({
      args: [],
      env: { K3S_DATASTORE_ENDPOINT: database.endpointAt(wires[index]!.port) },
    }),
    faults: () => databaseFaults({ database: () => database, wires }),
    readAlone: false,
    changesAfter: (namespace, revision) => changesIn(database.endpoint, {}, namespace, revision),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
