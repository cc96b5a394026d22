import assert from "node:assert/strict";
import { test } from "node:test";
import { negotiate } from "../../../../src/apiserver/http/negotiate.ts";

const protobuf = "application/vnd.kubernetes.protobuf";

test("JSON is the default, and what stands first wins", () => {
  assert.deepEqual(negotiate(undefined, "object"), { type: "json" });
  assert.deepEqual(negotiate("*/*", "object"), { type: "json" });
  assert.deepEqual(negotiate("application/yaml", "object"), { type: "yaml" });
  assert.deepEqual(negotiate("application/json;q=0.5,application/yaml", "object"), { type: "yaml" });
  assert.deepEqual(negotiate(`${protobuf},application/json`, "object"), { type: "json" });
});

test("tables and metadata are given to those who ask for a known version", () => {
  const table = "application/json;as=Table;v=v1;g=meta.k8s.io";
  assert.deepEqual(negotiate(table, "object"), { type: "json", as: "Table", asVersion: "v1" });
  assert.deepEqual(negotiate(`${table.replace("v1;", "v9;")},application/json`, "object"), { type: "json" });
  assert.deepEqual(negotiate("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "object"), {
    type: "json",
    as: "PartialObjectMetadata",
    asVersion: "v1",
  });
});

test("what cannot be given is 406 with the types that can", () => {
  assert.throws(() => negotiate(protobuf, "object"), { code: 406, message: /application\/json, application\/yaml$/ });
  assert.throws(() => negotiate("application/yaml", "watch"), { code: 406 });
  assert.throws(() => negotiate("application/json;as=Other;v=v1;g=meta.k8s.io", "object"), { code: 406 });
});
