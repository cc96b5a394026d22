import assert from "node:assert/strict";
import { test } from "node:test";
import type { Container, Pod, PodStatus } from "../../../src/api/generated/core-v1.ts";
import { asksForLess, podRequests } from "../../../src/scheduler/pod-resources.ts";

const pod = (cpu: string, status: PodStatus = {}, more: Partial<Container> = {}): Pod => ({
  metadata: { name: "p" },
  spec: { containers: [{ name: "c", resources: { requests: { cpu } }, ...more }] },
  status,
});

const has = (cpu: string, conditions: PodStatus["conditions"] = []): PodStatus => ({
  conditions,
  containerStatuses: [
    {
      name: "c",
      ready: true,
      restartCount: 0,
      image: "",
      imageID: "",
      allocatedResources: { cpu },
      resources: { requests: { cpu } },
    },
  ],
});

const pending = (reason: string) => [{ type: "PodResizePending", status: "True", reason }];

test("a pod whose container is to grow counts as large as it will be", () => {
  assert.equal(podRequests(pod("500m", has("100m", pending("Deferred"))))["cpu"], 500);
});

test("a pod whose container is to shrink counts as large as it still is", () => {
  assert.equal(podRequests(pod("100m", has("500m")))["cpu"], 500);
});

test("what the node can never give does not count", () => {
  assert.equal(podRequests(pod("500", has("100m", pending("Infeasible"))))["cpu"], 100);
});

test("a pod asks for less once the node has taken back what it had", () => {
  assert.equal(asksForLess(pod("100m", has("500m")), pod("500m", has("500m"))), false);
  assert.equal(asksForLess(pod("100m", has("100m")), pod("100m", has("500m"))), true);
  assert.equal(asksForLess(pod("500m", has("100m")), pod("100m", has("100m"))), false);
});
