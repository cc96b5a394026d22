import assert from "node:assert/strict";
import { test } from "node:test";
import {
  beyondRetention,
  isFileName,
  parseSnapshotName,
  snapshotName,
} from "../../../../src/server/snapshots/snapshot-name.ts";

test("a snapshot is named by its base, its node and the time, as K3s names it", () => {
  assert.equal(snapshotName("on-demand", "server-0", 1753178952), "on-demand-server-0-1753178952");
});

test("the time and the packing of a snapshot are read from its name", () => {
  assert.deepEqual(parseSnapshotName("a-b-1753178952.zip"), {
    name: "a-b-1753178952.zip",
    createdAt: 1753178952,
    compressed: true,
  });
  assert.equal(parseSnapshotName("a-b-1753178952")?.compressed, false);
  for (const name of ["notes.txt", "a-b-", "a-b-12x", "1753178952"]) assert.equal(parseSnapshotName(name), undefined);
});

test("retention keeps the newest by the time in the name, whether packed or not", () => {
  const names = ["s-n-100", "s-n-300.zip", "s-n-200", "s-n-400"];
  assert.deepEqual(beyondRetention(names, "s", 2), ["s-n-200", "s-n-100"]);
  assert.deepEqual(beyondRetention(names, "s", 4), []);
});

test("retention looks only at snapshots of the name, and at nothing that is called otherwise", () => {
  const names = ["on-demand-n-1", "s-n-1", "s-n-2", "s-keep-me", "s-n-0.partial"];
  assert.deepEqual(beyondRetention(names, "s", 1), ["s-n-1"]);
});

test("a retention of 0 removes nothing", () => {
  assert.deepEqual(beyondRetention(["s-n-1", "s-n-2"], "s", 0), []);
});

test("a name that leads out of its directory is none", () => {
  for (const name of ["../a", "a/b", "/a", "", ".", "..", "a\0"]) assert.equal(isFileName(name), false, name);
  assert.equal(isFileName("on-demand-n-1.zip"), true);
});
