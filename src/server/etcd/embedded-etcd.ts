import { EventEmitter } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Supervisor } from "../../agent/bootstrap/supervisor-client.ts";
import type { Client } from "../../client/client.ts";
import type { ControllerFactory } from "../../controllers/controller.ts";
import { type Clock, clusterClock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DatastoreEndpoint, DatastoreFiles } from "../../store/datastore-endpoint.ts";
import { type OpenStoreOptions, openStore } from "../../store/open-store.ts";
import { openSqliteStore } from "../../store/sqlite/sqlite-store.ts";
import type { Store } from "../../store/store.ts";
import { becomeMember, becomeVoter } from "./become-member.ts";
import { etcdDirectoryOf, isBuried, isInitialized, putAside } from "./data-directory.ts";
import { encodeDatabaseInfo, readDatabaseInfo } from "./database-info.ts";
import { prepareEtcdCertificates } from "./etcd-certificates.ts";
import { clientUrl, type EtcdBeginning, etcdConfig, localAddress, peerUrl } from "./etcd-config.ts";
import { type EtcdProcess, startEtcdProcess } from "./etcd-process.ts";
import { forgetFounders, hasFounders, readFounders } from "./founders.ts";
import { clientUrlsOf, hostOf, type MemberFacts } from "./join-plan.ts";
import { letDisplacedIn, tellAddress } from "./member-address.ts";
import { type Member, type MemberClient, memberClient } from "./member-client.ts";
import { memberController } from "./member-controller.ts";
import { forgetMemberName, memberName } from "./member-name.ts";
import { keepNodeMetadata } from "./node-metadata.ts";
import { seedRevision } from "./seed-revision.ts";
import { moveFromSqlite, putSqliteAside } from "./sqlite-move.ts";
import { voterConditionController } from "./voter-condition.ts";

