/**
 * cel-spec's conformance data, as published in @bufbuild/cel-spec. Left out, each with its reason:
 *
 * - sections about protobuf messages, enums and extensions: expressions in Kubernetes cannot make or get any
 * - sections about extensions that Kubernetes does not turn on (math, encoders, bindings, block)
 * - string.format: the data is of the strings extension's version 4, Kubernetes has version 2, which prints otherwise
 *   (golden.test.ts holds that)
 * - rows that are to run unchecked: Kubernetes always checks
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CelCompileError } from "../../../../src/machinery/cel/issues.ts";
import { CelProgram } from "../../../../src/machinery/cel/program.ts";
import * as types from "../../../../src/machinery/cel/types.ts";
import { formatType } from "../../../../src/machinery/cel/types.ts";
import { CelError } from "../../../../src/machinery/cel/values.ts";
import {
  comprehensionRows,
  conformanceRows,
  NeedsMessages,
  type Row,
  shown,
  valueFrom,
  variablesOf,
} from "./conformance-data.ts";

const leftOut = new Set(
  `proto2 proto2_ext proto3 enums dynamic wrappers math_ext encoders_ext block_ext bindings_ext`.split(/\s+/),
);
const messages = /TestAllTypes|google\.protobuf\.|GlobalEnum|NestedEnum|proto\./;

const options = { mixedLiterals: true, escapedFields: true } as const;

/** Undefined: left out. */
function run({ original, section, type }: Row): string | undefined {
  if (leftOut.has(section.split("/")[0]!) || original.disableCheck || original.container) return undefined;
  if (messages.test(original.expr) || section.startsWith("string_ext/format")) return undefined;
  try {
    const variables = variablesOf(original);
    const { bindings = {} } = original;
    for (const name of Object.keys(bindings)) {
      if (!variables.some((variable) => variable.name === name)) variables.push({ name, type: types.dyn });
    }
    const values = variables.map(({ name }) => (bindings[name]?.value ? valueFrom(bindings[name].value) : undefined));
    const wanted = original.value ?? original.typedResult?.result;
    const expected = original.evalError ? "error" : wanted ? shown(valueFrom(wanted)) : "true";
    let program: CelProgram;
    try {
      program = new CelProgram(original.expr, { ...options, variables });
    } catch (error) {
      // Constant conversions fail before anything runs.
      if ((error instanceof CelCompileError || error instanceof CelError) && expected === "error") return "";
      throw error;
    }
    if (type !== undefined && formatType(program.type) !== type) return `type ${formatType(program.type)}, not ${type}`;
    if (original.checkOnly) return "";
    const outcome = program.run(values);
    const actual = outcome.error ? "error" : shown(outcome.value);
    return actual === expected ? "" : `${outcome.error?.message ?? actual}, not ${expected}`;
  } catch (error) {
    if (error instanceof NeedsMessages) return undefined;
    return (error as Error).message;
  }
}

test("cel-spec's conformance rows give what they should", () => {
  let count = 0;
  for (const row of conformanceRows) {
    const fault = run(row);
    if (fault !== undefined) count++;
    assert.ok(!fault, `${row.name}: ${row.original.expr}\n${fault}`);
  }
  // So that a change of the data's form cannot leave all of it out unnoticed.
  assert.ok(count > 1200, `only ${count} rows ran`);
});

/** Made to be refused: variables that are no names or the same twice, ranges that are none, types that do not fit, keys twice. */
const refused =
  /\bi\.[jk]\b|^(?:1|'')\.|\(i, i,|'bad filter'|\? \[v\] : v\)|transformMapEntry\(k, v, \[\]\)|^\[(?:1, 1|0, 0u)\]|i \/ 2\.0/;

test("cel-go's two-variable comprehensions hold", () => {
  let count = 0;
  for (const { original } of comprehensionRows) {
    const { expr } = original;
    // These use variables and extensions of that test alone.
    if (/cel\.bind|k\.reverse\(|^[mxy]\./.test(expr)) continue;
    count++;
    if (refused.test(expr)) {
      const outcome = (() => {
        try {
          return new CelProgram(expr, { ...options, variables: [] }).run([]).error;
        } catch (error) {
          return error;
        }
      })();
      assert.ok(outcome, expr);
      continue;
    }
    const { value, error } = new CelProgram(expr, { ...options, variables: [] }).run([]);
    assert.equal(error, undefined, expr);
    // One row gives a map.
    if (typeof value === "boolean") assert.equal(value, true, expr);
    else assert.equal(shown(value!), '{a: "WORLD", b: "hello"}');
  }
  assert.ok(count > 60, `only ${count} rows ran`);
});
