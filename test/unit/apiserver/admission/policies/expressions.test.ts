/**
 * What Kubernetes v1.36 itself makes of the expressions of admission policies: golden/expressions.json was written by its
 * own libraries (apiserver's admission/plugin/cel with cel-go 0.26) for the object and the variables in it.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Namespace } from "../../../../../src/api/generated/core-v1.ts";
import { findResource } from "../../../../../src/api/registry.ts";
import { AccessAnswers } from "../../../../../src/apiserver/admission/policies/access-answers.ts";
import { Evaluation } from "../../../../../src/apiserver/admission/policies/evaluation.ts";
import { compileAdmission, compileVariables } from "../../../../../src/machinery/cel/admission.ts";
import { toJson } from "../../../../../src/machinery/cel/json-value.ts";
import { jsonPatchType, objectType } from "../../../../../src/machinery/cel/structs.ts";
import { bool, type CelType, formatType, listOf, nullType, string } from "../../../../../src/machinery/cel/types.ts";
import { CelError, type CelValue, Optional } from "../../../../../src/machinery/cel/values.ts";
import type { KubeObject } from "../../../../../src/machinery/object.ts";

interface Golden {
  readonly kind: "bool" | "message" | "audit" | "apply" | "jsonpatch" | "anypatch";
  readonly expression: string;
  readonly params?: boolean;
  readonly variables?: boolean;
  /** Why it is refused. */
  readonly error?: string;
  /** Why it cannot be evaluated; what that cost is not compared. */
  readonly failed?: string;
  readonly type?: string;
  readonly spent?: number;
  readonly value?: unknown;
}

interface File {
  readonly object: KubeObject;
  readonly params: object;
  readonly namespace: Namespace;
  readonly variables: readonly { name: string; expression: string }[];
  readonly cases: readonly Golden[];
}

const file = JSON.parse(readFileSync(new URL("golden/expressions.json", import.meta.url), "utf8")) as File;

const wanted: Readonly<Record<Golden["kind"], readonly CelType[] | undefined>> = {
  bool: [bool],
  message: [string],
  audit: [string, nullType],
  apply: [objectType],
  jsonpatch: [listOf(jsonPatchType)],
  anypatch: undefined,
};

const budget = 10_000_000;

async function outcome({ kind, expression, params = false, variables: named = false }: Golden): Promise<object> {
  const base = { params, authorizer: true };
  const variables = compileVariables(named ? file.variables : [], base);
  const patches = ["apply", "jsonpatch", "anypatch"].includes(kind);
  const scope = { ...base, authorizer: kind !== "message", patches, variables: variables.type };
  const compiled = { source: expression, ...compileAdmission(expression, scope, wanted[kind]) };
  if (compiled.fault !== undefined) return { error: compiled.fault };
  const attributes = {
    operation: "UPDATE" as const,
    facts: findResource("apps", "v1", "deployments")!,
    namespace: "default",
    name: "web",
    object: file.object,
    user: { name: "jane", groups: ["developers"], extra: { team: ["a"] } },
    dryRun: false,
    options: { kind: "UpdateOptions", apiVersion: "meta.k8s.io/v1" },
    warn() {},
  };
  const access = new AccessAnswers(
    async ({ verb }) => (verb === "get" ? { allowed: true, reason: "yes" } : { allowed: false, reason: "no" }),
    attributes.user,
  );
  const input = {
    attributes,
    access,
    namespace: file.namespace,
    params: params ? (file.params as CelValue) : null,
    variables: variables.expressions,
  };
  const evaluation = new Evaluation(input, budget);
  const { value, error } = await evaluation.run(compiled);
  const type = compiled.program.type === nullType ? nullType.name : formatType(compiled.program.type);
  // What a failure cost before it failed is nobody's business.
  return error === undefined
    ? { type, spent: budget - evaluation.budget, value: json(value) }
    : { type, failed: error };
}

function json(value: CelValue): unknown {
  try {
    return toJson(value instanceof Optional ? (value.value ?? null) : value);
  } catch (error) {
    if (error instanceof CelError) return "unconvertible";
    throw error;
  }
}

test("expressions are refused, cost and give what Kubernetes says", async () => {
  const wrong: unknown[] = [];
  for (const golden of file.cases) {
    const { kind, expression, params, variables, ...expected } = golden;
    const found = await outcome(golden);
    try {
      assert.deepEqual(found, expected);
    } catch {
      wrong.push({ kind, expression, expected, found });
    }
  }
  assert.deepEqual(wrong, []);
});
