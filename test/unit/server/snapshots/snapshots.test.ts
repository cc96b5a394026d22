import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { parseCron } from "../../../../src/controllers/cron-schedule.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { unfinishedName } from "../../../../src/server/snapshots/snapshot-files.ts";
import { answerSnapshotRequest, parseSnapshotRequest } from "../../../../src/server/snapshots/snapshot-request.ts";
import { runSnapshotSchedule } from "../../../../src/server/snapshots/snapshot-schedule.ts";
import { type SnapshotSettings, Snapshots } from "../../../../src/server/snapshots/snapshots.ts";
import { eventually } from "../../../support/eventually.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";
import { unzip } from "../../../support/unzip.ts";

const settings: SnapshotSettings = { name: "etcd-snapshot", directory: undefined, compress: false, retention: 2 };
const startSeconds = Date.parse("2026-01-01T00:00:00Z") / 1000;

function snapshotsOf(t: TestContext, copy: (path: string) => Promise<void> = (path) => writeFile(path, "copy")) {
  const directory = temporaryDirectory(t);
  const clock = new FakeClock();
  const snapshots = new Snapshots({
    directory,
    nodeName: "n",
    store: { snapshot: (path) => copy(path).then(() => ({ revision: 1 })) },
    prepare: async () => {},
    clock,
    logger: silentLogger,
  });
  return { snapshots, clock, folder: join(directory, "db/snapshots") };
}

test("a snapshot is in the data directory under K3s' name, and only the newest of its name are kept", async (t) => {
  const { snapshots, clock, folder } = snapshotsOf(t);
  for (let round = 0; round < 3; round++) {
    const { created, deleted } = await snapshots.save(settings);
    assert.deepEqual(created, [`etcd-snapshot-n-${startSeconds + round * 3600}`]);
    assert.deepEqual(deleted, round === 2 ? [`etcd-snapshot-n-${startSeconds}`] : undefined);
    await clock.advance(3_600_000);
  }
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  assert.deepEqual(
    snapshots
      .list(settings)
      .map(({ createdMs, location, bytes }) => [createdMs / 1000 - startSeconds, location, bytes]),
    [3600, 7200].map((after) => [after, `file://${folder}/etcd-snapshot-n-${startSeconds + after}`, 4]),
  );
});

test("two snapshots in one second do not write over each other", async (t) => {
  const { snapshots } = snapshotsOf(t);
  const names = [await snapshots.save(settings), await snapshots.save({ ...settings, compress: true })];
  assert.deepEqual(
    names.flatMap(({ created }) => created),
    [`etcd-snapshot-n-${startSeconds}`, `etcd-snapshot-n-${startSeconds + 1}.zip`],
  );
});

test("a compressed snapshot is an archive of the snapshot", async (t) => {
  const { snapshots, folder } = snapshotsOf(t);
  await snapshots.save({ ...settings, compress: true });
  const name = `etcd-snapshot-n-${startSeconds}`;
  assert.deepEqual(readdirSync(folder), [`${name}.zip`]);
  assert.equal(
    unzip(join(folder, `${name}.zip`), [name])
      .get(name)
      ?.toString(),
    "copy",
  );
});

test("a snapshot that fails leaves nothing, and takes nothing away", async (t) => {
  const { snapshots, folder } = snapshotsOf(t, async (path) => {
    await writeFile(path, "half");
    throw new Error("no space left on device");
  });
  mkdirSync(folder, { recursive: true });
  const older = ["etcd-snapshot-n-1", "etcd-snapshot-n-2", "etcd-snapshot-n-3"];
  for (const name of older) writeFileSync(join(folder, name), "");
  await assert.rejects(snapshots.save(settings), /no space left/);
  assert.deepEqual(readdirSync(folder), older);
});

test("what was cut off is removed by the next snapshot of its node, and not what another node is writing", async (t) => {
  const { snapshots, folder } = snapshotsOf(t);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, unfinishedName("n", "s-n-1")), "half");
  writeFileSync(join(folder, unfinishedName("n-2", "s-n-2-1")), "half");
  await snapshots.save(settings);
  assert.deepEqual(readdirSync(folder), [unfinishedName("n-2", "s-n-2-1"), `etcd-snapshot-n-${startSeconds}`]);
  assert.equal(snapshots.list(settings).length, 1);
});

