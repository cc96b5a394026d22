import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatDuration, humanDuration, parseDuration } from "../../../src/machinery/duration.ts";
import { rolloutLimits, scaledValue } from "../../../src/machinery/int-or-string.ts";
import { compileJsonPath } from "../../../src/machinery/jsonpath.ts";

test("durations read and print as Go's", () => {
  for (const [text, ms, printed] of [
    ["0", 0, "0s"],
    ["1h30m", 5_400_000, "1h30m0s"],
    ["1.5s", 1500, "1.5s"],
    ["500ms", 500, "500ms"],
    ["-2m", -120_000, "-2m0s"],
    ["100us", 0.1, "100µs"],
    ["10ns", 1e-5, "10ns"],
    [".5h", 1_800_000, "30m0s"],
    ["1m0.001s", 60_001, "1m0.001s"],
  ] as const) {
    assert.equal(parseDuration(text), ms, text);
    assert.equal(formatDuration(ms), printed, text);
  }
  for (const [text, message] of [
    ["", 'time: invalid duration ""'],
    ["5", 'time: missing unit in duration "5"'],
    ["5x", 'time: unknown unit "x" in duration "5x"'],
    ["1h5", 'time: missing unit in duration "1h5"'],
    ["h", 'time: invalid duration "h"'],
  ] as const) {
    assert.throws(() => parseDuration(text), { message }, text);
  }
  fc.assert(
    fc.property(fc.integer({ min: -1e10, max: 1e10 }), (ms) => {
      assert.equal(parseDuration(formatDuration(ms)), ms);
    }),
  );
});

test("ages are shortened as kubectl shortens them", () => {
  const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000];
  for (const [ms, text] of [
    [0, "0s"],
    [-second, "0s"],
    [-5 * second, "<invalid>"],
    [119 * second, "119s"],
    [120 * second, "2m"],
    [9 * minute + 59 * second, "9m59s"],
    [10 * minute + 30 * second, "10m"],
    [3 * hour, "3h"],
    [7 * hour + 5 * minute, "7h5m"],
    [47 * hour, "47h"],
    [50 * hour, "2d2h"],
    [8 * day, "8d"],
    [800 * day, "2y70d"],
  ] as const) {
    assert.equal(humanDuration(ms), text);
  }
});

test("percentages scale, surge up and unavailable down", () => {
  assert.equal(scaledValue("25%", 10, true), 3);
  assert.equal(scaledValue("25%", 10, false), 2);
  assert.equal(scaledValue(4, 10, false), 4);
  assert.throws(() => scaledValue("x", 1, true), /invalid value for IntOrString/);
  assert.deepEqual(rolloutLimits("25%", "25%", 3), { surge: 1, unavailable: 0 });
  assert.deepEqual(rolloutLimits(0, "10%", 3), { surge: 0, unavailable: 1 });
});

test("JSON paths lead where printer columns point", () => {
  const object = {
    metadata: { annotations: { "example.com/a": "x" } },
    spec: { list: [1, 2, 3], replicas: 0 },
    status: {
      conditions: [
        { type: "Ready", status: "True", n: 5 },
        { type: "Other", status: "False" },
      ],
    },
  };
  for (const [path, expected] of [
    [".spec.replicas", [0]],
    ["{.spec.replicas}", [0]],
    ["$.spec.list[0]", [1]],
    [".spec.list[-1]", [3]],
    [".spec.list[0:2]", [1, 2]],
    [".spec.list[*]", [1, 2, 3]],
    ['.status.conditions[?(@.type=="Ready")].status', ["True"]],
    [".status.conditions[?(@.type!='Ready')].status", ["False"]],
    [".status.conditions[?(@.n>=5)].type", ["Ready"]],
    [".status.conditions[?(@.n)].type", ["Ready"]],
    [".metadata.annotations['example.com/a']", ["x"]],
    [".metadata.annotations.example\\.com/a", ["x"]],
    ["..type", ["Ready", "Other"]],
    [".spec.none.at.all", []],
    [".spec.constructor", []],
  ] as const) {
    assert.deepEqual(compileJsonPath(path)(object), expected, path);
  }
  assert.throws(() => compileJsonPath(".a["), /unterminated array/);
  assert.throws(() => compileJsonPath(".a[b c]"), /invalid array index/);
});
