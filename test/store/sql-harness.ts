import { silentLogger } from "../../src/machinery/log.ts";
import {
  type DatastoreEndpoint,
  type DatastoreFiles,
  parseDatastoreEndpoint,
} from "../../src/store/datastore-endpoint.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import type { TestDatabase } from "../support/database.ts";
import { FakeClock } from "../support/fake-clock.ts";
import type { StoreHarness } from "../unit/store/suite.ts";

/** The database server's endpoint with another of its databases. */
export function endpointOf(database: TestDatabase, name: string): DatastoreEndpoint {
  return parseDatastoreEndpoint(database.endpoint.replace(/\/kubernetes$/, `/${name}`));
}

/** Opens a store, as a server of the cluster does. */
export function openSql(
  endpoint: DatastoreEndpoint | string,
  options: { clock?: FakeClock; files?: DatastoreFiles } = {},
): Promise<Store> {
  const { clock = new FakeClock(), files = {} } = options;
  return openStore({
    endpoint: typeof endpoint === "string" ? parseDatastoreEndpoint(endpoint) : endpoint,
    files,
    sqlitePath: "/nowhere",
    logger: silentLogger,
    clock,
  });
}

/** What the shared suite takes, on one database of a server. */
export async function sqlHarness(endpoint: DatastoreEndpoint): Promise<StoreHarness> {
  const clock = new FakeClock();
  let store = await openSql(endpoint, { clock });
  return {
    get store() {
      return store;
    },
    clock,
    async reopen() {
      await store.close();
      store = await openSql(endpoint, { clock });
      return store;
    },
    dispose: () => store.close(),
  };
}