test("one snapshot is made at a time", async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { snapshots } = snapshotsOf(t, (path) => promise.then(() => writeFile(path, "copy")));
  const first = snapshots.save(settings);
  await assert.rejects(snapshots.save(settings), /snapshot save already in progress/);
  resolve();
  assert.equal((await first).created?.length, 1);
});

test("a directory that the user names has to be there", async (t) => {
  const { snapshots } = snapshotsOf(t);
  const directory = join(temporaryDirectory(t), "not-mounted");
  await assert.rejects(snapshots.save({ ...settings, directory }), /not-mounted" is not there/);
  assert.ok(!existsSync(directory));
});

test("requests of K3s' command are understood", async (t) => {
  const { snapshots, folder } = snapshotsOf(t);
  const ask = (body: object) =>
    answerSnapshotRequest(snapshots, settings, "n", parseSnapshotRequest(Buffer.from(JSON.stringify(body))));
  const name = `on-demand-n-${startSeconds}`;
  assert.deepEqual(await ask({ operation: "save", name: ["on-demand"], retention: 0 }), { created: [name] });
  assert.deepEqual(await ask({ operation: "list" }), {
    kind: "List",
    apiVersion: "v1",
    metadata: {},
    items: [
      {
        metadata: { name: `local-${name}`, labels: { "etcd.k3s.cattle.io/snapshot-storage-node": "n" } },
        spec: { snapshotName: name, nodeName: "n", location: `file://${folder}/${name}` },
        status: { readyToUse: true, size: "4", creationTime: "2026-01-01T00:00:00Z" },
      },
    ],
  });
  assert.deepEqual(await ask({ operation: "prune", name: ["on-demand"], retention: 1 }), {});
  assert.deepEqual(await ask({ operation: "delete", name: [name, "never-was-1"] }), { deleted: [name] });
  assert.deepEqual(readdirSync(folder), []);
});

test("a request that would leave the directory, or asks for what is not there, is refused", async (t) => {
  const { snapshots, folder } = snapshotsOf(t);
  const ask = async (body: object) =>
    answerSnapshotRequest(snapshots, settings, "n", parseSnapshotRequest(Buffer.from(JSON.stringify(body))));
  await snapshots.save(settings);
  const outside = join(folder, "..", "state.db");
  writeFileSync(outside, "the database");
  const name = `etcd-snapshot-n-${startSeconds}`;
  await assert.rejects(ask({ operation: "delete", name: [name, "../state.db"] }), /path traversal not allowed/);
  assert.equal(readFileSync(outside, "utf8"), "the database");
  assert.ok(existsSync(join(folder, name)));
  await assert.rejects(ask({ operation: "save", name: ["../escaped"] }), /path traversal not allowed/);
  await assert.rejects(ask({ operation: "save", s3: { bucket: "b" } }), /S3 are not supported/);
  await assert.rejects(ask({ operation: "burn" }), /invalid snapshot operation/);
  await assert.rejects(ask({ operation: "save", retention: "5" }), /"retention"/);
});

test("snapshots are taken on schedule until the end, also after one that failed", async (t) => {
  const clock = new FakeClock();
  const end = new AbortController();
  t.after(() => end.abort());
  const taken: string[] = [];
  const running = runSnapshotSchedule({
    schedule: parseCron("0 */12 * * *"),
    timeZone: "UTC",
    save: async () => {
      taken.push(new Date(clock.now()).toISOString());
      if (taken.length === 1) throw new Error("the disk is full");
    },
    clock,
    logger: silentLogger,
    signal: end.signal,
  });
  for (let hour = 0; hour < 26; hour++) {
    await eventually(() => assert.equal(clock.pending, 1));
    await clock.advance(3_600_000);
  }
  assert.deepEqual(taken, ["2026-01-01T12:00:00.000Z", "2026-01-02T00:00:00.000Z"]);
  end.abort();
  await running;
});
