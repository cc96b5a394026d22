import { type Clock, ioClock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DatastoreFiles, SqlEndpoint } from "../datastore-endpoint.ts";
import { openSqlStore } from "../sql/sql-store.ts";
import type { Store } from "../store.ts";
import { readTlsFiles } from "../tls-files.ts";
import { PostgresDatabase } from "./postgres-database.ts";
import { postgresOptions } from "./postgres-options.ts";

export interface PostgresStoreOptions {
  readonly endpoint: SqlEndpoint;
  readonly files: DatastoreFiles;
  /** Cluster time: life times and the compaction schedule follow it. */
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Opens the store in a PostgreSQL database, which is made where it is not there. Rejects with UnavailableError when the
 * server cannot be reached, and with ConfigurationError when the administrator has to do something.
 */
export async function openPostgresStore({ endpoint, files, clock, logger }: PostgresStoreOptions): Promise<Store> {
  const options = postgresOptions(endpoint, files);
  const tls = readTlsFiles(options.files);
  const database = new PostgresDatabase({ endpoint, options, tls, clock: ioClock });
  return openSqlStore({ database, clock, ioClock, logger });
}
