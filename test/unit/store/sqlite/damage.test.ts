import assert from "node:assert/strict";
import { copyFileSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { openSqliteStore } from "../../../../src/store/sqlite/sqlite-store.ts";
import { walDamage } from "../../../../src/store/sqlite/wal-damage.ts";
import { DamagedError, type Store } from "../../../../src/store/store.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const open = (path: string) => openSqliteStore({ path, logger: silentLogger, clock: new FakeClock() });

/** Values that no page holds whole, so that damage meets keys, values and their rests alike. */
async function fill(store: Store, count: number): Promise<void> {
  for (let index = 0; index < count; index += 50) {
    const batch = Array.from({ length: 50 }, (_, offset) =>
      store.create(`/many/${index + offset}`, Buffer.alloc(3000, index + offset)),
    );
    await Promise.all(batch);
  }
}

/** A database with commits in its log, as a killed process leaves it: a copy of one at work. */
async function killed(t: TestContext): Promise<string> {
  const folder = temporaryDirectory(t);
  const store = await open(join(folder, "state.db"));
  t.after(() => store.close());
  for (let index = 0; index < 20; index++) await store.create(`/one/${index}`, Buffer.alloc(1000, index));
  const path = join(folder, "copy.db");
  for (const end of ["", "-wal"]) copyFileSync(join(folder, `state.db${end}`), path + end);
  return path;
}

function overwrite(path: string, from: number, length: number): void {
  const bytes = readFileSync(path);
  bytes.fill(0xa5, from, from + length);
  writeFileSync(path, bytes);
}

async function refuses(path: string): Promise<void> {
  const files = [path, `${path}-wal`].filter((file) => existsSync(file));
  const before = files.map((file) => readFileSync(file));
  await assert.rejects(open(path), (error: Error) => {
    assert.ok(error instanceof ConfigurationError, `${error.stack}`);
    assert.match(error.message, /the database file ".*" is damaged \(SQLITE_.*--cluster-reset-restore-path/);
    assert.ok(error.message.includes(path));
    return true;
  });
  const after = files.map((file) => readFileSync(file));
  assert.ok(
    before.every((bytes, index) => bytes.equals(after[index]!)),
    "a damaged file is left as it is",
  );
}

describe("a damaged database at the start", () => {
  for (const { name, damage } of [
    { name: "pages in the middle", damage: (path: string) => overwrite(path, 100 * 2048, 20 * 2048) },
    { name: "its first page", damage: (path: string) => overwrite(path, 0, 2048) },
    {
      name: "its second half",
      damage: (path: string) => truncateSync(path, Math.floor(statSync(path).size / 4096) * 2048),
    },
  ]) {
    test(`a file that has lost ${name} is refused, with what to do`, async (t) => {
      const path = join(temporaryDirectory(t), "state.db");
      const store = await open(path);
      await fill(store, 500);
      await store.close();
      damage(path);
      await refuses(path);
    });
  }

  test("a log that has lost acknowledged commits in its middle is refused, with what to do", async (t) => {
    const path = await killed(t);
    overwrite(`${path}-wal`, 20_000, 100);
    await refuses(path);
  });

  test("a log that has lost its header is refused, with what to do", async (t) => {
    const path = await killed(t);
    overwrite(`${path}-wal`, 0, 32);
    await refuses(path);
  });

  test("a log whose last write was cut off is sound: all before it is there", async (t) => {
    const path = await killed(t);
    truncateSync(`${path}-wal`, statSync(`${path}-wal`).size - 100);
    const store = await open(path);
    t.after(() => store.close());
    const { entries } = await store.list("/one/");
    assert.equal(entries.length, 19);
  });
});

describe("walDamage", () => {
  test("an empty log, a whole one and one with a torn end are sound", async (t) => {
    const wal = readFileSync(`${await killed(t)}-wal`);
    assert.equal(walDamage(Buffer.alloc(0)), undefined);
    assert.equal(walDamage(wal), undefined);
    for (let cut = 1; cut < 4000; cut += 333) assert.equal(walDamage(wal.subarray(0, wal.length - cut)), undefined);
    const torn = Buffer.from(wal);
    torn.fill(0, wal.length - 1000);
    assert.equal(walDamage(torn), undefined);
  });

  test("what an earlier round left behind the last commit is no damage", async (t) => {
    const wal = readFileSync(`${await killed(t)}-wal`);
    const old = Buffer.from(wal);
    // Another round's salts, in every frame.
    for (let at = 32; at < old.length; at += 24 + 2048) old.fill(7, at + 8, at + 16);
    assert.equal(walDamage(Buffer.concat([wal, old.subarray(32)])), undefined);
  });

  test("a wrong byte anywhere before the last two commits is damage", async (t) => {
    const wal = readFileSync(`${await killed(t)}-wal`);
    for (let at = 32; at < wal.length / 2; at += 997) {
      const wrong = Buffer.from(wal);
      wrong[at] = wrong[at]! ^ 1;
      assert.ok(walDamage(wrong), `byte ${at}`);
    }
  });
});

describe("a database that is damaged while it works", () => {
  test("who meets it is told, nothing is written any more, and the store says why", async (t) => {
    const path = join(temporaryDirectory(t), "state.db");
    const store = await open(path);
    t.after(() => store.close());
    // Far more than the pages that SQLite keeps in memory.
    await fill(store, 6000);
    overwrite(path, 1000 * 2048, statSync(path).size - 1500 * 2048);
    const isDamage = (error: Error) => {
      assert.ok(error instanceof DamagedError, `${error.stack}`);
      assert.match(error.message, /state\.db" is damaged/);
      return true;
    };
    await assert.rejects(store.list("/many/"), isDamage);
    assert.match(store.problem() ?? "", /state\.db" is damaged/);
    const before = [path, `${path}-wal`].map((file) => readFileSync(file));
    await assert.rejects(store.create("/new", Buffer.from("new")), isDamage);
    await assert.rejects(store.compact(10), isDamage);
    await assert.rejects(store.raiseRevision(1e9), isDamage);
    const after = [path, `${path}-wal`].map((file) => readFileSync(file));
    assert.ok(before.every((bytes, index) => bytes.equals(after[index]!)));
    assert.equal(await store.currentRevision(), 6000, "what does not meet it is answered");
  });
});
