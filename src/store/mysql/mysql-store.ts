import { type Clock, ioClock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DatastoreFiles, SqlEndpoint } from "../datastore-endpoint.ts";
import { openSqlStore } from "../sql/sql-store.ts";
import type { Store } from "../store.ts";
import { readTlsFiles } from "../tls-files.ts";
import { MysqlDatabase } from "./mysql-database.ts";
import { mysqlOptions } from "./mysql-options.ts";

export interface MysqlStoreOptions {
  readonly endpoint: SqlEndpoint;
  readonly files: DatastoreFiles;
  /** Cluster time: life times and the compaction schedule follow it. */
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Opens the store in a MySQL or MariaDB database, which is made where it is not there. Rejects with UnavailableError when the
 * server cannot be reached, and with ConfigurationError when the administrator has to do something.
 */
export async function openMysqlStore({ endpoint, files, clock, logger }: MysqlStoreOptions): Promise<Store> {
  const options = mysqlOptions(endpoint, files);
  const tls = readTlsFiles(files);
  const database = new MysqlDatabase({ endpoint, options, tls, clock: ioClock });
  return openSqlStore({ database, clock, ioClock, logger });
}
