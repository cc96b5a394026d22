import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { silentLogger } from "../../src/machinery/log.ts";
import { type EtcdStoreOptions, openEtcdStore } from "../../src/store/etcd/etcd-store.ts";
import {
  CompactedError,
  type Store,
  type StoreEvent,
  UnavailableError,
  UnknownOutcomeError,
} from "../../src/store/store.ts";
import { startDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

const waitMs = 60_000;
const text = (value: string) => Buffer.from(value);

interface Server {
  readonly host: string;
  readonly port: number;
}

async function open(servers: readonly Server[], options: Partial<EtcdStoreOptions> = {}): Promise<Store> {
  return openEtcdStore({
    servers: servers.map(({ host, port }) => ({ host, port, tls: false })),
    files: {},
    clock: new FakeClock(),
    logger: silentLogger,
    ...options,
  });
}

/** A watch on everything that keeps what it was told. */
class Follower {
  readonly events: StoreEvent[] = [];
  readonly errors: Error[] = [];
  progress = 0;

  static async of(store: Store, prefix: string, afterRevision?: number): Promise<Follower> {
    const follower = new Follower();
    await store.watch(prefix, {
      afterRevision: afterRevision ?? (await store.currentRevision()),
      onEvents: (events, progress) => {
        follower.events.push(...events);
        follower.progress = progress;
      },
      onError: (error) => follower.errors.push(error),
    });
    return follower;
  }

  reached(revision: number): Promise<void> {
    return eventually(() => assert.ok(this.progress >= revision, `at ${this.progress}, not at ${revision}`), waitMs);
  }

  get keys(): string[] {
    return this.events.map(({ key }) => key);
  }

  get revisions(): number[] {
    return this.events.map(({ revision }) => revision);
  }
}

async function create(store: Store, key: string): Promise<number> {
  const result = await store.create(key, text(key));
  assert.ok(result.ok, `${key} is there already`);
  return result.revision;
}

/** Tries again what had no effect, until it succeeds. */
function createSometime(store: Store, key: string): Promise<number> {
  return eventually(() => create(store, key), waitMs);
}

describe("a store on etcd", () => {
  test("two stores see each other's writes, each once, in one order, and exactly one of many rivals wins", async () => {
    await using database = await startDatabase("etcd");
    const stores = [await open([database]), await open([database])];
    const followers = await Promise.all(stores.map((store) => Follower.of(store, "/both/", 1)));
    const writes = stores.flatMap((store, writer) =>
      Array.from({ length: 200 }, (_, index) => create(store, `/both/${writer}/${index}`)),
    );
    const revisions = (await Promise.all(writes)).sort((a, b) => a - b);
    const first = await create(stores[0]!, "/both/shared");
    const rivals = await Promise.all(
      Array.from({ length: 20 }, (_, index) => stores[index % 2]!.update("/both/shared", text(String(index)), first)),
    );
    const won = rivals.flatMap((result) => (result.ok ? [result.revision] : []));
    assert.equal(won.length, 1);
    for (const follower of followers) {
      await follower.reached(won[0]!);
      assert.deepEqual(follower.revisions, [...revisions, first, won[0]]);
    }
    for (const store of stores) await store.close();
  });

  test("a watch goes on through a killed and restarted etcd, with the writes of others meanwhile", async () => {
    await using database = await startDatabase("etcd");
    await using wire = await startTcpProxy(database);
    const cut = await open([{ host: "127.0.0.1", port: wire.port }]);
    const other = await open([database]);
    const follower = await Follower.of(cut, "/away/");
    const revisions = [await create(cut, "/away/0")];
    wire.cut();
    revisions.push(await create(other, "/away/1"));
    await eventually(() => assert.match(cut.problem() ?? "", /etcd/), waitMs);
    await database.kill();
    await database.start();
    revisions.push(await createSometime(other, "/away/2"));
    await assert.rejects(cut.get("/away/0"), UnavailableError);
    await assert.rejects(cut.create("/away/refused", text("x")), UnavailableError);
    wire.heal();
    revisions.push(await createSometime(cut, "/away/3"));
    await follower.reached(revisions.at(-1)!);
    assert.deepEqual(follower.revisions, revisions);
    assert.deepEqual(follower.errors, []);
    await eventually(() => assert.equal(cut.problem(), undefined), waitMs);
    assert.equal(await other.get("/away/refused"), undefined);
    await cut.close();
    await other.close();
  });

  test("a paused etcd fails calls in bounded time, is named as the problem, and is found again by itself", async () => {
    await using database = await startDatabase("etcd");
    const store = await open([database]);
    const follower = await Follower.of(store, "/paused/");
    const before = await create(store, "/paused/before");
    await database.pause();
    const begunMs = Date.now();
    const outcomes = await Promise.allSettled([
      store.get("/paused/before"),
      store.currentRevision(),
      store.create("/paused/during", text("x")),
      ...Array.from({ length: 300 }, (_, index) => store.create(`/paused/many/${index}`, text("x"))),
    ]);
    const tookMs = Date.now() - begunMs;
    assert.ok(tookMs < 20_000, `it took ${tookMs} ms`);
    const [get, current, write, ...many] = outcomes.map((outcome) =>
      outcome.status === "rejected" ? outcome.reason : undefined,
    );
    assert.ok(get instanceof UnavailableError, String(get));
    assert.ok(current instanceof UnavailableError, String(current));
    assert.ok(write instanceof UnknownOutcomeError, String(write));
    assert.ok(many.every((error) => error instanceof UnknownOutcomeError || error instanceof UnavailableError));
    assert.ok(
      many.some((error) => error instanceof UnavailableError),
      "what waited for others was not written",
    );
    assert.match(store.problem() ?? "", /etcd is not available/);
    await database.unpause();
    // Nothing is called: the store finds out for itself.
    await eventually(() => assert.equal(store.problem(), undefined), waitMs);
    const after = await create(store, "/paused/after");
    await follower.reached(after);
    assert.deepEqual([follower.revisions[0], follower.revisions.at(-1)], [before, after]);
    assert.deepEqual(
      follower.revisions,
      [...new Set(follower.revisions)].sort((a, b) => a - b),
    );
    const there = (await store.list("/paused/")).entries.map(({ key }) => key);
    assert.deepEqual([...follower.keys].sort(), there.sort(), "the watch tells of all that happened after all");
    await store.close();
  });

  test("another endpoint is used when one is away or silent, and the watch moves with it", async () => {
    await using database = await startDatabase("etcd");
    await using first = await startTcpProxy(database);
    await using second = await startTcpProxy(database);
    const store = await open([first, second].map(({ port }) => ({ host: "127.0.0.1", port })));
    const follower = await Follower.of(store, "/moved/");
    const revisions = [await create(store, "/moved/0")];
    first.cut();
    // At once where it is known that nothing was sent; a request under way when the wire is cut may have been.
    revisions.push(await createSometime(store, "/moved/1"));
    await follower.reached(revisions.at(-1)!);
    first.heal();
    second.stall();
    // A read is asked of the other endpoint when this one says nothing.
    assert.equal((await store.get("/moved/1"))?.value.toString(), "/moved/1");
    revisions.push(await createSometime(store, "/moved/2"));
    await follower.reached(revisions.at(-1)!);
    assert.deepEqual(follower.revisions, revisions);
    await store.close();
  });

  test("a watch that was away for longer than history is kept ends with CompactedError, and a new one begins", async () => {
    await using database = await startDatabase("etcd");
    await using wire = await startTcpProxy(database);
    const store = await open([{ host: "127.0.0.1", port: wire.port }]);
    const other = await open([database]);
    const follower = await Follower.of(store, "/gone/");
    const seen = await create(store, "/gone/0");
    wire.cut();
    await create(other, "/gone/1");
    const kept = await create(other, "/gone/2");
    await other.compact(kept);
    wire.heal();
    await eventually(() => assert.equal(follower.errors.length, 1), waitMs);
    assert.ok(follower.errors[0] instanceof CompactedError, String(follower.errors[0]));
    assert.deepEqual(follower.revisions, [seen]);
    assert.equal(await store.compactedRevision(), kept);
    const again = await Follower.of(store, "/gone/");
    const last = await create(store, "/gone/3");
    assert.deepEqual(again.revisions, [last]);
    await store.close();
    await other.close();
  });

  test("an etcd that was set back to an older copy ends watches, which would wait for its revisions for ever", async () => {
    await using older = await startDatabase("etcd");
    await using newer = await startDatabase("etcd");
    await using wire = await startTcpProxy(newer);
    const store = await open([{ host: "127.0.0.1", port: wire.port }]);
    const follower = await Follower.of(store, "/back/");
    for (let index = 0; index < 5; index++) await create(store, `/back/${index}`);
    await using swapped = await startTcpProxy(older);
    await store.close();
    const both = await open([wire, swapped].map(({ port }) => ({ host: "127.0.0.1", port })));
    const lost = await Follower.of(both, "/back/");
    wire.cut();
    await eventually(() => assert.equal(lost.errors.length, 1), waitMs);
    assert.match(lost.errors[0]!.message, /revision went back from \d+ to 1/);
    assert.equal(follower.errors.length, 0);
    await both.close();
  });

  test("a full etcd refuses writes as not made and answers reads; freed, it is found again by itself", async () => {
    await using database = await startDatabase("etcd", { args: ["--quota-backend-bytes=4000000"] });
    const store = await open([database]);
    const made: string[] = [];
    const value = Buffer.alloc(100_000);
    await assert.rejects(async () => {
      for (let index = 0; index < 100; index++) {
        const key = `/full/${index}`;
        const result = await store.create(key, value);
        assert.ok(result.ok);
        made.push(key);
      }
    }, UnavailableError);
    assert.match(store.problem() ?? "", /space exceeded; compact and defragment it/);
    assert.deepEqual((await store.list("/full/")).entries.map(({ key }) => key).sort(), made.sort());
    assert.match(store.problem() ?? "", /space exceeded/, "an answered read does not end it");
    for (const { key, modRevision } of (await store.list("/full/")).entries)
      assert.ok((await store.delete(key, modRevision)).ok);
    await store.compact(await store.currentRevision());
    await database.exec(["etcdctl", "defrag"]);
    await database.exec(["etcdctl", "alarm", "disarm"]);
    await eventually(() => assert.equal(store.problem(), undefined), waitMs);
    await create(store, "/full/again");
    await store.close();
  });

  test("large values are listed in pages and watched in fragments, and come whole", async () => {
    await using database = await startDatabase("etcd");
    const store = await open([database]);
    const start = await store.currentRevision();
    const value = (index: number) => Buffer.alloc(1_400_000, `${index}.`);
    for (let index = 0; index < 30; index++) assert.ok((await store.create(`/large/${index}`, value(index))).ok);
    const expected = Array.from({ length: 30 }, (_, index) => value(index));
    const byIndex = (entries: readonly { key: string; value: Buffer }[]) =>
      [...entries].sort((a, b) => Number(a.key.slice(7)) - Number(b.key.slice(7))).map((entry) => entry.value);
    const listed = await store.list("/large/");
    assert.ok(byIndex(listed.entries).every((bytes, index) => bytes.equals(expected[index]!)));
    assert.equal(listed.entries.length, 30);
    const follower = await Follower.of(store, "/large/", start);
    await follower.reached(listed.revision);
    assert.ok(
      byIndex(follower.events.map((event) => event.entry!)).every((bytes, index) => bytes.equals(expected[index]!)),
    );
    assert.equal(follower.events.length, 30);
    await assert.rejects(store.create("/large/too", Buffer.alloc(1_700_000)), /request is too large/);
    assert.equal(store.problem(), undefined, "a request that is at fault is no problem of the store");
    await store.close();
  });
});
