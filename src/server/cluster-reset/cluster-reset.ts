import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { describeDatastore } from "../../store/datastore-endpoint.ts";
import type { Store } from "../../store/store.ts";
import { etcdDirectoryOf, isInitialized } from "../etcd/data-directory.ts";
import type { ServerOptions } from "../server-options.ts";
import { isFileName } from "../snapshots/snapshot-name.ts";
import { raiseResetFlag, resetFlag } from "./reset-marks.ts";
import { takeAuthorities } from "./restored-authorities.ts";
import { openSnapshotSource, refusal } from "./snapshot-source.ts";

/**
 * `--cluster-reset`: makes this server the only one of its cluster, from a snapshot where one is named, and returns; the
 * server has to be stopped before. Cut off at any line, it can be run again.
 * @throws ConfigurationError when the user has to change something; nothing was changed then
 */
export async function resetCluster(
  options: ServerOptions,
  context: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  const { logger } = context;
  const directory = join(options.dataDir, "server");
  mkdirSync(join(directory, "db"), { recursive: true, mode: 0o700 });
  const restorePath = snapshotPath(options, directory);
  const { endpoint } = options.datastore;
  const hasEtcd = isInitialized(etcdDirectoryOf(directory));
  if (!hasEtcd && endpoint.kind !== "sqlite")
    throw new ConfigurationError(
      `the datastore of this server is ${describeDatastore(endpoint)}, which --cluster-reset does not know; ` +
        "restore it with the database's own tools, and start the server without --cluster-reset",
    );
  if (restorePath === undefined) await resetOnly(options, directory, hasEtcd, context);
  else await restore(options, directory, hasEtcd, { ...context, restorePath });
  raiseResetFlag(directory);
  logger.info(
    "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. " +
      // biome-ignore lint/suspicious/noTemplateCurlyInString: K3s' own words
      "Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the nodes",
  );
}

/** The snapshot to restore: a path, or a name as `etcd-snapshot ls` prints it. */
function snapshotPath({ reset, snapshots }: ServerOptions, directory: string): string | undefined {
  const path = reset!.restorePath;
  if (path === undefined || !isFileName(path) || existsSync(path)) return path;
  const listed = join(snapshots.directory ?? join(directory, "db", "snapshots"), path);
  return existsSync(listed) ? listed : path;
}

async function resetOnly(
  options: ServerOptions,
  directory: string,
  hasEtcd: boolean,
  context: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  if (!hasEtcd)
    throw new ConfigurationError(
      `--cluster-reset found no data of embedded etcd in ${etcdDirectoryOf(directory)}; ` +
        "name a snapshot with --cluster-reset-restore-path, or leave --cluster-reset out",
    );
  const flag = resetFlag(directory);
  if (existsSync(flag))
    throw new ConfigurationError(
      "Managed etcd cluster membership was previously reset, please remove the cluster-reset flag and start k3s normally. " +
        `If you need to perform another cluster reset, you must first manually delete the ${flag} file`,
    );
  const { resetMembership } = await import("./reset-etcd.ts");
  await resetMembership({ ...options.etcd, ...context, directory, nodeName: options.nodeName });
}

async function restore(
  options: ServerOptions,
  directory: string,
  hasEtcd: boolean,
  context: { readonly logger: Logger; readonly signal: AbortSignal; readonly restorePath: string },
): Promise<void> {
  const { logger, restorePath } = context;
  const { endpoint } = options.datastore;
  const sqlitePath = (endpoint.kind === "sqlite" ? endpoint.path : undefined) ?? join(directory, "db", "state.db");
  const unpacked = join(directory, "db", ".restoring-snapshot");
  const adopt = (store: Store) => takeAuthorities(store, { ...options, directory, logger });
  try {
    const { kind, path } = await openSnapshotSource(restorePath, unpacked);
    const present = hasEtcd || options.clusterInit ? "etcd" : existsSync(sqlitePath) ? "sqlite" : kind;
    if (present !== kind)
      throw refusal(restorePath, `it is a snapshot of ${kind}, and this server keeps its cluster in ${present}`);
    logger.info({ snapshot: restorePath, kind }, "Restoring the snapshot");
    if (kind === "sqlite") {
      const { restoreSqlite } = await import("./restore-sqlite.ts");
      await restoreSqlite({ snapshot: path, directory, path: sqlitePath, adopt, logger });
    } else {
      const { restoreEtcd } = await import("./reset-etcd.ts");
      const { nodeName } = options;
      await restoreEtcd({ ...options.etcd, ...context, directory, nodeName, snapshot: path, adopt });
    }
  } finally {
    rmSync(unpacked, { force: true });
  }
}
