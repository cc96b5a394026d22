import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { writeSnapshot } from "../../../../src/store/etcd/snapshot.ts";
import { UnavailableError } from "../../../../src/store/store.ts";
import { mountSmallDisk, noSmallDisk } from "../../../support/small-disk.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const pages = Buffer.alloc(1024, "page");
const whole = Buffer.concat([pages, createHash("sha256").update(pages).digest()]);

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<{ blob: Buffer }, void> {
  for (let at = 0; at < bytes.length; at += size) yield { blob: bytes.subarray(at, at + size) };
}

test("a snapshot is written as it comes, for its owner only, however it is cut", async (t) => {
  const directory = temporaryDirectory(t);
  for (const size of [1, 31, 32, 33, 500, whole.length]) {
    const path = join(directory, `${size}.db`);
    await writeSnapshot(path, inPieces(whole, size));
    assert.deepEqual(readFileSync(path), whole);
    assert.equal(statSync(path).mode & 0o777, 0o600);
  }
});

test("a snapshot that is torn or was changed on its way is refused and leaves no file", async (t) => {
  const path = join(temporaryDirectory(t), "broken.db");
  const changed = Buffer.from(whole);
  changed[100] = 0;
  for (const bytes of [changed, whole.subarray(0, 900), whole.subarray(0, 1024), Buffer.alloc(0)]) {
    await assert.rejects(writeSnapshot(path, inPieces(bytes, 100)), UnavailableError);
    assert.equal(existsSync(path), false);
  }
});

test("a file that is there already is left alone", async (t) => {
  const path = join(temporaryDirectory(t), "there.db");
  await writeSnapshot(path, inPieces(whole, 100));
  await assert.rejects(writeSnapshot(path, inPieces(whole, 100)), { code: "EEXIST" });
  assert.deepEqual(readFileSync(path), whole);
});

const noDisk = noSmallDisk("tmpfs");
test(
  "one that the disk takes but for its last bytes is refused and leaves no file",
  noDisk ? { skip: noDisk } : {},
  async (t) => {
    const megabytes = 1;
    const path = join(mountSmallDisk(t, "tmpfs", megabytes).path, "full.db");
    const bytes = Buffer.alloc(megabytes * 1024 * 1024, "page");
    const copy = Buffer.concat([bytes, createHash("sha256").update(bytes).digest()]);
    await assert.rejects(writeSnapshot(path, inPieces(copy, copy.length)), { code: "ENOSPC" });
    assert.equal(existsSync(path), false);
  },
);
