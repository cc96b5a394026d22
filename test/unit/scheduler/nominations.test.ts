import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeState } from "../../../src/scheduler/node-state.ts";
import { Nominations } from "../../../src/scheduler/nominations.ts";

const pod = (name: string, priority: number) => ({
  metadata: { name, namespace: "default" },
  spec: { priority, containers: [{ name: "c", resources: { requests: { cpu: "1" } } }] },
});

test("the place that was promised to a pod is taken for those that matter no more than it, and for nobody else", () => {
  const node = new NodeState({ metadata: { name: "one" } });
  const nominations = new Nominations();
  const high = pod("high", 10);
  const counted = (name: string, priority: number) =>
    nominations.applyTo({ nodes: [node] }, pod(name, priority)).nodes[0]?.podCount;
  assert.equal(counted("low", 1), 0);
  nominations.set(high, "one");
  assert.deepEqual([counted("low", 1), counted("equal", 10), counted("higher", 11), counted("high", 10)], [1, 1, 0, 0]);
  assert.equal(node.podCount, 0);
  assert.deepEqual(nominations.outdoneBy(pod("higher", 11), "one"), [high]);
  assert.deepEqual(nominations.outdoneBy(pod("equal", 10), "one"), []);
  nominations.remove("default/high");
  assert.equal(counted("low", 1), 0);
});
