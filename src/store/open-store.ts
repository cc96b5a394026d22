import type { Clock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import type { DatastoreEndpoint, DatastoreFiles } from "./datastore-endpoint.ts";
import { openSqliteStore } from "./sqlite/sqlite-store.ts";
import type { Store } from "./store.ts";

export interface OpenStoreOptions {
  readonly endpoint: DatastoreEndpoint;
  /** For the connections to databases elsewhere. */
  readonly files: DatastoreFiles;
  /** Where SQLite's file is when the endpoint names none. */
  readonly sqlitePath: string;
  readonly logger: Logger;
  /** Cluster time: life times and the compaction schedule follow it where the store decides them. */
  readonly clock: Clock;
}

/**
 * Opens the store that an endpoint names; the clients of other databases are loaded only for them. Rejects with
 * UnavailableError when it cannot be reached or used, and with ConfigurationError when that will not change by itself.
 */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  const { endpoint, sqlitePath, logger, clock } = options;
  switch (endpoint.kind) {
    case "sqlite":
      return openSqliteStore({ path: endpoint.path ?? sqlitePath, logger, clock });
    case "postgres": {
      const { openPostgresStore } = await import("./postgres/postgres-store.ts");
      return openPostgresStore({ endpoint, files: options.files, clock, logger });
    }
    case "mysql": {
      const { openMysqlStore } = await import("./mysql/mysql-store.ts");
      return openMysqlStore({ endpoint, files: options.files, clock, logger });
    }
    case "etcd": {
      const { openEtcdStore } = await import("./etcd/etcd-store.ts");
      const { servers, membership } = endpoint;
      return openEtcdStore({ servers, membership, files: options.files, logger, clock });
    }
  }
}