export interface EmbeddedEtcdOptions {
  /** `<data>/server` */
  readonly directory: string;
  readonly nodeName: string;
  /** The node's address, which other members reach this one by. */
  readonly address: string;
  /** A server of the cluster that this one joins, trusted; asked only where there is no data of a member yet. */
  readonly supervisor: (() => Promise<Supervisor>) | undefined;
  readonly exposeMetrics: boolean;
  /** `--etcd-arg` */
  readonly extraArguments: readonly string[];
  /** The io clock. */
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

type EtcdEndpoint = Extract<DatastoreEndpoint, { kind: "etcd" }>;

/** This server's member of the cluster's etcd. */
export interface EmbeddedEtcd {
  /** The member's name: "<node>-<8 hex>". */
  readonly name: string;
  readonly address: string;
  /** What the store opens: this member first, then its fellows, who may change. */
  readonly endpoint: EtcdEndpoint;
  readonly files: DatastoreFiles;
  readonly members: MemberClient;
  /** For the leader of all servers: they look after the members, and what their Nodes say of them. */
  readonly controllers: readonly ControllerFactory[];
  /** Keeps K3s' marks of a member on the Node of this server, which may be called otherwise, until the signal. */
  markNode(client: Client, node: string, signal: AbortSignal): void;
  /** The body of `/db/info`. */
  info(): Promise<string>;
  /** Resolves when the cluster has removed this member, with what to tell the user. */
  readonly removed: Promise<Error>;
  /** Ends etcd; the store has to be closed before. */
  stop(): Promise<void>;
}

/**
 * Starts this server's member of etcd, and makes it one where it is none: the first of a new cluster, which takes over
 * what was in SQLite, one of several that found a cluster together, or one more of the cluster that is joined. Returns
 * when the member votes.
 * @throws ConfigurationError where the user has to change something
 */
export async function startEmbeddedEtcd(options: EmbeddedEtcdOptions): Promise<EmbeddedEtcd> {
  const { directory, nodeName, address, clock, logger, signal } = options;
  const etcdDirectory = etcdDirectoryOf(directory);
  const sqlitePath = join(directory, "db", "state.db");
  await mkdir(etcdDirectory, { recursive: true, mode: 0o700 });
  await chmod(etcdDirectory, 0o700);
  if (isBuried(etcdDirectory)) unearth(options, etcdDirectory);
  const initialized = isInitialized(etcdDirectory);
  const founding = !initialized && hasFounders(etcdDirectory);
  const joins = !initialized && !founding && options.supervisor !== undefined;
  if (initialized) logger.info("Managed etcd cluster bootstrap already complete and initialized");
  else if (joins) logger.info("Managed etcd cluster not yet initialized");
  else logger.info("Managed etcd cluster initializing");

  const certificates = await prepareEtcdCertificates(join(directory, "tls"), [address, nodeName], clock);
  const name = memberName(etcdDirectory, nodeName);
  const self = { name, nodeName, address };
  const connect = (urls: readonly string[]) => memberClient(urls, certificates.client, clock);
  const configFor = (dataDirectory: string, beginning: EtcdBeginning) =>
    etcdConfig({ ...options, name, dataDirectory, certificates, beginning });
  const local = connect([clientUrl(localAddress(address))]);
  const changes = new EventEmitter();
  const start = (dataDirectory: string, beginning: EtcdBeginning) =>
    startEtcdProcess({
      dataDirectory,
      config: configFor(dataDirectory, beginning),
      answers: () => local.status().then(() => {}),
      onMembers: () => changes.emit("members"),
      clock,
      logger,
      signal,
    });

  // What a server kept before it joins or founds with others stays where it is: it is another cluster's.
  const moves = existsSync(sqlitePath) && !joins && !founding;
  const sqlite = moves ? await openSqliteStore({ path: sqlitePath, logger, clock: clusterClock }) : undefined;
  const beginning = async (): Promise<EtcdBeginning> => {
    if (initialized) {
      logger.info("Starting etcd for existing cluster member");
      return { kind: "existing" };
    }
    const founders = readFounders(etcdDirectory, `${name}=${peerUrl(address)}`);
    if (founders) {
      logger.info({ members: founders }, "Starting etcd for new cluster of several members");
      return { kind: "new", members: founders };
    }
    if (options.supervisor) {
      const members = await becomeMember({ ...options, supervisor: await options.supervisor(), self, connect });
      logger.info({ members }, "Starting etcd to join cluster");
      return { kind: "join", members };
    }
    logger.info("Starting etcd for new cluster, cluster-reset=false");
    if (!sqlite) return { kind: "new" };
    await seedRevision({ etcdDirectory, self, revision: await sqlite.currentRevision(), start, signal });
    return { kind: "existing" };
  };

  let process: EtcdProcess | undefined;
  const stopping = new AbortController();
  try {
    process = await start(etcdDirectory, await beginning());
    forgetFounders(etcdDirectory);
    await vote(local, connect, self, options);
    const here = { local, self, clock, logger, signal: AbortSignal.any([signal, stopping.signal]) };
    const { members, moved } = await tellAddress(here);
    if (moved) void letDisplacedIn(here);
    const endpoint = endpointOf(members, self, changes);
    if (sqlite) {
      await fill(sqlite, { endpoint, files: certificates.client, sqlitePath, logger });
      await sqlite.close();
      putSqliteAside(sqlitePath);
    }
    const { removed, stop } = process;
    return {
      name,
      address,
      endpoint,
      files: certificates.client,
      members: local,
      controllers: [memberController(local), voterConditionController(local, connect)],
      markNode: (client, node, until) => {
        void keepNodeMetadata({ client, nodeName: node, member: self, clock, logger, signal: until });
      },
      info: async () => encodeDatabaseInfo(await local.list()),
      removed,
      stop: async () => {
        stopping.abort(new Error("etcd is stopping"));
        await stop();
        local.close();
      },
    };
  } catch (error) {
    stopping.abort(error);
    await sqlite?.close();
    await process?.stop();
    // Whoever is refused for the node's name may come back with another; a founder's is known to the others.
    if (!isInitialized(etcdDirectory) && !founding) forgetMemberName(etcdDirectory);
    local.close();
    throw error;
  }
}

/**
 * Puts the data of a member that the cluster has removed aside, where there is a cluster to join again.
 * @throws ConfigurationError where there is none: what the data was is still going on elsewhere
 */
function unearth({ supervisor, directory, clock, logger }: EmbeddedEtcdOptions, etcdDirectory: string): void {
  if (!supervisor) {
    throw new ConfigurationError(
      `tombstone file has been detected but --server is empty: this server was removed from its cluster. Set --server ` +
        `(and --token) to rejoin it, or back up and delete ${join(directory, "db")} to create a new cluster`,
    );
  }
  logger.info("tombstone file has been detected, removing data dir to rejoin the cluster");
  const backup = putAside(etcdDirectory, clock);
  logger.info({ path: backup }, "The data of the removed member was put aside");
}

interface Self {
  readonly name: string;
  readonly nodeName: string;
  readonly address: string;
}

/** Waits until this member votes; one that was cut off while it learned goes on. */
async function vote(
  local: MemberClient,
  connect: (urls: readonly string[]) => MemberClient,
  self: Self,
  options: EmbeddedEtcdOptions,
): Promise<void> {
  if (!(await local.status()).isLearner) return;
  if (!options.supervisor) {
    throw new ConfigurationError(
      `this server has not yet been promoted from learner to voting member; start it with --server and --token of a ` +
        `server of its cluster once more`,
    );
  }
  const supervisor = await options.supervisor();
  const others = connect(clientUrlsOf(await readDatabaseInfo(supervisor), self, supervisor.url.hostname));
  try {
    await becomeVoter(local, others, { ...options, name: self.name });
  } finally {
    others.close();
  }
}

/** This member, reached without the network, and its fellows for the time that it is away; kept to who they are. */
function endpointOf(members: readonly Member[], self: Self, changes: EventEmitter): EtcdEndpoint {
  const serversOf = (all: readonly MemberFacts[]) => {
    const own = all.some(({ name, isLearner }) => name === self.name && !isLearner);
    const urls = [...(own ? [clientUrl(localAddress(self.address))] : []), ...clientUrlsOf(all, self)];
    return urls.map((url) => ({ host: hostOf(url), port: Number(new URL(url).port), tls: true }));
  };
  return {
    kind: "etcd",
    servers: serversOf(members),
    membership: {
      serversOf,
      onChange(listener) {
        changes.on("members", listener);
        return () => changes.off("members", listener);
      },
    },
  };
}

async function fill(sqlite: Store, options: Omit<OpenStoreOptions, "clock">): Promise<void> {
  const etcd = await openStore({ ...options, clock: clusterClock });
  try {
    await moveFromSqlite(sqlite, etcd, options.logger);
  } finally {
    await etcd.close();
  }
}
