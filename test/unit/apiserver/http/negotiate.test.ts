import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { negotiate } from "../../../../src/apiserver/http/negotiate.ts";

const protobuf = "application/vnd.kubernetes.protobuf";
const table = "as=Table;v=v1;g=meta.k8s.io";
const partial = "as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

describe("content negotiation", () => {
  test("JSON is the default, and what stands first wins", () => {
    assert.deepEqual(negotiate(undefined, "object"), { type: "json" });
    assert.deepEqual(negotiate("*/*", "object"), { type: "json" });
    assert.deepEqual(negotiate("application/*", "object"), { type: "json" });
    assert.deepEqual(negotiate("application/yaml", "object"), { type: "yaml" });
    assert.deepEqual(negotiate(`${protobuf},application/json`, "object"), { type: "protobuf" });
    assert.deepEqual(negotiate(`application/json,${protobuf}`, "object"), { type: "json" });
  });

  test("quality decides before the order, named types before wildcards, and q=0 refuses", () => {
    assert.deepEqual(negotiate("application/json;q=0.5,application/yaml", "object"), { type: "yaml" });
    assert.deepEqual(negotiate(`application/json;q=0.5,${protobuf};q=0.9`, "object"), { type: "protobuf" });
    assert.deepEqual(negotiate(`*/*,${protobuf}`, "object"), { type: "protobuf" });
    assert.deepEqual(negotiate(`${protobuf};q=0,application/json;q=0.1`, "object"), { type: "json" });
  });

  test("tables and metadata are given to those who ask for a known version", () => {
    const asTable = { type: "json", as: "Table", asVersion: "v1" };
    assert.deepEqual(negotiate(`application/json;${table}`, "object"), asTable);
    assert.deepEqual(negotiate("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "object"), {
      type: "json",
    });
    assert.deepEqual(negotiate(`application/json;${partial.replace("Metadata", "MetadataList")}`, "object"), {
      type: "json",
      as: "PartialObjectMetadata",
      asVersion: "v1",
    });
  });

  test("metadata goes in protobuf, also of custom resources; tables and custom objects do not", () => {
    const metadata = { type: "protobuf", as: "PartialObjectMetadata", asVersion: "v1" };
    for (const offer of ["object", "custom-object", "watch", "custom-watch"] as const) {
      assert.deepEqual(negotiate(`${protobuf};${partial},application/json;${partial}`, offer), metadata, offer);
      const tables = negotiate(`${protobuf};${table},application/json;${table}`, offer);
      assert.deepEqual(tables, { type: "json", as: "Table", asVersion: "v1" }, offer);
    }
    assert.deepEqual(negotiate(`${protobuf},application/json`, "custom-object"), { type: "json" });
    assert.throws(() => negotiate(protobuf, "custom-object"), { code: 406 });
    assert.throws(() => negotiate(`${protobuf};${table}`, "object"), { code: 406 });
  });

  test("a watch may name its stream; YAML has none", () => {
    assert.deepEqual(negotiate("application/json;stream=watch", "watch"), { type: "json" });
    assert.deepEqual(negotiate(`${protobuf};stream=watch`, "watch"), { type: "protobuf" });
    assert.deepEqual(negotiate("application/json;stream=other,application/yaml", "object"), { type: "yaml" });
    assert.throws(() => negotiate("application/yaml", "watch"), {
      code: 406,
      message: `only the following media types are accepted: application/json;stream=watch, ${protobuf};stream=watch`,
    });
  });

  test("aggregated discovery is JSON of version v2, the older form goes in protobuf, too", () => {
    const aggregated = "as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io";
    assert.deepEqual(negotiate(`application/json;${aggregated},application/json`, "discovery"), {
      type: "json",
      as: "APIGroupDiscoveryList",
      asVersion: "v2",
    });
    assert.deepEqual(negotiate(`${protobuf};${aggregated},application/json`, "discovery"), { type: "json" });
    assert.deepEqual(negotiate(protobuf, "discovery"), { type: "protobuf" });
    assert.throws(() => negotiate(`application/json;${aggregated}`, "object"), { code: 406 });
  });

  test("what cannot be given is 406 with the types that can", () => {
    assert.throws(() => negotiate("text/html", "object"), {
      code: 406,
      message: `only the following media types are accepted: application/json, application/yaml, ${protobuf}`,
    });
    assert.throws(() => negotiate(protobuf, "plain"), { code: 406, message: /application\/json, application\/yaml$/ });
    assert.throws(() => negotiate("application/json;as=Other;v=v1;g=meta.k8s.io", "object"), { code: 406 });
    assert.throws(() => negotiate(`application/json;${table}`, "typed"), { code: 406 });
  });

  test("pretty=1 asks for indented JSON", () => {
    assert.deepEqual(negotiate("application/json;pretty=1", "object"), { type: "json", pretty: true });
  });
});
