import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  CompactedError,
  FutureRevisionError,
  type Store,
  StoreClosedError,
  type StoreEvent,
} from "../../../src/store/store.ts";
import type { FakeClock } from "../../support/fake-clock.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

export interface StoreHarness {
  readonly store: Store;
  readonly clock: FakeClock;
  /** Where the database itself counts life times: one that a test waits for in real time. Otherwise the clock is moved. */
  readonly lifetimeSeconds?: number;
  /** Opens a copy that the store made; absent where only the database's own tools can. The suite closes it. */
  openSnapshot?(path: string): Promise<Store>;
  /** Closes the store and opens the same data again. */
  reopen(): Promise<Store>;
  /** Closes and removes everything. */
  dispose(): Promise<void>;
}

const text = (value: string) => Buffer.from(value);

/** Collects a watch's events and lets a test wait for a number of them. */
class Collector {
  readonly events: StoreEvent[] = [];
  readonly errors: Error[] = [];
  #wake: (() => void) | undefined;

  readonly onEvents = (events: readonly StoreEvent[]) => {
    this.events.push(...events);
    this.#wake?.();
  };
  readonly onError = (error: Error) => {
    this.errors.push(error);
    this.#wake?.();
  };

  async count(wanted: number): Promise<readonly StoreEvent[]> {
    while (this.events.length < wanted && this.errors.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.events;
  }
}

async function put(store: Store, key: string, value: string): Promise<number> {
  const current = await store.get(key);
  const result = current
    ? await store.update(key, text(value), current.modRevision)
    : await store.create(key, text(value));
  assert.ok(result.ok);
  return result.revision;
}

/** The rules that every implementation of the store contract keeps. */
export function storeSuite(name: string, open: () => Promise<StoreHarness>): void {
  describe(`the store contract: ${name}`, () => {
    let harness: StoreHarness;
    let store: Store;
    before(async () => {
      harness = await open();
      store = harness.store;
    });
    after(() => harness.dispose());

    test("a created value can be read, with equal create and mod revisions", async () => {
      const result = await store.create("/basic/a", text("1"));
      assert.ok(result.ok);
      assert.equal(result.previous, undefined);
      const entry = await store.get("/basic/a");
      assert.equal(entry?.value.toString(), "1");
      assert.equal(entry?.modRevision, result.revision);
      assert.equal(entry?.createRevision, result.revision);
    });

    test("creating an existing key fails and returns what stands there", async () => {
      const first = await put(store, "/basic/exists", "1");
      const result = await store.create("/basic/exists", text("2"));
      assert.ok(!result.ok);
      assert.equal(result.current?.value.toString(), "1");
      assert.equal(result.current?.modRevision, first);
    });

    test("an update needs the current revision, keeps the create revision and returns the previous value", async () => {
      const first = await put(store, "/basic/update", "1");
      const second = await store.update("/basic/update", text("2"), first);
      assert.ok(second.ok);
      assert.ok(second.revision > first);
      assert.equal(second.previous?.value.toString(), "1");
      const stale = await store.update("/basic/update", text("3"), first);
      assert.ok(!stale.ok);
      assert.equal(stale.current?.value.toString(), "2");
      assert.equal((await store.get("/basic/update"))?.createRevision, first);
    });

    test("updating or deleting a key that is not there fails without a current value", async () => {
      const updated = await store.update("/basic/none", text("1"), 1);
      assert.deepEqual(updated, { ok: false, current: undefined });
      const deleted = await store.delete("/basic/none", 1);
      assert.deepEqual({ ...deleted, current: undefined }, { ok: false, current: undefined });
    });

    test("a delete needs the current revision, and a key created again starts a new life", async () => {
      const first = await put(store, "/basic/delete", "1");
      assert.ok(!(await store.delete("/basic/delete", first + 1_000_000)).ok);
      const deleted = await store.delete("/basic/delete", first);
      assert.ok(deleted.ok);
      assert.equal(deleted.previous?.value.toString(), "1");
      assert.equal(await store.get("/basic/delete"), undefined);
      const again = await store.create("/basic/delete", text("2"));
      assert.ok(again.ok);
      assert.equal((await store.get("/basic/delete"))?.createRevision, again.revision);
    });

    test("of many racing writers on one revision exactly one wins", async () => {
      const first = await put(store, "/race/a", "0");
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, index) => store.update("/race/a", text(`${index}`), first)),
      );
      assert.equal(results.filter((result) => result.ok).length, 1);
      assert.ok(results[0]!.ok, "writes are compared in order of arrival");
    });

