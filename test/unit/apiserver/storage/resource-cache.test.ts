import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { findResource } from "../../../../src/api/registry.ts";
import type { Call, Core } from "../../../../src/apiserver/core.ts";
import { CacheSet } from "../../../../src/apiserver/storage/cache-set.ts";
import { keyFor, toStored } from "../../../../src/apiserver/storage/codec.ts";
import { type CacheEvent, ResourceCache } from "../../../../src/apiserver/storage/resource-cache.ts";
import { StoreFeed } from "../../../../src/apiserver/storage/store-feed.ts";
import { watch } from "../../../../src/apiserver/verbs/watch.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import type { StatusError } from "../../../../src/machinery/status.ts";
import { openSqliteStore } from "../../../../src/store/sqlite/sqlite-store.ts";
import { CompactedError, type Store, type WatchOptions } from "../../../../src/store/store.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const facts = findResource("", "v1", "configmaps")!;

async function setUp(t: TestContext) {
  const clock = new FakeClock();
  const store = await openSqliteStore({ path: join(temporaryDirectory(t), "s.db"), logger: silentLogger, clock });
  t.after(() => store.close());
  const feed = new StoreFeed(store, clock, silentLogger);
  await feed.start();
  const cache = new ResourceCache(facts, store, feed, clock);
  const write = async (name: string, value: string): Promise<number> => {
    const key = keyFor(facts, "default", name);
    const bytes = toStored(facts, { metadata: { name, namespace: "default" }, data: { value } } as never);
    const current = await store.get(key);
    const result = current ? await store.update(key, bytes, current.modRevision) : await store.create(key, bytes);
    assert.ok(result.ok);
    return result.revision;
  };
  return { clock, store, feed, cache, write };
}

test("a cache that is filled while writes go on has every object once, as of its revision", async (t) => {
  const { cache, write, feed } = await setUp(t);
  for (let index = 0; index < 250; index++) await write(`before-${index}`, "1");
  const filling = cache.ready();
  const writes = Array.from({ length: 50 }, (_, index) => write(`during-${index}`, "1"));
  await Promise.all([filling, ...writes]);
  assert.equal(cache.size, 300);
  assert.equal(cache.revision, feed.revision);
  const item = cache.get(keyFor(facts, "default", "during-7"))!;
  assert.equal(item.object.metadata.resourceVersion, String(item.revision));
  assert.deepEqual(JSON.parse(item.bytes().toString()), item.object);
});

test("a watch that comes back gets what it missed, until the window has moved on", async (t) => {
  const { clock, cache, write } = await setUp(t);
  await cache.ready();
  const start = await write("a", "0");
  for (let index = 1; index <= 150; index++) await write("a", `${index}`);
  assert.ok(cache.remembers(start));
  const seen: CacheEvent[] = [];
  const stop = cache.watch(start, { onEvents: (events) => seen.push(...events), onClose: () => {} });
  assert.equal(seen.length, 150);
  stop();
  await clock.advance(6 * 60_000);
  const last = await write("a", "late");
  assert.ok(!cache.remembers(start));
  assert.ok(cache.remembers(last));
});

test("a watch from a revision that this server has yet to hear of is told of nothing older", async (t) => {
  const { cache, write } = await setUp(t);
  await cache.ready();
  const ahead = (await write("a", "0")) + 2;
  const seen: number[] = [];
  cache.watch(ahead, { onEvents: (events) => seen.push(...events.map(({ revision }) => revision)), onClose: () => {} });
  for (let index = 1; index <= 3; index++) await write("a", `${index}`);
  assert.deepEqual(seen, [ahead + 1]);
});

