import assert from "node:assert/strict";
import { test } from "node:test";
import { type Any, resource } from "./support.ts";

test("events of both groups are one object in the store", () => {
  const { storage } = resource("events.k8s.io/v1/events");
  assert.deepEqual(
    [storage?.group, storage?.version, storage?.prefix, storage?.ttlSeconds],
    ["", "v1", "events", 3600],
  );
  const event: Any = {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { name: "e" },
    note: "hello",
    regarding: { kind: "Pod", name: "p" },
    reportingController: "me",
    reportingInstance: "me-1",
    eventTime: null,
    action: "A",
    reason: "R",
    type: "Normal",
  };
  const stored: Any = storage!.toStorage!(event);
  assert.deepEqual(
    [stored.apiVersion, stored.message, stored.involvedObject, stored.reportingComponent],
    ["v1", "hello", { kind: "Pod", name: "p" }, "me"],
  );
  const back: Any = storage!.fromStorage!(stored);
  assert.deepEqual(
    [back.apiVersion, back.note, back.regarding, back.reportingController],
    ["events.k8s.io/v1", "hello", { kind: "Pod", name: "p" }, "me"],
  );
});

test("an autoscaler survives the way through version 1", () => {
  const { storage } = resource("autoscaling/v1/horizontalpodautoscalers");
  assert.equal(storage?.version, "v2");
  const spec = {
    scaleTargetRef: { kind: "Deployment", name: "d" },
    minReplicas: 1,
    maxReplicas: 3,
    metrics: [
      { type: "Resource", resource: { name: "memory", target: { type: "Utilization", averageUtilization: 50 } } },
      { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 60 } } },
    ],
    behavior: { scaleDown: { stabilizationWindowSeconds: 5 } },
  };
  const object: Any = { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: { name: "h" }, spec };
  const old: Any = storage!.fromStorage!(object);
  assert.equal(old.spec.targetCPUUtilizationPercentage, 60);
  const back: Any = storage!.toStorage!(old);
  assert.deepEqual(back.spec, spec);
  assert.equal(back.metadata.annotations, undefined);
});
