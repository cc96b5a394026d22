import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { silentLogger } from "../../src/machinery/log.ts";
import { openEtcdStore } from "../../src/store/etcd/etcd-store.ts";
import type { Store } from "../../src/store/store.ts";
import { startDatabase, type TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const waitMs = 60_000;
const text = (value: string) => Buffer.from(value);

function open({ host, port }: TestDatabase, clock = new FakeClock()): Promise<Store> {
  return openEtcdStore({ servers: [{ host, port, tls: false }], files: {}, clock, logger: silentLogger });
}

interface LeaseFacts {
  readonly keys: readonly string[] | null;
  readonly "granted-ttl": number;
}

describe("what a store leaves in etcd", () => {
  test("keys, values and revisions are what etcdctl shows", async () => {
    await using database = await startDatabase("etcd");
    const store = await open(database);
    const key = "/registry/configmaps/default/a";
    const created = await store.create(key, text("k8s\0\u{1f600}"));
    assert.ok(created.ok);
    assert.equal((await database.exec(["etcdctl", "get", key, "--print-value-only"])).trimEnd(), "k8s\0\u{1f600}");
    const shown = JSON.parse(await database.exec(["etcdctl", "get", key, "-w", "json"])) as {
      kvs: readonly { create_revision: number; mod_revision: number }[];
    };
    assert.deepEqual([shown.kvs[0]!.create_revision, shown.kvs[0]!.mod_revision], [created.revision, created.revision]);
    await store.close();
  });

  test("writes of several keys under one revision, as others may make them, come together and once", async () => {
    await using database = await startDatabase("etcd");
    const store = await open(database);
    const pieces: string[][] = [];
    const start = await store.currentRevision();
    await store.watch("/registry/", {
      afterRevision: start,
      onEvents: (events) => void pieces.push(events.map(({ type, key }) => `${type} ${key}`)),
      onError: assert.fail,
    });
    const own = await store.create("/registry/own", text("1"));
    assert.ok(own.ok);
    await database.exec(["etcdctl", "txn"], {
      input: "\nput /registry/a 1\nput /registry/b 1\ndel /registry/own\n\n\n",
    });
    await eventually(() => assert.equal(pieces.flat().length, 4), waitMs);
    const together = ["put /registry/a", "put /registry/b", "delete /registry/own"];
    assert.deepEqual(
      pieces.filter((piece) => piece.length > 0).map((piece) => piece.sort()),
      [["put /registry/own"], together.sort()],
    );
    const past: string[] = [];
    for await (const page of store.history("/registry/", own.revision)) past.push(...page.map(({ key }) => key));
    assert.deepEqual(past.sort(), ["/registry/a", "/registry/b", "/registry/own"]);
    await store.close();
  });

  test("keys with the same life time share a lease, and go together when it ends", async () => {
    await using database = await startDatabase("etcd");
    const store = await open(database);
    await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        store.create(`/registry/events/${index}`, text("x"), { ttlSeconds: 3600 }),
      ),
    );
    const listed = JSON.parse(await database.exec(["etcdctl", "lease", "list", "-w", "json"])) as {
      leases: readonly { id: number | string }[];
    };
    assert.equal(listed.leases.length, 1);
    const list = await database.exec(["etcdctl", "lease", "list"]);
    const id = /^[0-9a-f]{10,}$/m.exec(list)![0];
    const lease = JSON.parse(
      await database.exec(["etcdctl", "lease", "timetolive", id, "--keys", "-w", "json"]),
    ) as LeaseFacts;
    assert.equal(lease["granted-ttl"], 3660);
    assert.equal(lease.keys?.length, 50);
    let gone = 0;
    await store.watch("/registry/events/", {
      afterRevision: await store.currentRevision(),
      onEvents: (events) => {
        gone += events.filter(({ type }) => type === "delete").length;
      },
      onError: assert.fail,
    });
    // A lease that somebody ends is what one is that ran out; the next key gets another.
    await database.exec(["etcdctl", "lease", "revoke", id]);
    await eventually(() => assert.equal(gone, 50), waitMs);
    assert.ok((await store.create("/registry/events/next", text("x"), { ttlSeconds: 3600 })).ok);
    await store.close();
  });

  test("several servers compact to what was five minutes ago, and once an interval", async () => {
    await using database = await startDatabase("etcd");
    const clocks = [new FakeClock(), new FakeClock(), new FakeClock()];
    const stores = await Promise.all(clocks.map((clock) => open(database, clock)));
    const minutes = async (count: number) => {
      for (const clock of clocks) await clock.advance(count * 60_000);
      for (const store of stores) await store.compactedRevision();
    };
    const mark = async (index: number) => {
      const result = await stores[0]!.create(`/registry/mark/${index}`, text("x"));
      assert.ok(result.ok);
      // The others learn of it as they do of everything.
      for (const store of stores) await store.currentRevision();
      return result.revision;
    };
    const counted = async () => {
      const shown = await database.exec(["etcdctl", "get", "compact_rev_key", "-w", "json"]);
      return (JSON.parse(shown) as { kvs?: readonly { version: number }[] }).kvs?.[0]?.version ?? 0;
    };
    for (let interval = 1; interval <= 3; interval++) {
      const old = await mark(2 * interval);
      await minutes(5);
      const young = await mark(2 * interval + 1);
      assert.equal(await counted(), 2 * interval - 1, "one of three compacts");
      await minutes(5);
      assert.equal(await counted(), 2 * interval);
      for (const store of stores) {
        const compacted = await store.compactedRevision();
        assert.ok(compacted >= old && compacted < young, `compacted ${compacted}, expected ${old} up to ${young}`);
      }
    }
    await Promise.all(stores.map((store) => store.close()));
  });

  test("a snapshot is what etcd's tools take, with its revision, also when its newest write is compacted away", async (t) => {
    await using database = await startDatabase("etcd");
    const store = await open(database);
    const directory = temporaryDirectory(t);
    const check = async (name: string, atLeast: number) => {
      const path = join(directory, name);
      const { revision } = await store.snapshot!(path);
      assert.ok(revision >= atLeast, `${revision}, at least ${atLeast}`);
      assert.equal(statSync(path).mode & 0o777, 0o600);
      execFileSync("docker", ["cp", path, `${database.container}:/tmp/${name}`]);
      const status = await database.exec(["etcdutl", "snapshot", "status", `/tmp/${name}`, "-w", "json"]);
      return { revision, told: (JSON.parse(status) as { revision: number }).revision };
    };
    assert.equal((await check("empty.db", 1)).revision, 1);
    await Promise.all(
      Array.from({ length: 2000 }, (_, index) => store.create(`/registry/a/${index}`, text("x".repeat(200)))),
    );
    const head = await store.currentRevision();
    const full = await check("full.db", head);
    assert.deepEqual(full, { revision: head, told: head });
    await store.raiseRevision(head + 10);
    await eventually(async () => assert.equal((await check(`raised-${Date.now()}.db`, 1)).revision, head + 10), waitMs);
    await store.close();
  });
});
