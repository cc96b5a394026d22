import assert from "node:assert/strict";
import { test } from "node:test";
import { deepEqual } from "../../../src/machinery/equality.ts";
import type { Schema } from "../../../src/machinery/schema.ts";

test("absent, null and empty lists are equal; order of keys does not matter", () => {
  assert.equal(deepEqual({ a: [], b: 1 }, { b: 1 }), true);
  assert.equal(deepEqual({ a: null }, {}), true);
  assert.equal(deepEqual([1, 2], [2, 1]), false);
  assert.equal(deepEqual({ a: "" }, {}), false);
  assert.equal(deepEqual({ a: 1 }, { a: "1" }), false);
});

test("an empty struct is something, an empty map is not", () => {
  assert.equal(deepEqual({ emptyDir: {} }, {}), false);
  const schema: Schema = {
    type: "object",
    fields: {
      labels: { schema: { type: "map", items: { type: "string" } }, empty: "omit" },
      cpu: { schema: { type: "quantity" }, empty: "omit" },
      at: { schema: { type: "time" }, empty: "omit" },
    },
  };
  assert.equal(deepEqual({ labels: {} }, {}, schema), true);
  assert.equal(deepEqual({ cpu: "1" }, { cpu: "1000m" }, schema), true);
  assert.equal(deepEqual({ at: "2026-01-01T00:00:00Z" }, { at: "2026-01-01T01:00:00+01:00" }, schema), true);
});