test("what the window has forgotten, or never knew, comes from the store until it is compacted", async (t) => {
  const { store, cache, write } = await setUp(t);
  const start = await write("a", "0");
  const revisions = [await write("a", "1"), await write("b", "1")];
  const deleted = await store.delete(keyFor(facts, "default", "a"), revisions[0]!);
  assert.ok(deleted.ok);
  const later = await write("a", "2");
  await cache.ready();
  assert.ok(!cache.remembers(start));
  const past: CacheEvent[] = [];
  for await (const events of cache.history(start, deleted.revision)) past.push(...events);
  assert.deepEqual(
    past.map(({ revision, deleted, item, previous }) => [revision, deleted, item.name, previous?.revision]),
    [
      [revisions[0], false, "a", start],
      [revisions[1], false, "b", undefined],
      [deleted.revision, true, "a", revisions[0]],
    ],
  );
  await store.compact(later);
  await assert.rejects(cache.history(start, later).next(), { code: 410, reason: "Expired" });
});

test("a revision that does not come is refused with the error that clients retry", async (t) => {
  const { clock, cache, write } = await setUp(t);
  const revision = await write("a", "1");
  await cache.reached(revision);
  const waiting = assert.rejects(cache.reached(revision + 10), { code: 504, message: /Too large resource version/ });
  await clock.advance(3000);
  await waiting;
});

test("a wait for a revision ends with it or with its time, and leaves nothing behind", async (t) => {
  const { clock, feed, write } = await setUp(t);
  const before = clock.pending;
  const [soon, never] = [feed.reached(feed.revision + 1, 3000), feed.reached(feed.revision + 100, 3000)];
  await write("a", "1");
  assert.equal(await soon, true);
  assert.equal(clock.pending, before + 1);
  await clock.advance(3000);
  assert.equal(await never, false);
  assert.equal(clock.pending, before);
});

test("a store's watch that lost its place begins anew: watchers are told to list again, and reads are current", async (t) => {
  const { clock, store, write } = await setUp(t);
  let lose: (error: Error) => void = () => {};
  const losing: Store = Object.assign(Object.create(store) as Store, {
    exclusive: false,
    problem: () => undefined,
    currentRevision: () => store.currentRevision(),
    list: (...args: Parameters<Store["list"]>) => store.list(...args),
    async watch(prefix: string, options: WatchOptions) {
      const stop = await store.watch(prefix, options);
      lose = (error) => {
        stop();
        options.onError(error);
      };
      return stop;
    },
  });
  const feed = new StoreFeed(losing, clock, silentLogger);
  await feed.start();
  t.after(() => feed.stop());
  const cache = new ResourceCache(facts, losing, feed, clock);
  await write("a", "1");
  await cache.barrier();
  const closed = Promise.withResolvers<StatusError | undefined>();
  cache.watch(cache.revision, { onEvents: () => {}, onClose: closed.resolve });
  lose(new CompactedError(1, 2));
  assert.match(feed.problem() ?? "", /compacted/);
  await assert.rejects(cache.barrier(), { code: 503 });
  const missed = write("b", "1");
  assert.equal((await closed.promise)?.code, 410);
  await missed;
  assert.equal(feed.problem(), undefined);
  await cache.barrier();
  assert.equal(cache.size, 2);
});

for (const when of ["before its request comes to it", "while its cache is filled"]) {
  test(`a watch of a resource that is withdrawn ${when} is told to go`, async (t) => {
    const { clock, store, feed, write } = await setUp(t);
    await write("a", "1");
    const caches = new CacheSet(store, feed, clock);
    const drop = () => caches.drop(facts);
    if (when.startsWith("before")) drop();
    const ends: (string | undefined)[] = [];
    const sink = { open() {}, changes() {}, bookmark() {}, end: (error?: Error) => ends.push(error?.message) };
    const core = { caches, store, ioClock: clock } as unknown as Core;
    const started = watch(core, { facts, namespace: "default" } as Call, {}, sink);
    if (!when.startsWith("before")) drop();
    await started;
    assert.deepEqual(ends, ["the resource configmaps is no longer served"]);
    // Others that are still under way read what is there, and nothing stays behind.
    const late = caches.of(facts);
    await write("b", "1");
    await late.barrier();
    assert.equal(late.size, 2);
    assert.deepEqual([...caches.all()], []);
  });
}
