import assert from "node:assert/strict";
import { test } from "node:test";
import {
  changedBetween,
  changedFrom,
  needsRestart,
  reportedResources,
} from "../../../../src/agent/kubelet/container-resources.ts";
import { container } from "./pod-fixture.ts";

const has = { cpuShares: 102, cpuQuota: 20_000, cpuPeriod: 100_000, memoryLimitInBytes: 64 * 1024 ** 2 };

test("amounts written in another way are the same", () => {
  assert.deepEqual(changedBetween({ requests: { cpu: "1" } }, { requests: { cpu: "1000m" } }), []);
  assert.deepEqual(changedBetween({ limits: { memory: "1Gi" } }, { limits: { memory: "1024Mi" } }), []);
  assert.deepEqual(changedBetween({ requests: { cpu: "1" } }, { requests: { cpu: "2", memory: "1Mi" } }), [
    "cpu",
    "memory",
  ]);
  assert.deepEqual(changedBetween({ requests: { "example.com/x": "1" } }, {}), []);
});

test("no quota is no quota, however the runtime writes it", () => {
  const none = { ...has, cpuQuota: -1, memoryLimitInBytes: 0 };
  assert.deepEqual(changedFrom(none, { cpuShares: 102 }), []);
  assert.deepEqual(changedFrom(has, { cpuShares: 102, cpuQuota: 20_000, memoryLimitInBytes: 1 }), ["memory"]);
});

test("what the runtime has is said in the words of the spec where it is the same", () => {
  const resources = { requests: { cpu: "0.1", memory: "32Mi" }, limits: { cpu: "0.2", memory: "65536Ki" } };
  assert.deepEqual(reportedResources(container("c", { resources }), has), resources);
  const larger = { requests: { cpu: "1", memory: "64Mi" }, limits: { cpu: "2", memory: "1Gi" } };
  assert.deepEqual(reportedResources(container("c", { resources: larger }), has), {
    requests: { cpu: "100m", memory: "64Mi" },
    limits: { cpu: "200m", memory: "64Mi" },
  });
  assert.deepEqual(reportedResources(container("c"), has), {});
});

test("only a policy of what changes asks for a restart", () => {
  const resizePolicy = [
    { resourceName: "cpu", restartPolicy: "NotRequired" },
    { resourceName: "memory", restartPolicy: "RestartContainer" },
  ];
  assert.equal(needsRestart(container("c", { resizePolicy }), ["cpu"]), false);
  assert.equal(needsRestart(container("c", { resizePolicy }), ["cpu", "memory"]), true);
  assert.equal(needsRestart(container("c"), ["memory"]), false);
});
