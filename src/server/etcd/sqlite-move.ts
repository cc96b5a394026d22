import { existsSync, renameSync } from "node:fs";
import type { Logger } from "../../machinery/log.ts";
import { canBeFilled } from "../../store/migrate.ts";
import type { Store } from "../../store/store.ts";
import { migrateCluster } from "../migrate-cluster.ts";

/**
 * Moves all that a server kept in SQLite into its etcd. Cut off, it goes on with the next call.
 * @param etcd has been seeded with revisions above SQLite's, so that clients see time go forward
 */
export async function moveFromSqlite(sqlite: Store, etcd: Store, logger: Logger): Promise<void> {
  // All of it is there already: only the file is left to be put aside.
  if (!(await canBeFilled(etcd))) return;
  logger.info("Migrating content from sqlite to etcd");
  const { entries, revision } = await migrateCluster(sqlite, etcd, { source: "sqlite" });
  logger.info({ entries, revision }, "Migrated content from sqlite to etcd");
}

/** Gives a database that etcd has replaced K3s' other name. It has to be closed. */
export function putSqliteAside(path: string): void {
  for (const suffix of ["", "-wal", "-shm"]) {
    if (existsSync(path + suffix)) renameSync(path + suffix, `${path}.migrated${suffix}`);
  }
}
