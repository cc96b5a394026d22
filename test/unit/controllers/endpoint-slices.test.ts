import assert from "node:assert/strict";
import { test } from "node:test";
import { endpoints, services } from "../../../src/api/generated/core-v1.ts";
import { endpointSlices } from "../../../src/api/generated/discovery-v1.ts";
import { endpointSliceController } from "../../../src/controllers/endpoint-slice.ts";
import { endpointSliceMirroringController } from "../../../src/controllers/endpoint-slice-mirroring.ts";
import { planMirrors } from "../../../src/controllers/endpoint-slice-mirroring-plan.ts";
import { endpointOf } from "../../../src/controllers/endpoint-slice-plan.ts";
import { endpointsController } from "../../../src/controllers/endpoints.ts";
import { planEndpoints } from "../../../src/controllers/endpoints-plan.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";

const namespace = "default";

test("[sig-network] EndpointSliceMirroring: custom Endpoints become slices, follow changes and go", async (t) => {
  const { client } = await startControlPlane(t, {
    controllers: [endpointSliceMirroringController, endpointSliceController, endpointsController],
  });
  const port = { name: "example", port: 80, protocol: "TCP" };
  await client.create(services, { metadata: { name: "custom", namespace }, spec: { ports: [{ ...port }] } });
  await client.create(endpoints, {
    metadata: { name: "custom", namespace, labels: { mine: "yes" }, annotations: { note: "kept" } },
    subsets: [{ addresses: [{ ip: "10.1.2.3" }], notReadyAddresses: [{ ip: "10.1.2.4" }], ports: [port] }],
  });
  const mirrored = async () =>
    (await client.list(endpointSlices, { namespace, labelSelector: "kubernetes.io/service-name=custom" })).items;
  await eventually(async () => {
    const [slice, ...more] = await mirrored();
    assert.deepEqual(more, []);
    assert.deepEqual(slice?.metadata.labels, {
      mine: "yes",
      "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
      "kubernetes.io/service-name": "custom",
    });
    assert.equal(slice?.metadata.annotations?.["note"], "kept");
    assert.equal(slice?.metadata.ownerReferences?.[0]?.kind, "Endpoints");
    assert.deepEqual(slice?.ports, [port]);
    assert.deepEqual(slice?.endpoints, [
      { addresses: ["10.1.2.3"], conditions: { ready: true } },
      { addresses: ["10.1.2.4"], conditions: { ready: false } },
    ]);
  });
  const [before] = await mirrored();
  const subsets = [{ addresses: [{ ip: "10.2.3.4" }, { ip: "fd00::1" }], ports: [port] }];
  await client.patch(endpoints, "custom", { type: "merge", body: { subsets } }, { namespace });
  await eventually(async () => {
    const slices = await mirrored();
    assert.deepEqual(slices.map(({ addressType }) => addressType).sort(), ["IPv4", "IPv6"]);
    const ipv4 = slices.find(({ addressType }) => addressType === "IPv4");
    assert.equal(ipv4?.metadata.uid, before?.metadata.uid);
    assert.deepEqual(
      ipv4?.endpoints?.map(({ addresses }) => addresses),
      [["10.2.3.4"]],
    );
  });
  await client.delete(endpoints, "custom", { namespace });
  await eventually(async () => assert.deepEqual(await mirrored(), []));

  // Endpoints go with their Service, whoever wrote them.
  await client.create(endpoints, { metadata: { name: "custom", namespace }, subsets });
  await eventually(async () => assert.equal((await mirrored()).length, 2));
  await client.delete(services, "custom", { namespace });
  await eventually(async () => {
    await assert.rejects(client.get(endpoints, "custom", { namespace }), { code: 404 });
    assert.deepEqual(await mirrored(), []);
  });
});

test("of Endpoints at most 1,000 addresses a subset are mirrored, and what is no address is counted", () => {
  const addresses = Array.from({ length: 1_200 }, (_, n) => ({ ip: `10.0.${Math.floor(n / 250)}.${n % 250}` }));
  const subsets = [{ addresses: [{ ip: "nowhere" }, ...addresses] }];
  const plan = planMirrors({ metadata: { name: "e", namespace, uid: "e" }, subsets }, []);
  assert.equal(plan.create[0]?.endpoints.length, 1_000);
  assert.deepEqual([plan.invalid, plan.skipped], [1, 201]);
});

test("trafficDistribution: ready endpoints say which zone, and which node, their traffic shall come from", () => {
  const pod = (ready: boolean) => ({
    metadata: { name: "p", namespace, uid: "p" },
    spec: { nodeName: "n1", containers: [] },
    status: { conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  });
  const hints = (trafficDistribution: string, ready = true, annotations = {}) =>
    endpointOf(
      { metadata: { name: "s", namespace, annotations }, spec: { trafficDistribution } },
      pod(ready),
      "10.0.0.1",
      "zone-a",
    ).hints;
  assert.deepEqual(hints("PreferClose"), { forZones: [{ name: "zone-a" }] });
  assert.deepEqual(hints("PreferSameZone"), { forZones: [{ name: "zone-a" }] });
  assert.deepEqual(hints("PreferSameNode"), { forZones: [{ name: "zone-a" }], forNodes: [{ name: "n1" }] });
  assert.equal(hints("PreferClose", false), undefined);
  assert.equal(hints("PreferClose", true, { "service.kubernetes.io/topology-mode": "Auto" }), undefined);
});

test("of more than 1,000 addresses of a Service the ready ones are shown first, and that some are missing", () => {
  const pods = Array.from({ length: 1_100 }, (_, n) => ({
    metadata: { name: `p${n}`, namespace, uid: `p${n}` },
    spec: { containers: [] },
    status: {
      podIP: `10.0.${Math.floor(n / 250)}.${n % 250}`,
      conditions: [{ type: "Ready", status: n < 500 ? "False" : "True" }],
    },
  }));
  const { subsets, truncated } = planEndpoints(
    { metadata: { name: "s", namespace }, spec: { clusterIP: "None" } },
    pods,
  );
  assert.equal(truncated, true);
  assert.equal(subsets[0]?.addresses?.length, 600);
  assert.equal(subsets[0]?.notReadyAddresses?.length, 400);
});