    test("every write has a revision of its own, above those that were answered before it", async () => {
      let highest = 0;
      for (let round = 0; round < 3; round++) {
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, index) => store.create(`/order/${round}/${index}`, text("x"))),
        );
        const revisions = results.map((result) => (result.ok ? result.revision : 0));
        assert.equal(new Set(revisions).size, 50);
        assert.ok(Math.min(...revisions) > highest);
        highest = Math.max(...revisions);
      }
    });

    test("writes on one key are made in the order in which they were asked for", async () => {
      const results = await Promise.all([
        store.create("/turns/a", text("1")),
        store.create("/turns/a", text("2")),
        store.delete("/turns/none", 1),
        store.create("/turns/a", text("3")),
      ]);
      assert.deepEqual(
        results.map((result) => result.ok),
        [true, false, false, false],
      );
      assert.equal((await store.get("/turns/a"))?.value.toString(), "1");
    });

    test("a list is in byte order, below its prefix only, with the newest values", async () => {
      for (const key of ["/list/b", "/list/a", "/list/a/x", "/list/a-b", "/listing", "/list/é"])
        await put(store, key, key);
      await put(store, "/list/b", "new");
      const { entries, revision, more } = await store.list("/list/");
      assert.deepEqual(
        entries.map((entry) => entry.key),
        ["/list/a", "/list/a-b", "/list/a/x", "/list/b", "/list/é"],
      );
      assert.equal(entries[3]!.value.toString(), "new");
      assert.equal(revision, await store.currentRevision());
      assert.equal(more, false);
    });

    test("a list can be paged as of the revision of its first page", async () => {
      for (let index = 0; index < 7; index++) await put(store, `/page/${index}`, "old");
      const first = await store.list("/page/", { limit: 3 });
      assert.equal(first.more, true);
      await put(store, "/page/5", "new");
      await store.delete("/page/6", (await store.get("/page/6"))!.modRevision);
      await put(store, "/page/55", "later");
      const rest = await store.list("/page/", {
        limit: 10,
        after: first.entries.at(-1)!.key,
        revision: first.revision,
      });
      assert.deepEqual(
        [...first.entries, ...rest.entries].map((entry) => `${entry.key}=${entry.value}`),
        Array.from({ length: 7 }, (_, index) => `/page/${index}=old`),
      );
      assert.equal(rest.more, false);
      assert.equal(rest.revision, first.revision);
    });

    test("a list as of a revision that does not exist yet is refused", async () => {
      const head = await store.currentRevision();
      await assert.rejects(store.list("/list/", { revision: head + 10 }), FutureRevisionError);
    });

    test("a watch delivers every change after its revision, in order, each once, with what was there before", async () => {
      const start = await store.currentRevision();
      const created = await put(store, "/watch/a", "1");
      const collector = new Collector();
      const stop = await store.watch("/watch/", { afterRevision: start, ...collector });
      const updated = await put(store, "/watch/a", "2");
      await put(store, "/elsewhere/a", "x");
      const deleted = await store.delete("/watch/a", updated);
      assert.ok(deleted.ok);
      const events = await collector.count(3);
      stop();
      assert.deepEqual(
        events.map(({ type, revision, entry, previous }) => [
          type,
          revision,
          entry?.value.toString(),
          entry?.createRevision,
          previous?.value.toString(),
        ]),
        [
          ["put", created, "1", created, undefined],
          ["put", updated, "2", created, "1"],
          ["delete", deleted.revision, undefined, undefined, "2"],
        ],
      );
    });

    test("a watch started while writes go on misses none and doubles none", async () => {
      const start = await store.currentRevision();
      const writes = Array.from({ length: 1200 }, (_, index) => store.create(`/busy/${index}`, text("x")));
      const collector = new Collector();
      const stop = await store.watch("/busy/", { afterRevision: start, ...collector });
      const results = await Promise.all(writes);
      const events = await collector.count(1200);
      stop();
      assert.deepEqual(
        events.map((event) => event.revision),
        results.map((result) => (result.ok ? result.revision : 0)).sort((a, b) => a - b),
      );
    });

    test("an event is delivered before its write is answered", async () => {
      const collector = new Collector();
      const stop = await store.watch("/before/", { afterRevision: await store.currentRevision(), ...collector });
      await put(store, "/before/a", "1");
      assert.equal(collector.events.length, 1);
      stop();
      await put(store, "/before/b", "1");
      assert.equal(collector.events.length, 1, "a watch that was ended gets nothing more");
    });

    test("a key with a time to live goes when its time has come, and not when it was written again", async () => {
      const collector = new Collector();
      const stop = await store.watch("/ttl/", { afterRevision: await store.currentRevision(), ...collector });
      const ttlSeconds = harness.lifetimeSeconds ?? 60;
      await store.create("/ttl/goes", text("1"), { ttlSeconds });
      const kept = await store.create("/ttl/kept", text("1"), { ttlSeconds });
      assert.ok(kept.ok);
      assert.ok((await store.update("/ttl/kept", text("2"), kept.revision)).ok);
      if (harness.lifetimeSeconds === undefined) await harness.clock.advance((ttlSeconds - 1) * 1000);
      assert.ok(await store.get("/ttl/goes"));
      if (harness.lifetimeSeconds === undefined) await harness.clock.advance(2000);
      const events = await collector.count(4);
      stop();
      assert.equal(events[3]!.type, "delete");
      assert.equal(events[3]!.key, "/ttl/goes");
      assert.equal(await store.get("/ttl/goes"), undefined);
      assert.equal((await store.get("/ttl/kept"))?.value.toString(), "2");
    });

    test("history tells every change below a prefix after a revision, oldest first, and then ends", async () => {
      const start = await store.currentRevision();
      const revisions: number[] = [];
      // More than two pages.
      for (let at = 0; at < 1200; at += 100)
        revisions.push(
          ...(await Promise.all(Array.from({ length: 100 }, (_, index) => put(store, `/past/${at + index}`, "x")))),
        );
      await put(store, "/other", "x");
      // Each looks first whether its key is there, and those reads may be answered in any order.
      revisions.sort((a, b) => a - b);
      revisions.push(await put(store, "/past/0", "y"));
      const events: StoreEvent[] = [];
      for await (const page of store.history("/past/", start)) events.push(...page);
      assert.deepEqual(
        events.map((event) => event.revision),
        revisions.sort((a, b) => a - b),
      );
      assert.equal(events.at(-1)!.previous?.value.toString(), "x");
      assert.equal(events.at(-1)!.entry?.value.toString(), "y");
    });

    test("compaction forgets history and keeps the newest values", async () => {
      const start = await put(store, "/compact/a", "1");
      await put(store, "/compact/a", "2");
      const gone = await put(store, "/compact/gone", "1");
      await store.delete("/compact/gone", gone);
      const middle = await put(store, "/compact/a", "3");
      await put(store, "/compact/a", "4");
      await store.compact(middle);
      assert.equal(await store.compactedRevision(), middle);
      assert.equal((await store.get("/compact/a"))?.value.toString(), "4");
      await assert.rejects(store.list("/compact/", { revision: start }), CompactedError);
      const asOf = await store.list("/compact/", { revision: middle });
      assert.deepEqual(
        asOf.entries.map((entry) => entry.value.toString()),
        ["3"],
      );
      const collector = new Collector();
      await assert.rejects(store.watch("/compact/", { afterRevision: start, ...collector }), CompactedError);
      await assert.rejects(store.history("/compact/", start).next(), CompactedError);
      const stop = await store.watch("/compact/", { afterRevision: middle, ...collector });
      const events = await collector.count(1);
      assert.equal(events[0]!.entry?.value.toString(), "4");
      assert.equal(events[0]!.previous?.value.toString(), "3");
      stop();
    });

    test("history older than the compaction interval is compacted on schedule", async () => {
      await put(store, "/schedule/a", "1");
      const old = await put(store, "/schedule/a", "2");
      await harness.clock.advance(5 * 60_000);
      const young = await put(store, "/schedule/a", "3");
      await harness.clock.advance(5 * 60_000);
      // The schedule runs in the background; a barrier through the store comes after it.
      await store.currentRevision();
      const compacted = await store.compactedRevision();
      assert.ok(compacted >= old, `compacted ${compacted}, expected at least ${old}`);
      assert.ok(compacted < young, "what is younger than an interval is kept");
    });

    test("revisions that were raised go on above, also after opening again, and older ones are compacted", async () => {
      const old = await put(store, "/raise/a", "1");
      const kept = await put(store, "/raise/a", "2");
      const above = kept + 20;
      await store.raiseRevision(above);
      assert.ok((await store.currentRevision()) >= above);
      assert.equal((await store.get("/raise/a"))?.modRevision, kept);
      await assert.rejects(store.history("/raise/", old).next(), CompactedError);
      store = await harness.reopen();
      assert.ok((await put(store, "/raise/b", "1")) > above);
      const head = await store.currentRevision();
      await store.raiseRevision(above);
      assert.equal(await store.currentRevision(), head, "what is that high already stays");
    });

    test("a watch is told of a progress of at least the current revision, also when others' keys changed", async () => {
      let seen = 0;
      const told = Promise.withResolvers<void>();
      let wanted = Number.POSITIVE_INFINITY;
      const stop = await store.watch("/progress/", {
        afterRevision: await store.currentRevision(),
        onEvents: (_events, progress) => {
          seen = progress;
          if (progress >= wanted) told.resolve();
        },
        onError: told.reject,
      });
      await put(store, "/not-watched/a", "1");
      wanted = await store.currentRevision();
      if (seen < wanted) await told.promise;
      stop();
    });

    test("a watch that begins in the past is told how far it is, though nothing of that was its own", async () => {
      const start = await store.currentRevision();
      await put(store, "/not-watched/b", "1");
      const wanted = await store.currentRevision();
      const told = Promise.withResolvers<void>();
      const stop = await store.watch("/silent/", {
        afterRevision: start,
        onEvents: (_events, progress) => {
          if (progress >= wanted) told.resolve();
        },
        onError: told.reject,
      });
      await told.promise;
      stop();
    });

    test("a copy is one state of the store although writes go on", async (t) => {
      if (!harness.openSnapshot) return t.skip("the database's own tools open its copies, in a test of their own");
      const path = join(temporaryDirectory(t), "copy");
      await put(store, "/copy/a", "0");
      let writing = true;
      const writer = (async () => {
        // One key is never more than a step ahead of the other.
        for (let step = 1; writing; step++) for (const key of ["a", "b"]) await put(store, `/copy/${key}`, `${step}`);
      })();
      const { revision } = await store.snapshot!(path).finally(() => {
        writing = false;
      });
      await writer;
      const copy = await harness.openSnapshot(path);
      t.after(() => copy.close());
      assert.equal(await copy.currentRevision(), revision);
      const then = await store.list("", { revision });
      assert.deepEqual((await copy.list("")).entries, then.entries);
      assert.equal(statSync(path).mode & 0o777, 0o600);
      await assert.rejects(store.snapshot!(path), /EEXIST/, "another file is never written over");
    });

    test("a store that answers has no problem", () => {
      assert.equal(store.problem(), undefined);
    });

    test("everything is there after closing and opening, and revisions go on above", async () => {
      const last = await put(store, "/reopen/a", "1");
      await store.delete("/reopen/a", last);
      const head = await store.currentRevision();
      const compacted = await store.compactedRevision();
      const closed = store;
      store = await harness.reopen();
      await assert.rejects(closed.get("/reopen/a"), StoreClosedError);
      assert.equal(await store.currentRevision(), head);
      assert.equal(await store.compactedRevision(), compacted);
      assert.equal((await store.get("/basic/a"))?.value.toString(), "1");
      assert.ok((await put(store, "/reopen/b", "1")) > head);
    });

    test("closing finishes the writes that were accepted", async () => {
      const writes = Array.from({ length: 100 }, (_, index) => store.create(`/closing/${index}`, text("x")));
      const [results] = await Promise.all([Promise.all(writes), harness.reopen().then((next) => (store = next))]);
      assert.ok(results.every((result) => result.ok));
      assert.equal((await store.list("/closing/")).entries.length, 100);
    });
  });
}
