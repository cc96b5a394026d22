import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { openSqliteStore } from "../../../../src/store/sqlite/sqlite-store.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { storeSuite } from "../suite.ts";

async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "k3ts-store-"));
}

storeSuite("SQLite", async () => {
  const folder = await temporaryFolder();
  const clock = new FakeClock();
  const open = () => openSqliteStore({ path: join(folder, "state.db"), logger: silentLogger, clock });
  let store = await open();
  return {
    get store() {
      return store;
    },
    clock,
    openSnapshot: (path) => openSqliteStore({ path, logger: silentLogger, clock }),
    async reopen() {
      await store.close();
      store = await open();
      return store;
    },
    async dispose() {
      await store.close();
      await rm(folder, { recursive: true });
    },
  };
});

const writer = join(import.meta.dirname, "killed-writer.ts");

test("a process killed with SIGKILL in the middle of writing loses no acknowledged write", async (t) => {
  const folder = await temporaryFolder();
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "state.db");
  let acknowledged = 0;
  for (let round = 0; round < 3; round++) {
    const child = spawn(process.execPath, [writer, path, `${round}`], { stdio: ["ignore", "pipe", "inherit"] });
    const seen: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      seen.push(line);
      if (seen.length === 300) child.kill("SIGKILL");
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    assert.equal(child.signalCode, "SIGKILL");
    acknowledged += seen.length;
    const store = await openSqliteStore({ path, logger: silentLogger, clock: new FakeClock() });
    const keys = new Map((await store.list("/killed/")).entries.map((entry) => [entry.key, entry.modRevision]));
    for (const line of seen) {
      const [key, revision] = line.split(" ");
      assert.equal(keys.get(key!), Number(revision), `${key} was acknowledged and is gone`);
    }
    assert.ok(keys.size >= acknowledged);
    await store.close();
  }
});

test("a file that is no database, or that another process has, is refused with a clear error", async (t) => {
  const folder = await temporaryFolder();
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "junk.db");
  await writeFile(path, "this is not a database, whatever its name says".repeat(100));
  const options = { logger: silentLogger, clock: new FakeClock() };
  await assert.rejects(openSqliteStore({ path, ...options }), (error: Error) => {
    assert.ok(error instanceof ConfigurationError);
    assert.match(error.message, /junk\.db.*not a database/);
    return true;
  });
  const shared = join(folder, "state.db");
  const store = await openSqliteStore({ path: shared, ...options });
  await assert.rejects(openSqliteStore({ path: shared, ...options }), /database is locked/);
  await store.close();
});
