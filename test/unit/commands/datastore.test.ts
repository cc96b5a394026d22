import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { datastore } from "../../../src/commands/datastore.ts";
import { clusterClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const open = (path: string) => openSqliteStore({ path, logger: silentLogger, clock: clusterClock });

/** A data directory whose store holds these keys. */
async function dataDirectory(t: TestContext, keys: readonly string[]): Promise<string> {
  const directory = temporaryDirectory(t);
  await withStore(join(directory, "server/db/state.db"), async (store) => {
    for (const key of keys) await store.create(key, Buffer.from(key));
  });
  return directory;
}

async function withStore<T>(path: string, act: (store: Store) => Promise<T>): Promise<T> {
  const store = await open(path);
  try {
    return await act(store);
  } finally {
    await store.close();
  }
}

const keysOf = (path: string) =>
  withStore(path, async (store) => (await store.list("/")).entries.map(({ key }) => key));

test("datastore migrate moves a data directory's store, without what servers write while they live", async (t) => {
  const directory = await dataDirectory(t, ["/registry/pods/default/a", "/registry/masterleases/10.0.0.1"]);
  const target = join(directory, "target.db");
  const args = ["migrate", "--data-dir", directory, "--to", `sqlite://${target}`];
  await assert.rejects(datastore(args), /servers use the present store: 10\.0\.0\.1; stop them/);
  assert.ok(!existsSync(target), "nothing is made before that is settled");
  assert.equal(await datastore([...args, "--force"]), 0);
  assert.deepEqual(await keysOf(target), ["/registry/pods/default/a"]);
});

test("datastore migrate refuses a store that a server has open, one that is not there, and itself", async (t) => {
  const directory = await dataDirectory(t, ["/registry/pods/default/a"]);
  const path = join(directory, "server/db/state.db");
  const to = ["--to", `sqlite://${join(directory, "target.db")}`];
  await withStore(path, () =>
    assert.rejects(
      datastore(["migrate", "--data-dir", directory, ...to]),
      /--from cannot be opened: .*database is locked/,
    ),
  );
  await assert.rejects(datastore(["migrate", "--data-dir", join(directory, "none"), ...to]), /there is no database at/);
  await assert.rejects(datastore(["migrate", "--from", to[1]!, ...to]), /name the same store/);
});
