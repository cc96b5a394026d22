import assert from "node:assert/strict";
import { after, afterEach, describe, test } from "node:test";
import { ConfigurationError } from "../../src/machinery/configuration-error.ts";
import { type Store, type StoreEvent, UnavailableError, UnknownOutcomeError } from "../../src/store/store.ts";
import type { TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { endpointOf, openSql } from "./sql-harness.ts";

/** What differs between the databases in how a test plays the administrator. */
export interface SqlAdministrator {
  readonly database: () => TestDatabase;
  /** Runs a statement in one of the server's databases and gives what it prints. */
  run(statement: string, database?: string): Promise<string>;
  /** Cuts every connection to a database; with `listening`, only those that hear of changes. */
  cut(database: string, options?: { listening?: boolean }): Promise<void>;
  /** Makes a database take no writes, for new connections, and take them again. */
  setReadOnly(database: string, readOnly: boolean): Promise<void>;
  /** Forgets the last writes of a log, as a replica does that took over too early: rows above `head` are gone. */
  loseWrites(database: string, head: number): Promise<void>;
}

const waitMs = 60_000;
const text = (value: string) => Buffer.from(value);

/** A watch that keeps what it was told. */
class Follower {
  readonly events: StoreEvent[] = [];
  readonly errors: Error[] = [];
  progress = 0;

  static async of(store: Store, afterRevision: number): Promise<Follower> {
    const follower = new Follower();
    await store.watch("/", {
      afterRevision,
      onEvents: (events, progress) => {
        follower.events.push(...events);
        follower.progress = progress;
      },
      onError: (error) => follower.errors.push(error),
    });
    return follower;
  }

  async reached(revision: number): Promise<void> {
    await eventually(() => assert.ok(this.progress >= revision, `at ${this.progress}, not yet ${revision}`), waitMs);
  }

  get revisions(): number[] {
    return this.events.map(({ revision }) => revision);
  }
}

async function revisionsIn(store: Store, afterRevision: number): Promise<number[]> {
  const revisions: number[] = [];
  for await (const page of store.history("/", afterRevision)) revisions.push(...page.map(({ revision }) => revision));
  return revisions;
}

/** Creates keys until it is told to stop, and remembers what it was told of each. */
function createMany(store: Store, prefix: string) {
  const made = new Map<string, number>();
  const refused: string[] = [];
  const unknown: string[] = [];
  const other: unknown[] = [];
  let going = true;
  const done = Promise.all(
    Array.from({ length: 4 }, async (_, writer) => {
      for (let index = 0; going; index++) {
        const key = `${prefix}${writer}/${index}`;
        try {
          const result = await store.create(key, text(key));
          if (result.ok) made.set(key, result.revision);
          else other.push(`${key} is there already`);
        } catch (error) {
          if (error instanceof UnknownOutcomeError) unknown.push(key);
          else if (error instanceof UnavailableError) refused.push(key);
          else other.push(error);
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      }
    }),
  );
  return {
    made,
    refused,
    other,
    async stop() {
      going = false;
      await done;
    },
    /** That every answer was true. */
    async check(): Promise<void> {
      assert.deepEqual(other, []);
      const there = new Map((await store.list(prefix)).entries.map((entry) => [entry.key, entry.modRevision]));
      for (const [key, revision] of made) assert.equal(there.get(key), revision, `${key} was acknowledged`);
      for (const key of refused) assert.equal(there.get(key), undefined, `${key} was refused, and is there`);
      assert.ok(there.size <= made.size + unknown.length);
    },
  };
}

/** What a store on a SQL server withstands. */
export function sqlScenarios(name: string, administrator: SqlAdministrator): void {
  describe(`a store in ${name}`, () => {
    let count = 0;
    let database: string;
    const stores: Store[] = [];
    const open = async () => {
      const store = await openSql(endpointOf(administrator.database(), database));
      stores.push(store);
      return store;
    };
    /** Two servers' stores on a new database. */
    const openTwo = async (): Promise<[Store, Store]> => {
      database = `scenario_${count++}`;
      return [await open(), await open()];
    };
    const closeAll = () => Promise.all(stores.splice(0).map((store) => store.close()));
    // Also after one that failed: connections would keep the process alive.
    afterEach(closeAll);
    after(closeAll);

    test("several servers that start at once on an empty server make the database once", async () => {
      database = `scenario_${count++}`;
      const together = await Promise.all(Array.from({ length: 4 }, open));
      assert.ok((await together[0]!.create("/a", text("1"))).ok);
      assert.equal((await together[3]!.get("/a"))?.value.toString(), "1");
      await closeAll();
    });

    test("two servers see each other's writes, each once, in one order, without asking", async () => {
      const [a, b] = await openTwo();
      const start = await a.currentRevision();
      const followers = [await Follower.of(a, start), await Follower.of(b, start)];
      const writes = [a, b].map((store, writer) =>
        Promise.all(Array.from({ length: 300 }, (_, index) => store.create(`/both/${writer}/${index}`, text("x")))),
      );
      const results = (await Promise.all(writes)).flat();
      const revisions = results.map((result) => (result.ok ? result.revision : 0)).sort((x, y) => x - y);
      for (const follower of followers) {
        await follower.reached(revisions.at(-1)!);
        assert.deepEqual(follower.revisions, revisions);
      }
      // Of many that want to write one key, on both, exactly one wins each round.
      const first = await a.create("/both/shared", text("0"));
      assert.ok(first.ok);
      const rivals = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 ? a : b).update("/both/shared", text(`${index}`), first.revision),
        ),
      );
      assert.equal(rivals.filter((result) => result.ok).length, 1);
      await closeAll();
    });

    test("a key that a server gave a time to live goes also when that server has stopped", async () => {
      database = `scenario_${count++}`;
      const { clock, store } = await withClock(endpointOf(administrator.database(), database));
      stores.push(store);
      const other = await open();
      const follower = await Follower.of(store, 0);
      assert.ok((await other.create("/ttl/a", text("1"), { ttlSeconds: 30 })).ok);
      await follower.reached(1);
      await other.close();
      await clock.advance(40_000);
      await follower.reached(2);
      assert.equal(follower.events.at(-1)!.type, "delete");
      await closeAll();
    });

    test("compaction on schedule is done by one of several servers", async () => {
      database = `scenario_${count++}`;
      const endpoint = endpointOf(administrator.database(), database);
      const [first, second] = [await withClock(endpoint), await withClock(endpoint)];
      stores.push(first.store, second.store);
      const follower = await Follower.of(second.store, 0);
      const revisions = [];
      for (let index = 0; index < 3; index++) {
        const result = await first.store.create(`/old/${index}`, text("x"));
        assert.ok(result.ok);
        revisions.push(result.revision);
        await follower.reached(result.revision);
        for (const { clock, store } of [first, second]) {
          await clock.advance(5 * 60_000);
          await store.compactedRevision();
        }
      }
      assert.equal(await second.store.compactedRevision(), revisions[1]);
      assert.equal((await administrator.run("SELECT compactions FROM k3ts_meta", database)).trim(), "3");
      await closeAll();
    });

    test("connections that are cut in the middle of writing lose no answer and no event", async () => {
      const [a, b] = await openTwo();
      const start = await a.currentRevision();
      const followers = [await Follower.of(a, start), await Follower.of(b, start)];
      const load = createMany(a, "/cut/");
      for (let round = 0; round < 5; round++) {
        const { size } = load.made;
        await eventually(() => assert.ok(load.made.size > size + 20), waitMs);
        await administrator.cut(database);
      }
      await load.stop();
      await load.check();
      assert.deepEqual(load.refused, [], "a lost connection is replaced, and what became of the batch is found out");
      const all = await revisionsIn(a, start);
      for (const follower of followers) {
        await follower.reached(all.at(-1)!);
        assert.deepEqual(follower.revisions, all);
        assert.deepEqual(follower.errors, []);
      }
      await eventually(() => assert.equal(a.problem(), undefined), waitMs);
      await closeAll();
    });

    test("a server whose news are cut off hears of everything nevertheless", async () => {
      const [a, b] = await openTwo();
      const follower = await Follower.of(b, 0);
      for (let round = 0; round < 3; round++) {
        await administrator.cut(database, { listening: true });
        const result = await a.create(`/news/${round}`, text("x"));
        assert.ok(result.ok);
        await follower.reached(result.revision);
      }
      assert.equal(follower.events.length, 3);
      await closeAll();
    });

    test("a database that is killed and started again has every acknowledged write, and watches go on", async () => {
      const [a, b] = await openTwo();
      const start = await a.currentRevision();
      const followers = [await Follower.of(a, start), await Follower.of(b, start)];
      const load = createMany(a, "/killed/");
      await eventually(() => assert.ok(load.made.size > 50), waitMs);
      await administrator.database().kill();
      await eventually(() => assert.match(a.problem() ?? "", /at 127\.0\.0\.1:/), waitMs);
      await assert.rejects(b.get("/killed/0/0"), UnavailableError);
      await administrator.database().start();
      await eventually(() => assert.equal(a.problem(), undefined), waitMs);
      const { size } = load.made;
      await eventually(() => assert.ok(load.made.size > size + 20), waitMs);
      await load.stop();
      await load.check();
      const all = await revisionsIn(b, start);
      for (const follower of followers) {
        await follower.reached(all.at(-1)!);
        assert.deepEqual(follower.revisions, all);
        assert.deepEqual(follower.errors, []);
      }
      await closeAll();
    });

    test("a database that stands still fails calls in bounded time, is told of, and is there again by itself", async () => {
      const [a, b] = await openTwo();
      assert.ok((await a.create("/paused/before", text("1"))).ok);
      const follower = await Follower.of(b, 0);
      await administrator.database().pause();
      try {
        const begun = Date.now();
        const outcomes = await Promise.allSettled([
          a.create("/paused/during", text("1")),
          a.get("/paused/before"),
          b.currentRevision(),
          b.list("/paused/"),
        ]);
        for (const outcome of outcomes) {
          assert.equal(outcome.status, "rejected");
          const { reason } = outcome as PromiseRejectedResult;
          assert.ok(reason instanceof UnavailableError || reason instanceof UnknownOutcomeError, `${reason}`);
        }
        assert.ok(Date.now() - begun < 40_000);
        assert.match(a.problem() ?? "", /did not answer|accepted no connection|not known/);
      } finally {
        await administrator.database().unpause();
      }
      await eventually(() => {
        assert.equal(a.problem(), undefined);
        assert.equal(b.problem(), undefined);
      }, waitMs);
      const result = await a.create("/paused/after", text("1"));
      assert.ok(result.ok);
      await follower.reached(result.revision);
      assert.deepEqual(follower.revisions, await revisionsIn(a, 0));
      await closeAll();
    });

    test("a server that took over and takes no writes is named, and used when it takes them", async () => {
      const [a] = await openTwo();
      const written = await a.create("/read-only/a", text("1"));
      assert.ok(written.ok);
      await administrator.setReadOnly(database, true);
      try {
        await administrator.cut(database);
        await eventually(() => assert.match(a.problem() ?? "", /read-only/), waitMs);
        // The first one may find its connection cut after it was sent, and nobody to ask what became of it.
        await assert.rejects(a.update("/read-only/a", text("2"), written.revision));
        await assert.rejects(a.update("/read-only/a", text("2"), written.revision), (error: Error) => {
          assert.ok(error instanceof UnavailableError);
          assert.match(error.message, /127\.0\.0\.1:\d+: .*read-only/);
          return true;
        });
      } finally {
        await administrator.setReadOnly(database, false);
      }
      await eventually(() => assert.equal(a.problem(), undefined), waitMs);
      assert.ok((await a.update("/read-only/a", text("2"), written.revision)).ok);
      await closeAll();
    });

    test("a server that took over and lacks acknowledged writes never has their revisions handed out twice", async () => {
      const [a, b] = await openTwo();
      const kept = await a.create("/lost/kept", text("1"));
      assert.ok(kept.ok);
      const follower = await Follower.of(b, 0);
      let last = 0;
      for (let index = 0; index < 5; index++) {
        const result = await a.create(`/lost/${index}`, text("1"));
        assert.ok(result.ok);
        last = result.revision;
      }
      await follower.reached(last);
      await administrator.loseWrites(database, kept.revision);
      await administrator.cut(database);
      await eventually(() => assert.equal(follower.errors.length, 1), waitMs);
      assert.match(follower.errors[0]!.message, /compacted/);
      const next = await eventually(() => a.create("/lost/0", text("2")), waitMs);
      assert.ok(next.ok, "what was lost is not there");
      assert.ok(next.revision > last);
      assert.equal((await b.get("/lost/kept"))?.modRevision, kept.revision);
      await assert.rejects(a.history("/", last).next(), /compacted/);
      await closeAll();
    });

    test("a wrong password and an unknown host are told as such, and the password never", async () => {
      const { endpoint, port } = administrator.database();
      const wrong = endpoint.replace("test@", "s3cr3t-p4ss@").replace(/\/kubernetes$/, "/scenario_0");
      await assert.rejects(openSql(wrong), (error: Error) => {
        assert.ok(error instanceof ConfigurationError, `${error}`);
        assert.match(error.message, new RegExp(`at 127\\.0\\.0\\.1:${port}: .*--datastore-endpoint`));
        assert.doesNotMatch(inspectAll(error), /s3cr3t/);
        return true;
      });
      const nowhere = wrong.replace("127.0.0.1", "nowhere.invalid");
      await assert.rejects(openSql(nowhere), (error: Error) => {
        assert.ok(error instanceof UnavailableError);
        assert.match(error.message, /at nowhere\.invalid:\d+: .*nowhere\.invalid/);
        assert.doesNotMatch(inspectAll(error), /s3cr3t/);
        return true;
      });
    });
  });
}

async function withClock(endpoint: ReturnType<typeof endpointOf>) {
  const clock = new FakeClock();
  return { clock, store: await openSql(endpoint, { clock }) };
}

/** An error with all that a logger might write of it. */
export function inspectAll(error: Error): string {
  return [error.message, error.stack, JSON.stringify(error, Object.getOwnPropertyNames(error)), `${error.cause}`].join(
    "\n",
  );
}
