import assert from "node:assert/strict";
import { test } from "node:test";
import { prefixEnd, prefixRange } from "../../../../src/store/etcd/key-range.ts";

test("a prefix ends before the next string that does not begin with it", () => {
  assert.equal(prefixEnd("/registry/pods/").toString(), "/registry/pods0");
  assert.equal(prefixEnd("a").toString(), "b");
  // The last byte of "ÿ" in UTF-8 is 0xbf; bytes are raised, not letters.
  assert.deepEqual(prefixEnd("ÿ"), Buffer.from([0xc3, 0xc0]));
});

test("every key is asked for as etcd writes it: from zero to zero", () => {
  const all = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
  assert.deepEqual(prefixRange(""), all);
  assert.deepEqual(prefixRange("/a"), { key: Buffer.from("/a"), rangeEnd: Buffer.from("/b") });
});
