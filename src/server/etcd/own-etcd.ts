import type { NodeIdentity } from "../../agent/bootstrap/node-identity.ts";
import { connectSupervisor, type Supervisor } from "../../agent/bootstrap/supervisor-client.ts";
import { ioClock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { criticalSettings } from "../critical-settings.ts";
import { joinCluster } from "../join-cluster.ts";
import type { ServerOptions } from "../server-options.ts";
import { etcdDirectoryOf, isInitialized } from "./data-directory.ts";
import { holdData } from "./data-hold.ts";
import type { EmbeddedEtcd } from "./embedded-etcd.ts";
import { hasFounders } from "./founders.ts";

/**
 * Starts this server's member of embedded etcd where its cluster lives there (K3s' rule): there is a member's data, or
 * there is to be some, because a cluster is begun or joined and no datastore is named. A server that joins takes the
 * cluster's authorities over first; those that found a cluster together were given them.
 * @param context.directory `<data>/server`
 * @returns undefined where the cluster lives elsewhere
 */
export async function startOwnEtcd(
  options: ServerOptions,
  context: {
    readonly directory: string;
    readonly nodeName: string;
    /** The node in this server. */
    readonly identity: NodeIdentity | undefined;
    readonly logger: Logger;
    readonly signal: AbortSignal;
  },
): Promise<EmbeddedEtcd | undefined> {
  const { directory, identity, logger, signal } = context;
  const { join, token } = options;
  const initialized = isInitialized(etcdDirectoryOf(directory));
  const named = options.datastore.endpoint.kind !== "sqlite" || options.datastore.endpoint.path !== undefined;
  if (!initialized && (named || !(options.clusterInit || join))) return undefined;
  if (named) logger.warn("The datastore endpoint is passed over: this server is a member of embedded etcd");
  // Loaded only by those that need it.
  const loading = import("./embedded-etcd.ts");
  const clock = ioClock;
  // Founders have the authorities of etcd already, and take the others out of it when they are together.
  if (join && token !== undefined && !initialized && !hasFounders(etcdDirectoryOf(directory))) {
    const { agentToken } = options;
    const settings = criticalSettings(options);
    await joinCluster({ server: join, token, agentToken, node: identity, directory, settings, clock, logger, signal });
  }
  const { startEmbeddedEtcd } = await loading;
  const release = await holdData(directory);
  let supervisor: Promise<Supervisor> | undefined;
  try {
    const etcd = await startEmbeddedEtcd({
      ...context,
      ...options.etcd,
      supervisor:
        join && token !== undefined
          ? () => (supervisor ??= connectSupervisor(join, token, { clock, logger, signal, user: "server" }))
          : undefined,
      clock,
    });
    return { ...etcd, stop: () => etcd.stop().finally(release) };
  } catch (error) {
    release();
    throw error;
  }
}
