import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bigint,
  bool,
  bytes,
  decodeMessage,
  encodeMessage,
  enumeration,
  int32,
  int64,
  message,
  nested,
  repeated,
  string,
  stringMap,
} from "../../../src/machinery/protobuf.ts";

const inner = message("Inner", { name: string(1), numbers: repeated(int32(2)) });
const outer = message("Outer", {
  text: string(1),
  count: int64(2),
  flag: bool(3),
  data: bytes(4),
  state: enumeration(5, ["NONE", "SOME"]),
  inner: nested(6, inner),
  list: repeated(nested(7, inner)),
  labels: stringMap(8),
  exact: bigint(9),
  words: repeated(string(19)),
});

test("bytes are those of the encoding specification", () => {
  // The examples of the Protocol Buffers encoding guide.
  assert.equal(encodeMessage(message("T", { a: int32(1) }), { a: 150 }).toString("hex"), "089601");
  assert.equal(encodeMessage(message("T", { b: string(2) }), { b: "testing" }).toString("hex"), "120774657374696e67");
  assert.equal(
    encodeMessage(message("T", { f: repeated(int32(6)) }), { f: [3, 270, 86942] }).toString("hex"),
    "3206038e029ea705",
  );
  assert.equal(encodeMessage(message("T", { a: int32(1) }), { a: -2 }).toString("hex"), "08feffffffffffffffff01");
});

test("what is encoded decodes to the same", () => {
  const value = {
    text: "grüße",
    count: -5,
    flag: true,
    data: Buffer.from([0, 255]),
    state: "SOME" as const,
    inner: { name: "x".repeat(300), numbers: [1, -1, 2147483647] },
    list: [
      { name: "a", numbers: [] },
      { name: "", numbers: [7] },
    ],
    labels: { a: "1", ["__proto__"]: "2", "": "" },
    exact: -(2n ** 63n),
    words: ["", "b"],
  };
  const decoded = decodeMessage(outer, encodeMessage(outer, value));
  assert.deepEqual(Object.entries(decoded.labels), Object.entries(value.labels));
  assert.deepEqual({ ...decoded, labels: 0 }, { ...value, labels: 0 });
});

test("absent scalars, lists and maps decode as zero values, absent messages as undefined", () => {
  assert.deepEqual(decodeMessage(outer, Buffer.alloc(0)), {
    text: "",
    count: 0,
    flag: false,
    data: Buffer.alloc(0),
    state: "NONE",
    inner: undefined,
    list: [],
    labels: {},
    exact: 0n,
    words: [],
  });
});

test("an empty nested message is present", () => {
  assert.deepEqual(decodeMessage(outer, encodeMessage(outer, { inner: {} })).inner, { name: "", numbers: [] });
});

test("fields that a message does not know are skipped", () => {
  const encoded = encodeMessage(outer, { text: "a", inner: { name: "n" }, labels: { a: "b" }, count: 2 ** 40 });
  assert.deepEqual(decodeMessage(message("Less", { count: int64(2) }), encoded), { count: 2 ** 40 });
});

test("nanoseconds of this century survive as numbers to below a microsecond", () => {
  const times = message("Times", { at: int64(1) });
  const at = 1_795_000_000_123 * 1e6;
  assert.ok(Math.abs(decodeMessage(times, encodeMessage(times, { at })).at - at) < 1000);
});

test("a cut-off message is an error", () => {
  const encoded = encodeMessage(outer, { text: "hello" });
  assert.throws(() => decodeMessage(outer, encoded.subarray(0, 4)), /ends too early/);
});

test("an unknown field and a wrong type are errors that name the path", () => {
  assert.throws(() => encodeMessage(outer, { nonsense: 1 } as never), /Outer: Outer has no field "nonsense"/);
  assert.throws(() => encodeMessage(outer, { inner: { numbers: [1.5] } }), /Outer.inner.numbers: want an integer/);
});
