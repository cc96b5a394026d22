import { join } from "node:path";
import type { TestContext } from "node:test";
import { type Clock, clusterClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

/**
 * A store as several servers share one, for tests of their logic: a SQLite store that does not claim to be one server's
 * alone. Closed after the test.
 */
export async function openSharedStore(test: TestContext, clock: Clock = clusterClock): Promise<Store> {
  const path = join(temporaryDirectory(test), "state.db");
  const store = await openSqliteStore({ path, logger: silentLogger, clock });
  test.after(() => store.close());
  return Object.defineProperty(store, "exclusive", { value: false });
}
