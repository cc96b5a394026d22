import { silentLogger } from "../../src/machinery/log.ts";
import { parseDatastoreEndpoint } from "../../src/store/datastore-endpoint.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { startDatabase } from "../support/database.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { storeSuite } from "../unit/store/suite.ts";

function open(endpoint: string, clock = new FakeClock()): Promise<Store> {
  return openStore({
    endpoint: parseDatastoreEndpoint(endpoint),
    files: {},
    sqlitePath: "",
    logger: silentLogger,
    clock,
  });
}

storeSuite("etcd", async () => {
  const database = await startDatabase("etcd");
  const clock = new FakeClock();
  let store = await open(database.endpoint, clock);
  return {
    get store() {
      return store;
    },
    clock,
    lifetimeSeconds: 8,
    async reopen() {
      await store.close();
      store = await open(database.endpoint, clock);
      return store;
    },
    async dispose() {
      await store.close();
      await database.remove();
    },
  };
});
