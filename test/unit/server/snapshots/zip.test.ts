import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { unzipFile, zipFile } from "../../../../src/server/snapshots/zip.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";
import { unzip } from "../../../support/unzip.ts";

const content = Buffer.concat([Buffer.alloc(300_000, "the same again "), randomBytes(200_000)]);

test("an archive is one that another reader of zip takes, smaller than its content, and only its owner's", async (t) => {
  const directory = temporaryDirectory(t);
  const [plain, packed] = [join(directory, "plain"), join(directory, "packed.zip")];
  writeFileSync(plain, content);
  await zipFile(plain, packed, "inside", Date.parse("2026-07-01T08:30:00Z"));
  assert.ok(unzip(packed, ["inside"]).get("inside")!.equals(content));
  assert.ok(statSync(packed).size < 220_000);
  assert.equal(statSync(packed).mode & 0o777, 0o600);
});

test("what was packed comes out as it was", async (t) => {
  const directory = temporaryDirectory(t);
  const [plain, packed, out] = ["plain", "packed.zip", "out"].map((name) => join(directory, name));
  writeFileSync(plain!, content);
  await zipFile(plain!, packed!, "inside", 0);
  await unzipFile(packed!, out!);
  assert.ok(readFileSync(out!).equals(content));
  assert.equal(statSync(out!).mode & 0o777, 0o600);
});

test("an archive that is damaged or cut off anywhere is refused", async (t) => {
  const directory = temporaryDirectory(t);
  const [plain, packed] = [join(directory, "plain"), join(directory, "packed.zip")];
  writeFileSync(plain, content);
  await zipFile(plain, packed, "inside", 0);
  const sound = readFileSync(packed);
  let round = 0;
  const refused = async (bytes: Buffer) => {
    const path = join(directory, `damaged-${++round}.zip`);
    writeFileSync(path, bytes);
    await assert.rejects(unzipFile(path, join(directory, `out-${round}`)), /is damaged/);
  };
  for (const at of [50, 1000, 100_000, sound.length - 56]) {
    const bytes = Buffer.from(sound);
    bytes[at]! ^= 0xff;
    await refused(bytes);
  }
  for (const length of [0, 10, 1000, sound.length - 1]) await refused(sound.subarray(0, length));
});
