import assert from "node:assert/strict";
import { test } from "node:test";
import { checkRules } from "../../../../src/machinery/cel/rule-check.ts";
import { compileRules, type ValidationRule } from "../../../../src/machinery/cel/rules.ts";
import type { JsonSchemaProps } from "../../../../src/machinery/schema-from-openapi.ts";
import { validateBySchema } from "../../../../src/machinery/schema-validation.ts";
import { cpuMs } from "../../../support/cpu-time.ts";

const withRules = (props: JsonSchemaProps, ...rules: ValidationRule[]): JsonSchemaProps => ({
  ...props,
  "x-kubernetes-validations": rules,
});
const integer: JsonSchemaProps = { type: "integer" };
const specOf = (properties: Record<string, JsonSchemaProps>, ...rules: ValidationRule[]): JsonSchemaProps => ({
  type: "object",
  properties: { spec: withRules({ type: "object", properties }, ...rules) },
});
const validate = (props: JsonSchemaProps, spec: object, oldSpec?: object) =>
  validateBySchema(props, { spec }, { rules: compileRules(props), ...(oldSpec ? { old: { spec: oldSpec } } : {}) }).map(
    ({ field, message }) => `${field}: ${message}`,
  );

test("scalars are shown in the error, objects and lists are not", () => {
  const props = specOf({ n: withRules(integer, { rule: "self < 3", message: " too many " }) }, { rule: "self.n < 4" });
  assert.deepEqual(validate(props, { n: 5 }), [
    "spec: Invalid value: failed rule: self.n < 4",
    "spec.n: Invalid value: 5: too many",
  ]);
});

test("the reason, the path and the message of a rule shape its error", () => {
  const props = specOf(
    { a: integer, b: { type: "object", additionalProperties: integer } },
    {
      rule: "self.a == 1",
      reason: "FieldValueForbidden",
      fieldPath: ".a",
      messageExpression: "'a is %d'.format([self.a])",
    },
    { rule: "self.a == 1", reason: "FieldValueRequired", fieldPath: ".b['x.y']", message: "needed" },
    { rule: "self.a == 1", reason: "FieldValueDuplicate" },
    { rule: "self.a == 1", message: "plain", messageExpression: "''" },
    { rule: "self.a == 1", message: "plain", messageExpression: "string(1 / (self.a - 2))" },
  );
  assert.deepEqual(validate(props, { a: 2 }), [
    "spec.a: Forbidden: a is 2",
    "spec.b[x.y]: Required value: needed",
    "spec: Duplicate value",
    "spec: Invalid value: plain",
    "spec: Invalid value: plain",
  ]);
});

test("errors of evaluation name the rule", () => {
  const props = specOf({ a: integer, list: { type: "array", items: integer } }, { rule: "self.list[self.a] == 1" });
  assert.deepEqual(validate(props, { a: 3, list: [] }), [
    'spec: Invalid value: "object": index out of bounds: 3 evaluating rule: self.list[self.a] == 1',
  ]);
  assert.deepEqual(validate(props, { a: 3 }), [
    'spec: Invalid value: "object": no such key: list evaluating rule: self.list[self.a] == 1',
  ]);
});

test("transition rules run only where there is an old value, or when they ask for none", () => {
  const props = specOf({
    n: withRules(integer, { rule: "self >= oldSelf", message: "shrinks" }),
    m: withRules(integer, { rule: "oldSelf.orValue(0) < self", optionalOldSelf: true, message: "grows only" }),
  });
  assert.deepEqual(validate(props, { n: 1, m: 0 }), ["spec.m: Invalid value: 0: grows only"]);
  assert.deepEqual(validate(props, { n: 1, m: 3 }, { n: 2, m: 2 }), ["spec.n: Invalid value: 1: shrinks"]);
  assert.deepEqual(validate(props, { n: 1, m: 2 }, { m: 2 }), ["spec.m: Invalid value: 2: grows only"]);
});

