import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cloneJson, JsonError, maxJsonDepth, parseJson, setKey, stringifyJson } from "../../../src/machinery/json.ts";

test("64-bit integers survive a round trip", () => {
  const text = '{"max":9223372036854775807,"min":-9223372036854775808,"small":1,"text":"9223372036854775807"}';
  const value = parseJson(text) as Record<string, unknown>;
  assert.equal(value.max, 9223372036854775807n);
  assert.equal(value.small, 1);
  assert.equal(value.text, "9223372036854775807");
  assert.equal(stringifyJson(value), text);
});

test("long fractions and exponents stay numbers", () => {
  assert.deepEqual(parseJson("[0.12345678901234567890, 1e300, 9007199254740993]"), [
    0.12345678901234568,
    1e300,
    9007199254740993n,
  ]);
});

test("__proto__ is an ordinary key", () => {
  const value = parseJson('{"__proto__":{"polluted":true}}') as object;
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.equal(stringifyJson(cloneJson(value)), '{"__proto__":{"polluted":true}}');
  const made: Record<string, unknown> = {};
  setKey(made, "__proto__", 1);
  assert.equal(stringifyJson(made), '{"__proto__":1}');
});

test("invalid UTF-8, syntax errors and depth bombs are JsonErrors", () => {
  assert.throws(() => parseJson(Buffer.from([0x22, 0xff, 0x22])), JsonError);
  assert.throws(() => parseJson("{"), JsonError);
  assert.throws(() => parseJson(""), JsonError);
  assert.throws(() => parseJson("[".repeat(100_000)), /nested deeper than 1000 levels/);
  const hidden = '["]",'.repeat(maxJsonDepth + 1);
  assert.throws(() => parseJson(hidden), /nested deeper/);
  const allowed = `${"[".repeat(maxJsonDepth)}${"]".repeat(maxJsonDepth)}`;
  assert.equal(stringifyJson(cloneJson(parseJson(allowed))), allowed);
});

test("repeated keys are reported with their path, and the last wins", () => {
  const seen: string[] = [];
  const text =
    '{"spec":{"a":1, "containers":[{"name":"x","na\\u006de":"y"}], "a" : 2},"b":["{\\"b\\":1}"],"e":{},"f":[]}';
  const value = parseJson(text, { onDuplicate: (path) => seen.push(path) }) as { spec: { a: number } };
  assert.deepEqual(seen, ["spec.containers[0].name", "spec.a"]);
  assert.equal(value.spec.a, 2);
});

test("parsing what JSON.stringify printed gives the same, with no duplicates found", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value, null, 1);
      const onDuplicate = (path: string) => assert.fail(`no duplicate at ${path}`);
      assert.deepEqual(JSON.parse(stringifyJson(parseJson(Buffer.from(text), { onDuplicate }))), JSON.parse(text));
    }),
    { numRuns: 200 },
  );
});
