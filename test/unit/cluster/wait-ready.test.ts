import assert from "node:assert/strict";
import { test } from "node:test";
import type { Node } from "../../../src/api/generated/core-v1.ts";
import { takesPods } from "../../../src/cluster/wait-ready.ts";

test("a node takes pods when it is Ready and the taints of the time before are gone", () => {
  const node = (ready: string, ...taints: string[]) =>
    ({
      metadata: { name: "n" },
      spec: taints.length === 0 ? {} : { taints: taints.map((key) => ({ key, effect: "NoSchedule" })) },
      status: {
        conditions: [
          { type: "MemoryPressure", status: "True" },
          { type: "Ready", status: ready },
        ],
      },
    }) as Node;
  assert.equal(takesPods(node("True")), true);
  assert.equal(takesPods(node("False")), false);
  assert.equal(takesPods(node("Unknown")), false);
  assert.equal(takesPods(node("True", "node.kubernetes.io/not-ready")), false);
  assert.equal(takesPods(node("True", "node.kubernetes.io/unreachable")), false);
  // What a user keeps off a node is the user's business.
  assert.equal(takesPods(node("True", "only")), true);
  assert.equal(takesPods({ metadata: { name: "n" } }), false);
});
