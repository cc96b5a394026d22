import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ApiHarness } from "./harness.ts";

describe("kinds with several served versions", () => {
  let api: ApiHarness;
  before(async () => {
    api = await ApiHarness.start();
  });
  after(() => api.stop());

  test("an event is the same object in v1 and events.k8s.io/v1, and goes after an hour", async () => {
    const involvedObject = { kind: "Pod", namespace: "default", name: "p", apiVersion: "v1" };
    const metadata = { name: "e", namespace: "default" };
    const at = "2026-01-01T00:00:00Z";
    const event = {
      metadata,
      involvedObject,
      reason: "Test",
      message: "note",
      type: "Normal",
      firstTimestamp: at,
      lastTimestamp: at,
      count: 2,
    };
    const created = await api.post("/api/v1/namespaces/default/events", event);
    assert.equal(created.code, 201, created.text);
    const other = await api.get("/apis/events.k8s.io/v1/namespaces/default/events/e");
    assert.equal(other.code, 200);
    assert.equal(other.body.apiVersion, "events.k8s.io/v1");
    assert.equal(other.body.note, "note");
    assert.deepEqual(other.body.regarding, involvedObject);
    assert.equal(other.body.metadata.uid, created.body.metadata.uid);
    const watch = await api.watch(
      `/api/v1/namespaces/default/events?watch=1&resourceVersion=${created.body.metadata.resourceVersion}`,
    );
    await api.clock.advance(3600_000 + 2000);
    assert.equal((await watch.next()).type, "DELETED");
    watch.close();
    assert.equal((await api.get("/api/v1/namespaces/default/events/e")).code, 404);
  });

  test("an autoscaler written in v1 can be read in v2, and back", async () => {
    const spec = {
      scaleTargetRef: { kind: "Deployment", name: "web", apiVersion: "apps/v1" },
      maxReplicas: 5,
      targetCPUUtilizationPercentage: 70,
    };
    const at = (version: string) => `/apis/autoscaling/${version}/namespaces/default/horizontalpodautoscalers`;
    const created = await api.post(at("v1"), { metadata: { name: "h" }, spec });
    assert.equal(created.code, 201, created.text);
    const { body } = await api.get(`${at("v2")}/h`);
    assert.equal(body.apiVersion, "autoscaling/v2");
    assert.equal(body.spec.metrics[0].resource.target.averageUtilization, 70);
    const back = await api.get(`${at("v1")}/h`);
    assert.equal(back.body.spec.targetCPUUtilizationPercentage, 70);
    const { body: list } = await api.get(at("v2"));
    assert.equal(list.items[0].spec.metrics.length, 1);
  });
});
