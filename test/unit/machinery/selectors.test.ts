import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseFieldSelector } from "../../../src/machinery/field-selector.ts";
import {
  fromLabelSelector,
  fromLabels,
  makeRequirement,
  matchesRequirement,
  parseLabelSelector,
} from "../../../src/machinery/label-selector.ts";

test("label selectors match as the query syntax says", () => {
  for (const [selector, labels, expected] of [
    ["", {}, true],
    ["a=b", { a: "b" }, true],
    ["a==b", { a: "c" }, false],
    ["a!=b", {}, true],
    ["a", { a: "" }, true],
    ["!a", { a: "" }, false],
    ["! a", {}, true],
    ["a in (b, c)", { a: "c" }, true],
    ["a in ()", { a: "" }, true],
    ["a in (,)", { a: "" }, true],
    ["a notin (b,c),x", { x: "1" }, true],
    ["in in (in,notin)", { in: "notin" }, true],
    ["a=,b=c", { a: "", b: "c" }, true],
    ["a>5", { a: "6" }, true],
    ["a<5", { a: "x" }, false],
    ["example.com/a=b", { "example.com/a": "b" }, true],
    ["constructor", {}, false],
  ] as const) {
    assert.equal(parseLabelSelector(selector).matches(labels as Record<string, string>), expected, selector);
  }
});

test("malformed label selectors are 400s with Kubernetes' texts", () => {
  for (const [selector, text] of [
    ["a,", "found '', expected: identifier after ','"],
    [",a", "found ',', expected: !, identifier, or 'end of string'"],
    ["a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
    ["a in b", "unable to parse requirement: found 'b' expected: '('"],
    ["a in (b", "unable to parse requirement: found '', expected: ',' or ')'"],
    [
      "a>x",
      "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
    ],
  ] as const) {
    assert.throws(() => parseLabelSelector(selector), { code: 400, message: text }, selector);
  }
  assert.throws(() => parseLabelSelector("a=b c"), /found 'c', expected: ',' or 'end of string'/);
  assert.throws(() => parseLabelSelector("-a=b"), /<nil>: Invalid value: "-a": name part must consist of/);
});

test("an absent LabelSelector matches nothing, an empty one everything", () => {
  assert.equal(fromLabelSelector(undefined).matches({}), false);
  assert.equal(fromLabelSelector({}).matches({ a: "b" }), true);
  assert.equal(fromLabels({}).matches({ a: "b" }), true);
  const selector = fromLabelSelector({
    matchLabels: { z: "1" },
    matchExpressions: [
      { key: "a", operator: "In", values: ["y", "x"] },
      { key: "b", operator: "DoesNotExist" },
    ],
  });
  assert.equal(selector.toString(), "a in (x,y),!b,z=1");
  assert.throws(() => fromLabelSelector({ matchExpressions: [{ key: "a", operator: "Gt", values: ["1"] }] }), {
    message: '"Gt" is not a valid label selector operator',
  });
});

test("a printed label selector parses to one that matches the same", () => {
  const word = fc.stringMatching(/^[a-c]{1,2}$/);
  const requirement = fc.oneof(
    fc.tuple(word, fc.constantFrom("=", "!=", "=="), word).map(([k, o, v]) => makeRequirement(k, o as "=", [v])),
    fc
      .tuple(word, fc.constantFrom("in", "notin"), fc.uniqueArray(word, { minLength: 1, maxLength: 3 }))
      .map(([k, o, v]) => makeRequirement(k, o as "in", v)),
    fc.tuple(word, fc.constantFrom("exists", "!")).map(([k, o]) => makeRequirement(k, o as "!", [])),
  );
  fc.assert(
    fc.property(fc.array(requirement, { maxLength: 4 }), fc.dictionary(word, word), (requirements, labels) => {
      const printed = parseLabelSelector(requirements.map((one) => String(new SelectorText(one))).join(","));
      const expected = requirements.every((one) => matchesRequirement(one, labels));
      assert.equal(printed.matches(labels), expected);
      assert.equal(parseLabelSelector(printed.toString()).matches(labels), expected);
    }),
  );
});

/** An independent printer, so that the property does not only test the code against itself. */
class SelectorText {
  readonly #text: string;
  constructor({ key, operator, values }: { key: string; operator: string; values: readonly string[] }) {
    if (operator === "exists") this.#text = key;
    else if (operator === "!") this.#text = `! ${key}`;
    else if (operator.endsWith("in")) this.#text = `${key}  ${operator}( ${values.join(" , ")} )`;
    else this.#text = `${key} ${operator} ${values[0]}`;
  }
  toString(): string {
    return this.#text;
  }
}

test("field selectors compare fields, absent ones as empty", () => {
  const fieldValue = (fields: Record<string, string>) => (field: string) => fields[field];
  const selector = parseFieldSelector("metadata.name=a,status.phase!=Running,spec.x==");
  assert.equal(selector.matches(fieldValue({ "metadata.name": "a" })), true);
  assert.equal(selector.matches(fieldValue({ "metadata.name": "a", "status.phase": "Running" })), false);
  assert.equal(selector.exactValue("metadata.name"), "a");
  assert.equal(parseFieldSelector("").empty, true);
  assert.equal(parseFieldSelector("a=b\\,c\\=d").exactValue("a"), "b,c=d");
  assert.throws(() => parseFieldSelector("abc"), { message: "invalid selector: 'abc'; can't understand 'abc'" });
  assert.throws(() => parseFieldSelector("a=b\\x"), /invalid escape sequence/);
});
