/**
 * What Kubernetes v1.36 itself finds wrong with admission policies and their bindings: golden/policies.json was written by
 * its own validation.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { builtInResources } from "../../../../src/api/registry.ts";
import {
  validateMutatingBinding,
  validateMutatingPolicy,
  validatePolicyStatus,
  validateValidatingBinding,
  validateValidatingPolicy,
} from "../../../../src/api/validation/policies.ts";
import { applyDefaults, canonicalize } from "../../../../src/machinery/canonical.ts";
import type { KubeObject } from "../../../../src/machinery/object.ts";
import type { FieldError } from "../../../../src/machinery/status.ts";

interface Golden {
  readonly kind: string;
  readonly object: object;
  readonly old?: object;
  readonly errors: readonly string[];
}

const golden = JSON.parse(readFileSync(new URL("golden/policies.json", import.meta.url), "utf8")) as readonly Golden[];

const rules: Readonly<Record<string, (object: never, old?: never) => FieldError[]>> = {
  ValidatingAdmissionPolicy: validateValidatingPolicy,
  MutatingAdmissionPolicy: validateMutatingPolicy,
  ValidatingAdmissionPolicyBinding: validateValidatingBinding,
  MutatingAdmissionPolicyBinding: validateMutatingBinding,
};

/** As it comes with a request: in canonical form, with defaults. */
function read(kind: string, body: object): KubeObject {
  const facts = builtInResources.find((one) => one.kind === kind)!;
  const object = canonicalize(facts.schema, body, {}) as KubeObject;
  applyDefaults(facts.schema, object);
  facts.strategy.applyDefaults?.(object);
  return object;
}

const texts = (errors: readonly FieldError[]) => errors.map(({ field, message }) => `${field}: ${message}`);

test("policies and bindings are refused for what Kubernetes refuses them for", () => {
  for (const { kind, object, old, errors } of golden) {
    const found = rules[kind]!(read(kind, object) as never, old && (read(kind, old) as never));
    assert.deepEqual(texts(found), errors, JSON.stringify(object));
  }
});

test("a status says what is wrong where, and has whole conditions", () => {
  const status = {
    typeChecking: { expressionWarnings: [{ fieldRef: " ", warning: "" }] },
    conditions: [
      { type: "Ready", status: "Maybe", reason: "R", message: "", lastTransitionTime: "2026-01-02T03:04:05Z" },
    ],
  };
  assert.deepEqual(texts(validatePolicyStatus({ metadata: {}, status })), [
    "status.typeChecking.expressionWarnings[0].warning: Required value",
    "status.typeChecking.expressionWarnings[0].fieldRef: Required value",
    'status.conditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"',
  ]);
});