test("elements of keyed lists meet their old selves by key", () => {
  const item: JsonSchemaProps = {
    type: "object",
    required: ["name"],
    properties: { name: { type: "string" }, size: withRules(integer, { rule: "self == oldSelf", message: "fixed" }) },
  };
  const props = specOf({
    list: { type: "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], items: item },
  });
  const old = {
    list: [
      { name: "a", size: 1 },
      { name: "b", size: 2 },
    ],
  };
  assert.deepEqual(
    validate(
      props,
      {
        list: [
          { name: "b", size: 2 },
          { name: "a", size: 1 },
          { name: "c", size: 9 },
        ],
      },
      old,
    ),
    [],
  );
  assert.deepEqual(validate(props, { list: [{ name: "b", size: 1 }] }, old), [
    "spec.list[0].size: Invalid value: 1: fixed",
  ]);
});

test("what was wrong before may stay as it is", () => {
  const small = withRules(
    { type: "object", properties: { n: integer, at: integer } },
    { rule: "self.n < 3", message: "big" },
  );
  const props = specOf({ a: small, b: { ...integer, maximum: 3 } });
  assert.deepEqual(validate(props, { a: { n: 5 }, b: 4 }, { a: { n: 5 }, b: 4 }), []);
  assert.deepEqual(validate(props, { a: { n: 5 }, b: 5 }, { a: { n: 5 }, b: 4 }).length, 1);
  assert.deepEqual(validate(props, { a: { n: 5, at: 1 }, b: 4 }, { a: { n: 5 }, b: 4 }), [
    "spec.a: Invalid value: big",
  ]);
});

test("rules wait until the schema holds", () => {
  const props = specOf({ n: withRules(integer, { rule: "self < 3" }) });
  assert.deepEqual(validate(props, { n: "x" }), [
    'spec.n: Invalid value: "string": spec.n in body must be of type integer: "string"',
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
  ]);
});

test("no expression holds the process: calls, objects and hostile operands are limited", () => {
  const texts = { type: "array", items: { type: "string" } } as const;
  const list = Array.from({ length: 3000 }, (_, i) => `text ${i}`);
  for (const [rule, expected] of [
    ["self.list.all(x, self.list.all(y, x != 'z' || y != 'z'))", /actual cost limit exceeded.*call cost exceeds limit/],
    ["sets.equivalent(self.list, self.list)", /running out of cost budget/],
    ["self.list.distinct().size() == 3000", /running out of cost budget/],
    ["self.text.matches(self.text)", /running out of cost budget/],
    ["self.text.replace('', self.text).size() > 0", /too long a text/],
    ["lists.range(1000000000).size() > 0", /of more than 1000000 elements/],
  ] as const) {
    const props = specOf({ list: texts, text: { type: "string" } }, { rule });
    const tookMs = cpuMs(() => {
      const [error = ""] = validate(props, { list, text: "a".repeat(100_000) });
      assert.match(error, expected, rule);
    });
    assert.ok(tookMs < 2000, `${rule} took ${tookMs} ms`);
  }
  const loop: ValidationRule = { rule: "self.list.all(x, x.size() < 100 && x != 'z' && x != 'y')" };
  const many = specOf({ list: texts }, ...Array.from({ length: 400 }, () => loop));
  const [last] = validate(many, { list }).slice(-1);
  assert.equal(
    last,
    'spec: Invalid value: "object": validation failed due to running out of cost budget, no further validation rules will be run',
  );
});

const path = "spec.validation.openAPIV3Schema";
const check = (props: JsonSchemaProps) => checkRules(props, path).map(({ field, message }) => `${field}: ${message}`);
const at = `${path}.properties[spec].x-kubernetes-validations[0]`;

test("a definition's rules are refused with apiextensions' texts", () => {
  const shown = (rule: string) =>
    `Invalid value: {"Rule":"${rule}","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}`;
  for (const [rule, expected] of [
    [{ rule: "self.n > 0" }, []],
    [{ rule: " " }, [`${at}.rule: Required value: rule is not specified`]],
    [{ rule: "true", message: " " }, [`${at}.message: Invalid value: " ": must be non-empty if specified`]],
    [
      { rule: "true\n" + "&& true" },
      [`${at}.message: Required value: message must be specified if rule contains line breaks`],
    ],
    [
      { rule: "true", reason: "Why" },
      [
        `${at}.reason: Unsupported value: "Why": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"`,
      ],
    ],
    [{ rule: "true", fieldPath: ".x" }, [`${at}.fieldPath: Invalid value: ".x": must be a valid path`]],
    [
      { rule: "true", optionalOldSelf: true },
      [`${at}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule`],
    ],
    [{ rule: "self.n" }, [`${at}.rule: ${shown("self.n")}: cel expression must evaluate to a bool`]],
    [
      { rule: "self.x == 1" },
      [
        `${at}.rule: ${shown("self.x == 1")}: compilation failed: ERROR: <input>:1:5: undefined field 'x'\n | self.x == 1\n | ....^`,
      ],
    ],
  ] as const) {
    assert.deepEqual(check(specOf({ n: integer }, rule)), expected, JSON.stringify(rule));
  }
});

test("a definition's rules must be cheap enough at worst", () => {
  const advice =
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
  const list = (maxItems?: number): JsonSchemaProps => ({
    type: "array",
    items: { type: "string", maxLength: 10 },
    ...(maxItems ? { maxItems } : {}),
  });
  const rule = { rule: "self.list.all(x, self.list.all(y, x == y))" };
  assert.deepEqual(check(specOf({ list: list(100) }, rule)), []);
  assert.deepEqual(check(specOf({ list: list(1300) }, rule)), [
    `${at}.rule: Forbidden: estimated rule cost exceeds budget by factor of 1.5x ${advice}`,
  ]);
  const [first, second, third] = check(specOf({ list: list() }, rule));
  assert.equal(
    first,
    `${at}.rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x ${advice}`,
  );
  assert.equal(
    second,
    `${at}.rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema`,
  );
  assert.equal(
    third,
    `${path}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x ${advice}`,
  );
});

test("oldSelf has no meaning inside lists without keys", () => {
  const props = specOf({
    list: { type: "array", maxItems: 5, items: withRules(integer, { rule: "self == oldSelf" }) },
  });
  const place = `${path}.properties[spec].properties[list]`;
  assert.deepEqual(check(props), [
    `${place}.items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within ${place}`,
  ]);
});
