import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { openApiV2 } from "../../../../src/api/openapi/v2.ts";
import { builtInResources } from "../../../../src/api/registry.ts";
import { Documents } from "../../../../src/apiserver/http/documents.ts";
import { encodeOpenApiV2 } from "../../../../src/apiserver/http/openapi-protobuf.ts";
import { ioClock } from "../../../../src/machinery/clock.ts";
import { decodeMessage, message, nested, repeated, string } from "../../../../src/machinery/protobuf.ts";

test("a document is the JSON of its object, whole and in the same order, with the hash of its bytes", async () => {
  const documents = new Documents(ioClock, () => 0);
  const value = {
    a: 1,
    none: undefined,
    "ä\n": { list: [1, { b: "ü" }], empty: {}, deep: { deeper: { deepest: [{}] }, no: undefined } },
    nothing: null,
    long: Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`key-${index}`, { text: "x".repeat(index) }])),
    big: 9007199254740993n,
  };
  const { bytes, etag } = await documents.get("one", () => value);
  const { big: _big, ...rest } = value;
  assert.equal(bytes.toString(), `${JSON.stringify(rest).slice(0, -1)},"big":9007199254740993}`);
  assert.equal(etag, `"${createHash("sha512").update(bytes).digest("hex").toUpperCase()}"`);
  assert.equal((await documents.get("empty", () => ({}))).bytes.toString(), "{}");
  assert.equal((await documents.get("none", () => undefined)).bytes.length, 0);
});

test("a document is made once a generation, and again after a failure or when it is to be forgotten", async () => {
  let generation = 1;
  let made = 0;
  const documents = new Documents(ioClock, () => generation);
  const ask = () => documents.get("one", () => ({ made: ++made }));
  const [first, second] = await Promise.all([ask(), ask()]);
  assert.equal(first, second);
  generation++;
  assert.equal((await ask()).bytes.toString(), `{"made":2}`);
  documents.forget("one");
  assert.equal((await ask()).bytes.toString(), `{"made":3}`);
  const failing = () => documents.get("two", () => Promise.reject(new Error("not now")));
  await assert.rejects(failing, /not now/);
  assert.equal((await documents.get("two", () => ({ ok: true }))).bytes.toString(), `{"ok":true}`);
});

test("a document of many resources lets others have turns while it is made", async () => {
  const documents = new Documents(ioClock, () => 0);
  let turns = 0;
  let over = false;
  const count = () => {
    turns++;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  await documents.get("openapi", (breathe) => openApiV2(builtInResources, "v1", breathe));
  over = true;
  assert.ok(turns > 3, `${turns} turns`);
});

test("OpenAPI v2 in protobuf, encoded definition by definition, has them all when it is put together", async () => {
  const whole = (await openApiV2(builtInResources, "v1.2.3")) as {
    definitions: Record<string, { description?: string }>;
  };
  const schema = message("Schema", { description: string(4) });
  const named = message("NamedSchema", { name: string(1), value: nested(2, schema) });
  const document = message("Document", {
    swagger: string(1),
    info: nested(2, message("Info", { version: string(2) })),
    definitions: nested(9, message("Definitions", { additionalProperties: repeated(nested(1, named)) })),
  });
  const bytes = Buffer.concat(await encodeOpenApiV2(whole, () => undefined));
  const { swagger, info, definitions } = decodeMessage(document, bytes) as {
    swagger: string;
    info: { version: string };
    definitions: { additionalProperties: { name: string; value: { description: string } }[] };
  };
  assert.deepEqual([swagger, info.version], ["2.0", "v1.2.3"]);
  assert.deepEqual(
    definitions.additionalProperties.map(({ name, value }) => [name, value.description]),
    Object.entries(whole.definitions).map(([name, { description = "" }]) => [name, description]),
  );
});
