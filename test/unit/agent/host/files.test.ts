import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { replaceFile, writeFileAtomic } from "../../../../src/agent/host/files.ts";
import { mountSmallDisk, noSmallDisk } from "../../../support/small-disk.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const ways = { writeFileAtomic, replaceFile };
const noDisk = noSmallDisk("tmpfs");

for (const [name, write] of Object.entries(ways)) {
  test(`${name} replaces a file in one step, with its mode, and leaves one alone that is the same`, async (t) => {
    const path = join(temporaryDirectory(t), "below", "file");
    await write(path, "old", 0o600);
    await write(path, "new", 0o600);
    assert.equal(readFileSync(path, "utf8"), "new");
    const { ino, mode } = statSync(path);
    assert.equal(mode & 0o777, 0o600);
    await write(path, "new", 0o600);
    assert.equal(statSync(path).ino, ino);
    assert.deepEqual(readdirSync(join(path, "..")), ["file"]);
  });

  test(
    `${name} keeps the old content where the disk takes a part of the new`,
    noDisk ? { skip: noDisk } : {},
    async (t) => {
      const { path: disk } = mountSmallDisk(t, "tmpfs", 1);
      const path = join(disk, "file");
      await write(path, "old", 0o600);
      await assert.rejects(async () => write(path, Buffer.alloc(1024 * 1024, "new"), 0o600), { code: "ENOSPC" });
      assert.equal(readFileSync(path, "utf8"), "old");
      assert.deepEqual(readdirSync(disk), ["file"]);
    },
  );
}
