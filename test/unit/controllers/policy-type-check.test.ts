/**
 * What Kubernetes v1.36 itself says of expressions that do not fit their kinds: golden/policy-type-check.json was written
 * by its own type checker for a policy for Deployments with ConfigMaps as parameters.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  type ValidatingAdmissionPolicy,
  validatingAdmissionPolicies,
} from "../../../src/api/generated/admissionregistration-v1.ts";
import { customResourceDefinitions } from "../../../src/api/generated/apiextensions-v1.ts";
import { checkPolicyTypes } from "../../../src/controllers/policy-type-check.ts";
import { validatingAdmissionPolicyStatusController } from "../../../src/controllers/validating-admission-policy-status.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";

interface Golden {
  readonly expression: string;
  readonly warning?: string;
}

const golden = JSON.parse(
  readFileSync(new URL("golden/policy-type-check.json", import.meta.url), "utf8"),
) as readonly Golden[];

const policyFor = (rule: object, ...expressions: string[]): ValidatingAdmissionPolicy => ({
  metadata: { name: "p" },
  spec: {
    failurePolicy: "Fail",
    matchConstraints: { resourceRules: [{ operations: ["CREATE"], ...rule }] },
    validations: expressions.map((expression) => ({ expression })),
  },
});
const deploymentRule = { apiGroups: ["apps"], apiVersions: ["v1"], resources: ["deployments"] };

const crontabs = {
  metadata: { name: "crontabs.stable.example.com" },
  spec: {
    group: "stable.example.com",
    scope: "Namespaced",
    names: { plural: "crontabs", kind: "CronTab" },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: { spec: { type: "object", properties: { replicas: { type: "integer" } } } },
          },
        },
      },
    ],
  },
};
const crontabRule = { apiGroups: ["stable.example.com"], apiVersions: ["v1"], resources: ["crontabs"] };

test("expressions are warned of as Kubernetes warns", () => {
  for (const { expression, warning } of golden) {
    const policy = policyFor(deploymentRule, expression);
    policy.spec!.paramKind = { apiVersion: "v1", kind: "ConfigMap" };
    const expected = warning === undefined ? [] : [{ fieldRef: "spec.validations[0].expression", warning }];
    assert.deepEqual(checkPolicyTypes(policy, []), expected, expression);
  }
});

test("variables pass their types on, and message expressions are checked too", () => {
  const policy = policyFor(deploymentRule, "variables.count > '1'");
  policy.spec!.variables = [{ name: "count", expression: "object.spec.replicas" }];
  policy.spec!.validations![0]!.messageExpression = "'got ' + variables.count";
  const found = checkPolicyTypes(policy, []);
  assert.deepEqual(
    found.map(({ fieldRef }) => fieldRef),
    ["spec.validations[0].expression", "spec.validations[0].messageExpression"],
  );
  assert.match(found[1]!.warning, /no matching overload for '_\+_' applied to '\(string, int\)'/);
});

test("every kind that is named is checked, in order; what wildcards name is not", () => {
  const rule = {
    apiGroups: ["apps"],
    apiVersions: ["v1"],
    resources: ["statefulsets", "deployments", "deployments/scale"],
  };
  const [found] = checkPolicyTypes(policyFor(rule, "object.spec.nope == 1"), []);
  assert.deepEqual(found!.warning.match(/Kind=\w+/g), ["Kind=Deployment", "Kind=StatefulSet"]);
  assert.deepEqual(checkPolicyTypes(policyFor({ ...rule, apiGroups: ["*"] }, "object.spec.nope == 1"), []), []);
  assert.deepEqual(checkPolicyTypes(policyFor({ ...rule, resources: ["*"] }, "object.spec.nope == 1"), []), []);
});

test("custom resources have the types of their definition, and the metadata of all", () => {
  const check = (expression: string) => checkPolicyTypes(policyFor(crontabRule, expression), [crontabs]);
  assert.deepEqual(check("object.spec.replicas > 1 && object.metadata.namespace != 'x' && object.kind != ''"), []);
  assert.match(check("object.spec.replicas > '1'")[0]!.warning, /^stable\.example\.com\/v1, Kind=CronTab: ERROR/);
  assert.match(check("object.spec.maxRetries < 10")[0]!.warning, /undefined field 'maxRetries'/);
  assert.deepEqual(checkPolicyTypes(policyFor(crontabRule, "object.spec.maxRetries < 10"), []), []);
});

test("the status says what was found, and for which generation", async (t) => {
  const { client } = await startControlPlane(t, { controllers: [validatingAdmissionPolicyStatusController] });
  await client.create(customResourceDefinitions, crontabs as never);
  await client.create(validatingAdmissionPolicies, policyFor(deploymentRule, "object.spec.replicas > 1"));
  const status = (generation: number) =>
    eventually(async () => {
      const { status } = await client.get(validatingAdmissionPolicies, "p");
      assert.equal(status?.observedGeneration, generation);
      return status?.typeChecking;
    });
  assert.deepEqual(await status(1), {});
  const { spec } = policyFor(deploymentRule, "object.spec.replicas > '1'");
  await client.patch(validatingAdmissionPolicies, "p", { type: "merge", body: { spec } });
  const found = await status(2);
  assert.equal(found?.expressionWarnings?.[0]?.fieldRef, "spec.validations[0].expression");
  await client.patch(validatingAdmissionPolicies, "p", {
    type: "merge",
    body: { spec: policyFor(deploymentRule, "object.spec.replicas > 2").spec },
  });
  assert.deepEqual(await status(3), {});
});
