import assert from "node:assert/strict";
import { test } from "node:test";
import type { ResourceFacts } from "../../../../src/api/resource.ts";
import { decodeEntries, encodeEntry } from "../../../../src/apiserver/storage/decode-entries.ts";
import type { KubeObject } from "../../../../src/machinery/object.ts";

/** Facts of v2, whose objects are stored in v1, with what was asked of the converter. */
function convertingFacts() {
  const asked: number[] = [];
  const schema = { type: "object", preserveUnknownFields: true };
  const facts = {
    group: "example.com",
    version: "v2",
    resource: "boxes",
    kind: "Box",
    namespaced: true,
    custom: true,
    schema,
    storage: {
      group: "example.com",
      version: "v1",
      prefix: "example.com/boxes",
      convert: async (objects: readonly KubeObject[], apiVersion: string) => {
        asked.push(objects.length);
        return objects.map((object) => ({ ...object, apiVersion, converted: true }));
      },
    },
  } as unknown as ResourceFacts;
  return { facts, asked };
}

const entry = (name: string, version: string, padding = "") => ({
  key: `/registry/example.com/boxes/default/${name}`,
  value: Buffer.from(
    JSON.stringify({ kind: "Box", apiVersion: `example.com/${version}`, metadata: { name }, padding }),
  ),
  createRevision: 1,
  modRevision: 7,
});

test("what is stored in the served version is read at once, without asking", () => {
  const { facts, asked } = convertingFacts();
  const items = decodeEntries(facts, [entry("a", "v2"), entry("b", "v2")]);
  assert.ok(Array.isArray(items));
  assert.deepEqual(asked, []);
});

test("only the others are asked for, in batches of bounded size, and all keep their order", async () => {
  const { facts, asked } = convertingFacts();
  const entries = Array.from({ length: 250 }, (_, n) => entry(`box-${n}`, n % 10 === 0 ? "v2" : "v1"));
  const items = await decodeEntries(facts, entries);
  assert.deepEqual(asked, [100, 100, 25]);
  assert.deepEqual(
    items.map(({ object }) => object.metadata.name),
    entries.map((_, n) => `box-${n}`),
  );
  for (const [n, { object }] of items.entries()) {
    assert.equal("converted" in object, n % 10 !== 0);
    assert.deepEqual([object.apiVersion, object.metadata.resourceVersion], ["example.com/v2", "7"]);
  }
});

test("large objects are asked for in smaller batches", async () => {
  const { facts, asked } = convertingFacts();
  const mebibyte = "x".repeat(1024 * 1024);
  await decodeEntries(
    facts,
    Array.from({ length: 7 }, (_, n) => entry(`box-${n}`, "v1", mebibyte)),
  );
  assert.deepEqual(asked, [3, 3, 1]);
});

test("an object is written in the storage version", async () => {
  const { facts } = convertingFacts();
  const object = { kind: "Box", apiVersion: "example.com/v2", metadata: { name: "a", resourceVersion: "3" } };
  const bytes = await encodeEntry(facts, object);
  assert.deepEqual(JSON.parse(bytes.toString()), {
    kind: "Box",
    apiVersion: "example.com/v1",
    metadata: { name: "a" },
    converted: true,
  });
});
