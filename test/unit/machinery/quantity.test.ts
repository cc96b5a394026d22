import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { milliQuantity, parseQuantity, quantityOf } from "../../../src/machinery/quantity.ts";

test("the canonical form is Go's", () => {
  for (const [text, canonical] of [
    ["0", "0"],
    ["0Mi", "0"],
    ["-0", "0"],
    ["1.5", "1500m"],
    ["0.5", "500m"],
    [".5", "500m"],
    ["1.", "1."],
    ["+1", "+1"],
    ["1.500", "1.500"],
    ["1000m", "1"],
    ["100m", "100m"],
    ["1.5Gi", "1536Mi"],
    ["0.5Gi", "512Mi"],
    ["1024Mi", "1Gi"],
    ["1536Mi", "1536Mi"],
    ["1Ki", "1Ki"],
    ["512", "512"],
    ["1000", "1k"],
    ["1000k", "1M"],
    ["1234567", "1234567"],
    ["1e3", "1e3"],
    ["1000e3", "1e6"],
    ["1e1", "10"],
    ["1E", "1E"],
    ["1E6", "1E6"],
    ["0.1n", "1n"],
    ["0.0000000001", "1n"],
    ["1.1Ki", "1126400m"],
    ["-1.5", "-1500m"],
    ["8Ei", "9223372036854775807"],
    ["100u", "100u"],
    ["1500u", "1500u"],
    ["0.1Ki", "102400m"],
  ] as const) {
    assert.equal(parseQuantity(text).toString(), canonical, text);
  }
  assert.equal(parseQuantity(2).toString(), "2");
  assert.equal(parseQuantity(0.1).toString(), "100m");
  assert.equal(parseQuantity(1e21).toString(), "1e21");
});

test("what is no quantity is refused with Kubernetes' texts", () => {
  for (const text of ["", "a", "1.2.3", "1 Gi", "--1", "1e1.5", " 1"]) {
    assert.throws(() => parseQuantity(text), /quantities must match the regular expression|unable to parse/, text);
  }
  assert.throws(() => parseQuantity("1KB"), /quantities must match/);
  assert.throws(() => parseQuantity("1mm"), /unable to parse quantity's suffix/);
  assert.throws(() => parseQuantity("1e999999999"), /suffix/);
  assert.equal(parseQuantity("1e-999999999").toString(), "1e-9");
});

test("units and thousandths are rounded away from zero", () => {
  assert.equal(parseQuantity("1m").toUnits(), 1);
  assert.equal(parseQuantity("-1500m").toUnits(), -2);
  assert.equal(parseQuantity("1500u").toMilli(), 2);
  assert.equal(parseQuantity("2").toMilli(), 2000);
  assert.equal(parseQuantity("250m").toNumber(), 0.25);
  assert.equal(parseQuantity("1Gi").toNumber(), 1024 ** 3);
});

test("sums keep the notation of the first that is not zero", () => {
  assert.equal(parseQuantity("1Gi").add(parseQuantity("512Mi")).toString(), "1536Mi");
  assert.equal(quantityOf(0).add(parseQuantity("1Gi")).toString(), "1Gi");
  assert.equal(parseQuantity("1").sub(parseQuantity("100m")).toString(), "900m");
  assert.equal(milliQuantity(100).multiply(10).toString(), "1");
});

test("the canonical form parses to the same value and is stable", () => {
  const text = fc
    .tuple(
      fc.constantFrom("", "-"),
      fc.integer({ min: 0, max: 1_000_000 }),
      fc.option(fc.integer({ min: 0, max: 9999 })),
      fc.constantFrom("", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "e2", "E-3", "e+6"),
    )
    .map(([sign, whole, fraction, suffix]) => `${sign}${whole}${fraction === null ? "" : `.${fraction}`}${suffix}`);
  fc.assert(
    fc.property(text, text, (one, other) => {
      const quantity = parseQuantity(one);
      const again = parseQuantity(quantity.toString());
      assert.equal(again.compare(quantity), 0);
      assert.equal(again.toString(), quantity.toString());
      const second = parseQuantity(other);
      assert.equal(quantity.add(second).sub(second).compare(quantity), 0);
      assert.equal(Math.sign(quantity.compare(second)), -Math.sign(second.compare(quantity)) || 0);
    }),
  );
});
