import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { silentLogger } from "../../../src/machinery/log.ts";
import { type MigrateOptions, MigrationError, migrateStore } from "../../../src/store/migrate.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

async function open(t: TestContext, clock = new FakeClock()): Promise<Store> {
  const store = await openSqliteStore({ path: join(temporaryDirectory(t), "s.db"), logger: silentLogger, clock });
  t.after(() => store.close());
  return store;
}

const options: MigrateOptions = {
  source: "sqlite",
  lifetimeOf: (key) => (key.startsWith("/registry/events/") ? 3600 : undefined),
  leaveOut: (key) => key.startsWith("/registry/masterleases/"),
};

async function put(store: Store, key: string, value: string): Promise<void> {
  const present = await store.get(key);
  const bytes = Buffer.from(value);
  assert.ok((present ? await store.update(key, bytes, present.modRevision) : await store.create(key, bytes)).ok);
}

const contents = async (store: Store) =>
  (await store.list("/")).entries.map(({ key, value }) => `${key}=${value.toString("latin1")}`);

test("all that a store holds moves, and revisions of the target go on above", async (t) => {
  const [from, to] = [await open(t), await open(t)];
  for (let index = 0; index < 1200; index++) await put(from, `/registry/pods/default/${index}`, `${index}`);
  await put(from, "/registry/pods/default/7", "\u00ff\u0000 new");
  await put(from, "/bootstrap/abc", "sealed");
  await put(from, "/registry/masterleases/10.0.0.1", "1");
  const told: number[] = [];
  const { entries, revision } = await migrateStore(from, to, { ...options, onProgress: (count) => told.push(count) });
  assert.equal(entries, 1201);
  assert.equal(told.at(-1), 1201);
  assert.ok(revision >= (await from.currentRevision()));
  assert.deepEqual(
    await contents(to),
    (await contents(from)).filter((text) => !text.includes("masterleases")),
  );
});

test("what has a lifetime has it in the target too", async (t) => {
  const clock = new FakeClock();
  const [from, to] = [await open(t), await open(t, clock)];
  await put(from, "/registry/events/default/a", "1");
  await put(from, "/registry/pods/default/a", "1");
  await migrateStore(from, to, options);
  const gone = Promise.withResolvers<void>();
  await to.watch("/registry/events/", {
    afterRevision: await to.currentRevision(),
    onEvents: (events) => events.some(({ type }) => type === "delete") && gone.resolve(),
    onError: gone.reject,
  });
  await clock.advance(3_602_000);
  await gone.promise;
  assert.deepEqual(await contents(to), ["/registry/pods/default/a=1"]);
});

test("a migration that was cut off goes on, also when the source has changed since", async (t) => {
  const [from, to] = [await open(t), await open(t)];
  for (let index = 0; index < 1200; index++) await put(from, `/registry/a/${index}`, "1");
  const cut = new Error("cut off");
  const onProgress = (count: number) => {
    if (count >= 500) throw cut;
  };
  await assert.rejects(migrateStore(from, to, { ...options, onProgress }), cut);
  const half = (await contents(to)).length;
  assert.ok(half > 500 && half < 1200, `${half} moved`);
  await put(from, "/registry/a/3", "2");
  const gone = await from.get("/registry/a/4");
  await from.delete("/registry/a/4", gone!.modRevision);
  await assert.rejects(
    migrateStore(from, to, { ...options, source: "postgres://other" }),
    (error: Error) => error instanceof MigrationError && /being filled from sqlite/.test(error.message),
  );
  await migrateStore(from, to, options);
  assert.deepEqual(await contents(to), await contents(from));
});

test("a target that holds something is refused untouched", async (t) => {
  const [from, to] = [await open(t), await open(t)];
  await put(from, "/registry/a/b", "1");
  await put(to, "/registry/c/d", "1");
  await assert.rejects(migrateStore(from, to, options), /not empty: it holds "\/registry\/c\/d"/);
  assert.deepEqual(await contents(to), ["/registry/c/d=1"]);
});
