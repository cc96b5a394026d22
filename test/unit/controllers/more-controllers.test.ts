import assert from "node:assert/strict";
import { test } from "node:test";
import {
  events,
  nodes,
  type Pod,
  pods,
  secrets,
  serviceAccounts,
  services,
} from "../../../src/api/generated/core-v1.ts";
import { ipAddresses, serviceCIDRs } from "../../../src/api/generated/networking-v1.ts";
import { resourceClaims, resourceClaimTemplates } from "../../../src/api/generated/resource-v1.ts";
import { garbageCollector } from "../../../src/controllers/garbage-collector.ts";
import { nodeTtlController } from "../../../src/controllers/node-ttl.ts";
import { resourceClaimController } from "../../../src/controllers/resource-claim.ts";
import { serviceAddressesController, serviceCidrsController } from "../../../src/controllers/service-cidrs.ts";
import { tokenCleaner } from "../../../src/controllers/token-cleaner.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { readyNode } from "../../support/hollow-nodes.ts";

const namespace = "default";

/** Waits for what controllers bring about whose clock is this one: a write that lost a race is tried again by it. */
const inTime = <T>(clock: FakeClock, check: () => Promise<T>): Promise<T> =>
  eventually(async () => {
    await clock.advance(100);
    return check();
  });

