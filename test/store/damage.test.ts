import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { ConfigurationError } from "../../src/machinery/configuration-error.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { UnavailableError } from "../../src/store/store.ts";
import { startDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { type RawReply, rawRequest } from "../support/raw-request.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";
import { mountSmallDisk, noSmallDisk } from "../support/small-disk.ts";

const configMaps = "/api/v1/namespaces/default/configmaps";

/** A server whose database is on the disk; it is killed when the test ends. */
async function serverOn(
  t: TestContext,
  path: string,
): Promise<{ server: ServerProcess; again(): Promise<ServerProcess> }> {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-damage-"));
  mkdirSync(join(directory, "data/server"), { recursive: true });
  symlinkSync(path, join(directory, "data/server/db"));
  let server = await startServerProcess({ directory });
  t.after(async () => {
    await server.kill();
    rmSync(directory, { recursive: true, force: true });
  });
  const again = async () => {
    await server.kill();
    server = await startServerProcess({ directory, port: Number(new URL(server.url).port) });
    return server;
  };
  return { server, again };
}

const create = (server: ServerProcess, name: string, bytes = 10) =>
  rawRequest(server, configMaps, {
    method: "POST",
    body: { metadata: { name }, data: { text: "x".repeat(bytes) } },
  });

async function names(server: ServerProcess): Promise<Set<string>> {
  const reply = await rawRequest(server, configMaps);
  assert.equal(reply.code, 200, reply.text);
  const { items } = reply.json<{ items: { metadata: { name: string } }[] }>();
  return new Set(items.map(({ metadata }) => metadata.name));
}

async function isReady(server: ServerProcess): Promise<void> {
  const { code, text } = await rawRequest(server, "/readyz");
  assert.equal(code, 200, text);
}

/** What a watch that began before the trouble has been told, and whether it is still there. */
function watchNames(t: TestContext, server: ServerProcess): { seen(): string; ended(): boolean } {
  const watching = server.startKubectl(["get", "configmaps", "--watch", "-o", "name"]);
  let ended = false;
  void watching.ended.then(() => {
    ended = true;
  });
  t.after(() => watching.stop());
  return { seen: () => watching.output(), ended: () => ended };
}

/** Milliseconds of processor time that a process has used. */
function usedMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * 4096;
}

