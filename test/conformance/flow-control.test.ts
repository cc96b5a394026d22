/** The API of priority and fairness, as its conformance tests ask. */
import assert from "node:assert/strict";
import { flowSchemas, priorityLevelConfigurations } from "../../src/api/generated/flowcontrol-v1.ts";
import { exerciseApi } from "./api-operations.ts";
import { conformance } from "./conformance.ts";

const area = "[sig-api-machinery] API priority and fairness should support";
const condition = { type: "X", status: "True", reason: "R", message: "m", lastTransitionTime: "2026-01-02T03:04:05Z" };

conformance(`${area} FlowSchema API operations [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: flowSchemas,
    make: () => ({
      metadata: {},
      spec: {
        matchingPrecedence: 10_000,
        priorityLevelConfiguration: { name: "global-default" },
        distinguisherMethod: { type: "ByUser" },
        rules: [
          {
            subjects: [{ kind: "User", user: { name: "nobody-of-this-name" } }],
            nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
          },
        ],
      },
    }),
    status: {
      patch: { conditions: [condition] },
      check: ({ status }) => assert.ok(status?.conditions?.some(({ type }) => type === "X")),
    },
  }),
);

conformance(`${area} PriorityLevelConfiguration API operations [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: priorityLevelConfigurations,
    make: () => ({
      metadata: {},
      spec: { type: "Limited", limited: { nominalConcurrencyShares: 2, limitResponse: { type: "Reject" } } },
    }),
    status: {
      patch: { conditions: [condition] },
      check: ({ status }) => assert.ok(status?.conditions?.some(({ type }) => type === "X")),
    },
  }),
);