test("[sig-network] ServiceCIDR and IPAddress: the range and each address are shown, and a range in use stays", async (t) => {
  const clock = new FakeClock(Date.now());
  const { client } = await startControlPlane(t, {
    controllers: [serviceCidrsController, serviceAddressesController],
    config: { serviceCidrs: ["10.43.0.0/16"] },
    clock,
  });
  const ready = (name: string) =>
    inTime(clock, async () => {
      const { metadata, status } = await client.get(serviceCIDRs, name);
      assert.equal(status?.conditions?.find(({ type }) => type === "Ready")?.status, "True");
      assert.deepEqual(metadata.finalizers, ["networking.k8s.io/service-cidr-finalizer"]);
    });
  await ready("kubernetes");
  await inTime(clock, async () => {
    const { metadata, spec } = await client.get(ipAddresses, "10.43.0.1");
    assert.deepEqual(spec?.parentRef, { resource: "services", namespace, name: "kubernetes" });
    assert.deepEqual(metadata.labels, {
      "ipaddress.kubernetes.io/ip-family": "IPv4",
      "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
  });
  const made = await client.create(services, { metadata: { name: "s", namespace }, spec: { ports: [{ port: 80 }] } });
  const ip = made.spec?.clusterIP ?? "";
  await inTime(clock, () => client.get(ipAddresses, ip));
  // What is taken away while its service stands comes back.
  const { uid } = (await client.get(ipAddresses, ip)).metadata;
  await client.delete(ipAddresses, ip);
  await inTime(clock, async () => assert.notEqual((await client.get(ipAddresses, ip)).metadata.uid, uid));

  const before = (await client.get(serviceCIDRs, "kubernetes")).metadata.uid;
  await client.delete(serviceCIDRs, "kubernetes");
  await inTime(clock, async () => {
    const { status } = await client.get(serviceCIDRs, "kubernetes");
    const condition = status?.conditions?.find(({ type }) => type === "Ready");
    assert.deepEqual([condition?.status, condition?.reason], ["False", "Terminating"]);
  });
  await client.delete(services, "s", { namespace });
  await inTime(clock, () => assert.rejects(client.get(ipAddresses, ip), { code: 404 }));
  // A range that another one covers may go.
  await client.create(serviceCIDRs, { metadata: { name: "wider" }, spec: { cidrs: ["10.42.0.0/15"] } });
  await ready("wider");
  await eventually(async () => {
    await clock.advance(11_000);
    // The cluster's own range is made anew.
    assert.notEqual((await client.get(serviceCIDRs, "kubernetes")).metadata.uid, before);
  });
});

test("[sig-node] DRA: claims are made from templates, named in the pod's status, and given back when it is over", async (t) => {
  const { client } = await startControlPlane(t, { controllers: [resourceClaimController, garbageCollector] });
  await client.create(serviceAccounts, { metadata: { name: "default", namespace } });
  const pod: Pod = {
    metadata: { name: "p", namespace },
    spec: {
      nodeName: "n",
      automountServiceAccountToken: false,
      containers: [{ name: "c", image: "i", resources: { claims: [{ name: "card" }] } }],
      resourceClaims: [{ name: "card", resourceClaimTemplateName: "cards" }],
    },
  };
  await client.create(pods, pod);
  await eventually(async () => {
    const { items } = await client.list(events, { namespace, fieldSelector: "reason=FailedResourceClaimCreation" });
    assert.match(items[0]?.message ?? "", /^PodResourceClaim card: resource claim template "cards": /);
  });
  const requests = [{ name: "r", exactly: { deviceClassName: "cards.example.com" } }];
  await client.create(resourceClaimTemplates, {
    metadata: { name: "cards", namespace },
    spec: { metadata: { labels: { from: "template" } }, spec: { devices: { requests } } },
  });
  const name = await eventually(async () => {
    const { status } = await client.get(pods, "p", { namespace });
    const [claim] = status?.resourceClaimStatuses ?? [];
    assert.ok(claim?.resourceClaimName?.startsWith("p-card-"));
    return claim?.resourceClaimName ?? "";
  });
  const claim = structuredClone(await client.get(resourceClaims, name, { namespace }));
  assert.equal(claim.metadata.labels?.["from"], "template");
  assert.equal(claim.metadata.annotations?.["resource.kubernetes.io/pod-claim-name"], "card");
  assert.equal(claim.metadata.ownerReferences?.[0]?.controller, true);
  // A scheduler allocates it; the pod is on its node already, so it is reserved here.
  claim.metadata.finalizers = ["resource.kubernetes.io/delete-protection"];
  const held = await client.update(resourceClaims, claim);
  const allocation = { devices: { results: [{ request: "r", driver: "d.example.com", pool: "a", device: "b" }] } };
  await client.update(resourceClaims, { ...structuredClone(held), status: { allocation } }, { subresource: "status" });
  const { uid } = (await client.get(pods, "p", { namespace })).metadata;
  await eventually(async () => {
    const { status } = await client.get(resourceClaims, name, { namespace });
    assert.deepEqual(status?.reservedFor, [{ resource: "pods", name: "p", uid }]);
  });
  const over = { status: { phase: "Succeeded" } };
  await client.patch(pods, "p", { type: "merge", body: over }, { namespace, subresource: "status" });
  await eventually(() => assert.rejects(client.get(resourceClaims, name, { namespace }), { code: 404 }));
});

test("nodes are told how long they may keep what they mount, and expired bootstrap tokens go", async (t) => {
  const clock = new FakeClock(Date.now());
  const { client } = await startControlPlane(t, { controllers: [nodeTtlController, tokenCleaner], clock });
  await client.create(nodes, readyNode("one"));
  await inTime(clock, async () => {
    const { metadata } = await client.get(nodes, "one");
    assert.equal(metadata.annotations?.["node.alpha.kubernetes.io/ttl"], "0");
  });
  const token = (name: string, expiration: string) =>
    client.create(secrets, {
      metadata: { name: `bootstrap-token-${name}`, namespace: "kube-system" },
      type: "bootstrap.kubernetes.io/token",
      stringData: { "token-id": name, "token-secret": "0123456789abcdef", expiration },
    });
  const inAnHour = new Date(Date.now() + 3_600_000).toISOString();
  await token("aaaaaa", "2020-01-01T00:00:00Z");
  await token("bbbbbb", inAnHour);
  const gone = (name: string) =>
    assert.rejects(client.get(secrets, `bootstrap-token-${name}`, { namespace: "kube-system" }), { code: 404 });
  await inTime(clock, () => gone("aaaaaa"));
  await client.get(secrets, "bootstrap-token-bbbbbb", { namespace: "kube-system" });
  await eventually(async () => {
    await clock.advance(3_700_000);
    await gone("bbbbbb");
  });
});