describe("a server with SQLite", () => {
  test("on a full disk it refuses writes, answers reads, says so, and goes on by itself when there is room", async (t) => {
    const without = noSmallDisk("tmpfs");
    if (without) return t.skip(without);
    const disk = mountSmallDisk(t, "tmpfs", 12);
    const { server, again } = await serverOn(t, disk.path);
    const watch = watchNames(t, server);
    const acknowledged = ["first"];
    assert.equal((await create(server, "first")).code, 201);
    await eventually(() => assert.match(watch.seen(), /first/));

    // All the room that is left; what SQLite has for itself already is used up by the writes that follow.
    const filler = join(disk.path, "filler");
    try {
      for (;;) writeFileSync(filler, Buffer.alloc(4096), { flag: "a" });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
    }
    let refused: RawReply | undefined;
    for (let index = 0; index < 200 && !refused; index++) {
      const reply = await create(server, `filling-${index}`, 100_000);
      if (reply.code === 201) acknowledged.push(`filling-${index}`);
      else refused = reply;
    }
    assert.ok(refused, "the disk was never full");
    const status = refused.json<{ reason: string; message: string }>();
    assert.deepEqual([refused.code, status.reason], [503, "ServiceUnavailable"], refused.text);
    assert.match(
      status.message,
      /^the disk of the database file ".*state\.db" is full \(SQLITE_FULL.*until there is room$/,
    );
    const readyz = await rawRequest(server, "/readyz");
    assert.equal(readyz.code, 500);
    assert.match(readyz.text, /\[-\]etcd failed: the disk of the database file ".*" is full/);
    const refusedName = `filling-${acknowledged.length - 1}`;
    const during = await names(server);
    for (const name of acknowledged) assert.ok(during.has(name), `${name} was acknowledged`);
    assert.ok(!during.has(refusedName));

    // Nobody writes from here on: it finds out by itself.
    rmSync(filler);
    await eventually(() => isReady(server));
    assert.equal((await create(server, "after")).code, 201);
    acknowledged.push("after");
    await eventually(() => assert.match(watch.seen(), /after/));
    assert.ok(!watch.ended(), "the watch has lived through it");
    for (const name of acknowledged) assert.ok(watch.seen().includes(`configmap/${name}\n`), name);

    const next = await again();
    const found = await names(next);
    for (const name of acknowledged) assert.ok(found.has(name), `${name} was acknowledged, and is gone after kill -9`);
    assert.ok(!found.has(refusedName), "what was refused has not happened");
  });

  test("on a disk that hangs it answers reads, refuses writes in bounded time and memory, and goes on when it answers", async (t) => {
    const without = noSmallDisk("ext4");
    if (without) return t.skip(without);
    const disk = mountSmallDisk(t, "ext4", 64);
    const { server } = await serverOn(t, disk.path);
    t.after(() => disk.thaw());
    const watch = watchNames(t, server);
    assert.equal((await create(server, "before")).code, 201);
    await eventually(() => assert.match(watch.seen(), /before/));
    const memory = residentBytes(server.pid);

    disk.freeze();
    const frozenMs = Date.now();
    const waiting = Array.from({ length: 50 }, (_, index) => create(server, `waiting-${index}`));
    // Not one of these waits for the disk.
    for (let index = 0; index < 20; index++) assert.ok((await names(server)).has("before"));
    assert.ok(Date.now() - frozenMs < 15_000, "reads do not wait for writes");
    const answers = await Promise.all(waiting);
    assert.ok(Date.now() - frozenMs < 60_000, "writes do not wait for ever");
    for (const { code, text } of answers) {
      assert.ok(code === 504 || code === 503, text);
      assert.match(text, /etcdserver: request timed out: the database file .* has not answered for \d+ s/);
    }
    assert.ok(answers.some(({ code }) => code === 504));
    const readyz = await rawRequest(server, "/readyz");
    assert.equal(readyz.code, 500);
    assert.match(readyz.text, /\[-\]etcd failed: etcdserver: request timed out: the database file .* has not answered/);

    const used = usedMs(server.pid);
    const idleMs = Date.now();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const share = (usedMs(server.pid) - used) / (Date.now() - idleMs);
    assert.ok(share < 0.2, `it takes ${Math.round(share * 100)} % of a processor to wait`);
    for (let round = 0; round < 20; round++) {
      const refused = await Promise.all(Array.from({ length: 20 }, () => create(server, "refused", 100_000)));
      for (const { code, text } of refused) assert.equal(code, 503, text);
    }
    const grown = residentBytes(server.pid) - memory;
    assert.ok(grown < 150 * 1024 * 1024, `it has grown by ${Math.round(grown / 1e6)} MB`);
    t.diagnostic(`${Math.round(share * 1000) / 10} % of a processor, ${Math.round(grown / 1e6)} MB more`);

    disk.thaw();
    await eventually(() => isReady(server));
    assert.equal((await create(server, "after")).code, 201);
    await eventually(() => assert.match(watch.seen(), /after/));
    assert.ok(!watch.ended(), "the watch has lived through it");
    const found = await names(server);
    assert.ok(found.has("before") && found.has("after") && !found.has("refused"));
    for (const [index, { code, text }] of answers.entries())
      if (/nothing was written/.test(text)) assert.ok(!found.has(`waiting-${index}`), `${code} ${text}`);
  });
});

describe("the SQLite store on a disk that is read-only", () => {
  const open = (folder: string) =>
    openSqliteStore({ path: join(folder, "state.db"), logger: silentLogger, clock: new FakeClock() });

  test("does not open, and says what to do: also where the file is there", async (t) => {
    const without = noSmallDisk("tmpfs");
    if (without) return t.skip(without);
    for (const used of [true, false]) {
      const disk = mountSmallDisk(t, "tmpfs", 8);
      if (used) await (await open(disk.path)).close();
      disk.makeReadOnly();
      await assert.rejects(open(disk.path), (error: Error) => {
        assert.ok(error instanceof ConfigurationError, `${error.stack}`);
        assert.match(error.message, /^the database file ".*state\.db" cannot be written \(SQLITE_.*has to be writable/);
        return true;
      });
    }
  });

  test("refuses writes once the kernel takes the disk for broken, answers reads, and says so", async (t) => {
    const without = noSmallDisk("ext4");
    if (without) return t.skip(without);
    const disk = mountSmallDisk(t, "ext4", 16);
    const store = await open(disk.path);
    t.after(() => store.close());
    const first = await store.create("/a", Buffer.from("1"));
    assert.ok(first.ok);
    disk.breakDown();
    for (let attempt = 0; attempt < 3; attempt++) {
      await assert.rejects(store.update("/a", Buffer.from("2"), first.revision), (error: Error) => {
        assert.ok(error instanceof UnavailableError, `${error.stack}`);
        assert.match(error.message, /^the disk of the database file ".*state\.db" fails \(SQLITE_IOERR/);
        return true;
      });
    }
    assert.match(store.problem() ?? "", /^the disk of the database file ".*" fails/);
    assert.equal((await store.get("/a"))?.value.toString(), "1");
    assert.deepEqual(
      (await store.list("/")).entries.map(({ key }) => key),
      ["/a"],
    );
  });
});

/** Clients that write without a pause but after a refusal, and what was acknowledged. */
function startWriters(server: ServerProcess, count: number) {
  const acknowledged: string[] = [];
  const refusals = new Map<number, string>();
  let stopped = false;
  const write = async (lane: number) => {
    for (let index = 0; !stopped; index++) {
      const name = `written-${lane}-${index}`;
      const { code, text } = await create(server, name, 10_000);
      if (code === 201) acknowledged.push(name);
      else {
        refusals.set(code, text);
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  };
  const ended = Promise.all(Array.from({ length: count }, (_, lane) => write(lane)));
  return {
    acknowledged,
    refusals,
    stop: async () => {
      stopped = true;
      await ended;
    },
  };
}

/** How long a database says nothing. */
const pausedMs = 40_000;

describe("a server whose database is paused under load", { concurrency: true }, () => {
  for (const kind of ["etcd", "postgres", "mariadb"] as const) {
    test(`on ${kind} stays small and calm, refuses writes, says why, and goes on with nothing lost`, async (t) => {
      await using database = await startDatabase(kind);
      const server = await startServerProcess({ args: ["--datastore-endpoint", database.endpoint] });
      t.after(() => server.stop());
      const watch = watchNames(t, server);
      const writers = startWriters(server, 50);
      t.after(() => writers.stop());
      await eventually(() => assert.ok(writers.acknowledged.length >= 100));
      const memory = residentBytes(server.pid);

      await database.pause();
      t.after(() => database.unpause().catch(() => {}));
      const paused = Date.now();
      await eventually(async () => {
        const { code, text } = await rawRequest(server, "/readyz");
        assert.equal(code, 500);
        assert.match(text, /\[-\]etcd failed: .*(etcd|PostgreSQL|MySQL|MariaDB)/);
      });
      await eventually(() => assert.ok(writers.refusals.size > 0));
      await writers.stop();
      const used = usedMs(server.pid);
      const calmMs = Date.now();
      await new Promise((resolve) => setTimeout(resolve, Math.max(5000, pausedMs - (calmMs - paused))));
      const share = (usedMs(server.pid) - used) / (Date.now() - calmMs);
      const grown = residentBytes(server.pid) - memory;
      t.diagnostic(`${Math.round(share * 1000) / 10} % of a processor, ${Math.round(grown / 1e6)} MB more`);
      t.diagnostic(`refused with ${[...writers.refusals].map(([code, text]) => `${code} ${text}`).join("\n")}`);
      assert.ok(share < 0.25, `it takes ${Math.round(share * 100)} % of a processor to wait`);
      assert.ok(grown < 200 * 1024 * 1024, `it has grown by ${Math.round(grown / 1e6)} MB`);
      for (const [code, text] of writers.refusals) assert.ok([429, 503, 504].includes(code), `${code} ${text}`);

      await database.unpause();
      await eventually(() => isReady(server));
      await eventually(async () => assert.equal((await create(server, "after")).code, 201));
      await eventually(() => assert.match(watch.seen(), /configmap\/after/));
      assert.ok(!watch.ended(), "the watch has lived through it");
      const found = await names(server);
      for (const name of writers.acknowledged) assert.ok(found.has(name), `${name} was acknowledged`);
    });
  }
});
