import { join } from "node:path";
import { runningEtcds } from "../../../support/etcd-processes.ts";
import { loopbackNetwork, provideEtcd } from "../../../support/etcd-programs.ts";
import { eventually } from "../../../support/eventually.ts";
import type { Fault } from "../fault.ts";
import { changesIn } from "./changes-in.ts";
import type { Ground, GroundServer } from "./ground.ts";
import { startPeerNetwork } from "./peer-network.ts";

/** A member of etcd beside each server, each at an address of its own, and a wire between each two of them. */
export async function embeddedEtcdGround(): Promise<Ground> {
  await using starting = new AsyncDisposableStack();
  starting.defer(await provideEtcd());
  const loopback = loopbackNetwork();
  const addresses = [1, 2, 3].map((number) => `${loopback}.${number}`);
  const network = starting.use(await startPeerNetwork(addresses));
  const all = starting.move();
  return {
    servers: addresses.length,
    settings: (index, first) => ({
      args: [
        ...["--node-ip", addresses[index]!, ...network.args(index)],
        ...(first === undefined ? ["--cluster-init"] : ["--server", first.url]),
      ],
      env: {},
    }),
    faults: (running) => [...running.flatMap(etcdFaults), ...network.faults],
    readAlone: false,
    changesAfter: (namespace, revision, [first]) => {
      const tls = (file: string) => join(first!.directory, "data/server/tls/etcd", file);
      const files = { ca: tls("server-ca.crt"), cert: tls("client.crt"), key: tls("client.key") };
      const endpoint = addresses.map((address) => `https://${address}:2379`).join(",");
      return changesIn(endpoint, files, namespace, revision);
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function etcdFaults(server: GroundServer, index: number): Fault[] {
  let paused: number | undefined;
  return [
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
    {
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
    },
  ];
}

/** The etcd of a server. Throws while there is none. */
function etcdOf(server: GroundServer): number {
  const [pid] = etcdsOf(server);
  if (pid === undefined) throw new Error(`no etcd runs for ${server.directory}`);
  return pid;
}

function etcdsOf({ directory }: GroundServer): number[] {
  const config = join(directory, "data/server/db/etcd/config");
  return runningEtcds().flatMap(({ pid, configFile }) => (configFile === config ? [pid] : []));
}
