import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { writeAtomically } from "../../../../src/agent/kubelet/atomic-writer.ts";

let target: string;
beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "atomic-"));
});
afterEach(() => rmSync(target, { recursive: true }));

const files = (content: Record<string, string>, mode = 0o644) =>
  new Map(Object.entries(content).map(([path, text]) => [path, { data: Buffer.from(text), mode }]));
const visible = () => readdirSync(target).filter((name) => !name.startsWith(".."));

test("files appear under their names, through one link that is switched", async () => {
  assert.equal(await writeAtomically(target, files({ a: "1", "dir/b": "2" }, 0o400)), true);
  assert.deepEqual(visible().sort(), ["a", "dir"]);
  assert.equal(readlinkSync(join(target, "a")), "..data/a");
  assert.equal(readFileSync(join(target, "dir/b"), "utf8"), "2");
  assert.equal(statSync(join(target, "a")).mode & 0o777, 0o400);
});

test("a change replaces everything and leaves nothing behind", async () => {
  await writeAtomically(target, files({ a: "1", gone: "x" }));
  const before = readlinkSync(join(target, "..data"));
  assert.equal(await writeAtomically(target, files({ a: "2", b: "3" })), true);
  assert.notEqual(readlinkSync(join(target, "..data")), before);
  assert.deepEqual(visible().sort(), ["a", "b"]);
  assert.equal(readFileSync(join(target, "a"), "utf8"), "2");
  assert.equal(readdirSync(target).filter((name) => name.startsWith("..")).length, 2);
});

test("the same content changes nothing", async () => {
  await writeAtomically(target, files({ a: "1" }));
  const before = readlinkSync(join(target, "..data"));
  assert.equal(await writeAtomically(target, files({ a: "1" })), false);
  assert.equal(readlinkSync(join(target, "..data")), before);
});

test("a path that leads out is refused before anything is written", async () => {
  for (const path of ["../x", "/x", "a/../../x", "..data", ""])
    await assert.rejects(writeAtomically(target, files({ [path]: "1" })), /must be relative/);
  assert.deepEqual(readdirSync(target), []);
});
