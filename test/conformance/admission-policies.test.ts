/** The admission policies' own API. Authority: the conformance tests of both kinds of policy. */
import assert from "node:assert/strict";
import {
  mutatingAdmissionPolicies,
  mutatingAdmissionPolicyBindings,
  validatingAdmissionPolicies,
  validatingAdmissionPolicyBindings,
} from "../../src/api/generated/admissionregistration-v1.ts";
import { exerciseApi } from "./api-operations.ts";
import { conformance } from "./conformance.ts";

/** Configuration maps of no namespace, so that no other case's objects are meant. */
const matchConstraints = {
  namespaceSelector: { matchLabels: { nowhere: "true" } },
  resourceRules: [{ operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }],
};

const validating = "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support";
const mutating = "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should support";

conformance(`${validating} ValidatingAdmissionPolicy API operations [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: validatingAdmissionPolicies,
    make: () => ({ metadata: {}, spec: { matchConstraints, validations: [{ expression: "true" }] } }),
    status: {
      patch: {
        conditions: [
          { type: "X", status: "True", reason: "R", message: "m", lastTransitionTime: "2026-01-02T03:04:05Z" },
        ],
      },
      check: ({ status }) => assert.ok(status?.conditions?.some(({ type }) => type === "X")),
    },
  }),
);

conformance(`${validating} ValidatingAdmissionPolicyBinding API operations [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: validatingAdmissionPolicyBindings,
    make: () => ({ metadata: {}, spec: { policyName: "none.example.com", validationActions: ["Deny"] } }),
  }),
);

conformance(`${mutating} MutatingAdmissionPolicy API operations [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: mutatingAdmissionPolicies,
    make: () => ({
      metadata: {},
      spec: {
        matchConstraints,
        reinvocationPolicy: "Never",
        mutations: [
          {
            patchType: "ApplyConfiguration",
            applyConfiguration: { expression: 'Object{metadata: Object.metadata{labels: {"a": "b"}}}' },
          },
        ],
      },
    }),
  }),
);

conformance(`${mutating} MutatingAdmissionPolicyBinding API operations [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: mutatingAdmissionPolicyBindings,
    make: () => ({ metadata: {}, spec: { policyName: "none.example.com" } }),
  }),
);
