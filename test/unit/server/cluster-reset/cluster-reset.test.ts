import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { resetCluster } from "../../../../src/server/cluster-reset/cluster-reset.ts";
import { assertRestoreFinished, exchange } from "../../../../src/server/cluster-reset/reset-marks.ts";
import { takeAuthorities } from "../../../../src/server/cluster-reset/restored-authorities.ts";
import { revisionsAbove } from "../../../../src/server/cluster-reset/revisions-above.ts";
import { openSnapshotSource } from "../../../../src/server/cluster-reset/snapshot-source.ts";
import type { ServerOptions } from "../../../../src/server/server-options.ts";
import { saveBootstrapData } from "../../../../src/server/shared-bootstrap.ts";
import { serverSnapshots } from "../../../../src/server/snapshots/server-snapshots.ts";
import { zipFile } from "../../../../src/server/snapshots/zip.ts";
import { parseDatastoreEndpoint } from "../../../../src/store/datastore-endpoint.ts";
import { openSqliteStore } from "../../../../src/store/sqlite/sqlite-store.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

/** As etcd writes it: whole pages of bbolt and the hash of them. */
function etcdSnapshot(): Buffer {
  const pages = randomBytes(8192);
  pages.writeUInt32LE(0xed0cdaed, 16);
  return Buffer.concat([pages, createHash("sha256").update(pages).digest()]);
}

function write(t: TestContext, content: Buffer | string): string {
  const path = join(temporaryDirectory(t), "snapshot");
  writeFileSync(path, content);
  return path;
}

const open = (path: string) => openSnapshotSource(path, `${path}.unpacked`);

test("what a file is a snapshot of is seen in it, also when it is packed", async (t) => {
  const etcd = write(t, etcdSnapshot());
  assert.deepEqual(await open(etcd), { kind: "etcd", path: etcd });
  const sqlite = write(t, "SQLite format 3\0and so on");
  assert.deepEqual(await open(sqlite), { kind: "sqlite", path: sqlite });
  await zipFile(etcd, `${etcd}.zip`, "inside", 0);
  assert.deepEqual(await open(`${etcd}.zip`), { kind: "etcd", path: `${etcd}.zip.unpacked` });
});

test("what is missing, damaged or no snapshot is refused by name", async (t) => {
  const directory = temporaryDirectory(t);
  await assert.rejects(open(join(directory, "none")), /snapshot path does not exist: .*none/);
  await assert.rejects(open(directory), /must be a file, not a directory/);
  const refused = (content: Buffer | string, reason: RegExp) =>
    assert.rejects(open(write(t, content)), (error: Error) => {
      assert.ok(error instanceof ConfigurationError);
      assert.match(error.message, reason);
      assert.match(error.message, /nothing was changed/);
      return true;
    });
  await refused("", /neither of SQLite nor of etcd/);
  await refused("a text that somebody wrote".repeat(10), /neither of SQLite nor of etcd/);
  const damaged = etcdSnapshot();
  damaged[5000]! ^= 1;
  await refused(damaged, /does not match its hash/);
  await refused(etcdSnapshot().subarray(0, 8192), /cut off/);
  await refused("PK\x03\x04 and nothing more", /is damaged/);
});

test("revisions go on far above the snapshot and what it replaces", () => {
  assert.equal(revisionsAbove(10, 500), 1_000_000_500);
  assert.equal(revisionsAbove(500, 0), 1_000_000_500);
});

test("no start is let through while the databases are exchanged, nor after an exchange that was cut off", (t) => {
  const directory = temporaryDirectory(t);
  mkdirSync(join(directory, "db"));
  const cut = () =>
    exchange(directory, () => {
      throw new Error("cut off");
    });
  assert.throws(cut, /cut off/);
  assert.throws(() => assertRestoreFinished(directory), /run it once more with --cluster-reset/);
  exchange(directory, () => {});
  assertRestoreFinished(directory);
  assert.deepEqual(readdirSync(join(directory, "db")), []);
});

test("a datastore that others keep is backed up and restored by its own tools, which are named", async (t) => {
  const dataDir = temporaryDirectory(t);
  const tools = {
    "https://10.0.0.1:2379": /etcdctl/,
    "postgres://u:secret@h/d": /pg_dump/,
    "mysql://u:secret@tcp(h)/d": /mysqldump/,
  };
  for (const [text, tool] of Object.entries(tools)) {
    const endpoint = parseDatastoreEndpoint(text);
    const snapshots = serverSnapshots({
      directory: dataDir,
      nodeName: "n",
      store: {} as never,
      endpoint,
      embedded: false,
      password: "p",
      snapshots: { name: "s", directory: undefined, compress: false, retention: 5, schedule: undefined },
      logger: silentLogger,
    });
    await assert.rejects(snapshots.answer(Buffer.from(`{"operation":"save"}`)), tool);
    const options = { dataDir, datastore: { endpoint, files: {} }, reset: { restorePath: "/a" } } as ServerOptions;
    const context = { logger: silentLogger, signal: t.signal };
    await assert.rejects(resetCluster(options, context), (error: Error) => {
      assert.match(error.message, /restore it with the database's own tools/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});

test("a snapshot is found by its path, and by the name under which it is listed", async (t) => {
  const dataDir = temporaryDirectory(t);
  const folder = join(dataDir, "server/db/snapshots");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "on-demand-n-1"), "no snapshot");
  const datastore = { endpoint: parseDatastoreEndpoint(""), files: {} };
  const reset = (restorePath: string, directory?: string) => {
    const options = { dataDir, datastore, reset: { restorePath }, snapshots: { directory } } as ServerOptions;
    return resetCluster(options, { logger: silentLogger, signal: t.signal });
  };
  const found = /the snapshot "\/.*\/on-demand-n-1" cannot be restored/;
  await assert.rejects(reset("on-demand-n-1"), found);
  await assert.rejects(reset("on-demand-n-1", folder), found);
  await assert.rejects(reset(join(folder, "on-demand-n-1")), found);
  await assert.rejects(reset("on-demand-n-2"), /snapshot path does not exist: on-demand-n-2/);
  await assert.rejects(reset("on-demand-n-1", dataDir), /snapshot path does not exist: on-demand-n-1/);
});

test("another machine takes the cluster's authorities and token out of a snapshot, and with another token none", async (t) => {
  const [from, to] = [temporaryDirectory(t), temporaryDirectory(t)];
  const store = await openSqliteStore({
    path: join(from, "db/state.db"),
    logger: silentLogger,
    clock: new FakeClock(),
  });
  t.after(() => store.close());
  const authority = readFileSync(join(import.meta.dirname, "../../../../package.json"));
  mkdirSync(join(from, "tls"));
  writeFileSync(join(from, "tls/client-ca.crt"), authority);
  await saveBootstrapData({ store, directory: from, password: "right" });
  const { modRevision } = (await store.list("/bootstrap/")).entries[0]!;
  await saveBootstrapData({ store, directory: from, password: "right" });
  assert.equal((await store.list("/bootstrap/")).entries[0]!.modRevision, modRevision, "what is there is left alone");

  const take = (token: string | undefined) =>
    takeAuthorities(store, { directory: to, token, agentToken: undefined, logger: silentLogger });
  await assert.rejects(take(undefined), /give the one that the snapshot was made with with --token/);
  await assert.rejects(take("wrong"), /made with another token/);
  assert.ok(!existsSync(join(to, "tls")));
  await take("right");
  assert.ok(readFileSync(join(to, "tls/client-ca.crt")).equals(authority));
});
