/**
 * What Kubernetes v1.36 itself makes of rules: golden/rules.json was written by its own libraries (apiextensions'
 * schema/cel with cel-go 0.26) from these rules, for the schema and the objects in golden/object.json.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compileRule, compileRules, perCallLimit } from "../../../../src/machinery/cel/rules.ts";
import { declare, sizesOf } from "../../../../src/machinery/cel/schema-types.ts";
import { cloneJson } from "../../../../src/machinery/json.ts";
import type { JsonSchemaProps } from "../../../../src/machinery/schema-from-openapi.ts";

interface Golden {
  readonly rule: string;
  /** Why it is refused; absent: it is not. */
  readonly error?: string;
  /** The most it can cost. */
  readonly cost?: number;
  /** What it finds wrong with the object. */
  readonly errors?: readonly string[];
  /** What it cost, where it holds. */
  readonly spent?: number;
}

const read = (name: string) => JSON.parse(readFileSync(new URL(`golden/${name}`, import.meta.url), "utf8"));
const rules = read("rules.json") as Golden[];
const { schema, value, old } = read("object.json") as { schema: JsonSchemaProps; value: object; old: object };

/** With what the golden rules were run; only failing ones need it. */
const messageExpression = "'m' + self.spec.name";

test("rules are refused with Kubernetes' texts", () => {
  const declared = declare(schema, true)!;
  for (const { rule, error } of rules) {
    assert.equal(compileRule({ rule }, schema, declared).fault, error, rule);
  }
});

test("rules cost at most what Kubernetes estimates", () => {
  const declared = declare(schema, true)!;
  for (const { rule, cost, error } of rules) {
    if (error !== undefined) continue;
    const estimate = compileRule({ rule }, schema, declared).program!.estimate(sizesOf(declared)).max;
    assert.ok(Math.abs(estimate - cost!) <= cost! * 1e-9, `${rule}\n${estimate}, not ${cost}`);
  }
});

test("rules find what Kubernetes finds, at its cost", () => {
  for (const { rule, error, errors = [], spent } of rules) {
    if (error !== undefined) continue;
    const check = compileRules({ ...schema, "x-kubernetes-validations": [{ rule, messageExpression }] })!;
    const found = check(cloneJson(value), cloneJson(old)).map(({ field, message }) => `${field}: ${message}`);
    assert.deepEqual(found, errors, rule);
    if (spent === undefined) continue;
    const { program, usesOldSelf } = compileRule({ rule }, schema, declare(schema, true)!);
    const outcome = program!.run([value as never, usesOldSelf ? (old as never) : undefined], perCallLimit);
    assert.equal(outcome.cost, spent, rule);
  }
});
