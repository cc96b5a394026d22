import assert from "node:assert/strict";
import { test } from "node:test";
import { customResourceDefinitions } from "../../../src/api/generated/apiextensions-v1.ts";
import { deployments } from "../../../src/api/generated/apps-v1.ts";
import {
  configMaps,
  namespaces,
  type Pod,
  persistentVolumeClaims,
  pods,
  resourceQuotas,
  serviceAccounts,
  services,
} from "../../../src/api/generated/core-v1.ts";
import { addAmounts, podAmounts } from "../../../src/api/quota/pod-usage.ts";
import { inScopes } from "../../../src/api/quota/scopes.ts";
import { namesFor, usageOf } from "../../../src/api/quota/usage.ts";
import type { Client } from "../../../src/client/client.ts";
import { resourceQuotaController } from "../../../src/controllers/resource-quota.ts";
import type { ResourceType } from "../../../src/machinery/object.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";

const namespace = "counted";

const pod = (name: string, spec: Partial<Pod["spec"]> = {}, resources: object = {}): Pod => ({
  metadata: { name, namespace },
  spec: { automountServiceAccountToken: false, containers: [{ name: "c", image: "i", resources }], ...spec },
});

async function start(t: Parameters<typeof startControlPlane>[0]) {
  const { client } = await startControlPlane(t, { controllers: [resourceQuotaController] });
  await client.create(namespaces, { metadata: { name: namespace } });
  await client.create(serviceAccounts, { metadata: { name: "default", namespace } });
  return client;
}

async function used(client: Client, name: string, wanted: Record<string, string>): Promise<void> {
  await eventually(async () => {
    const { status } = await client.get(resourceQuotas, name, { namespace });
    assert.deepEqual(status?.used, wanted);
  });
}

test("[sig-api-machinery] ResourceQuota: the life of a pod, a service, a claim and of plain counts shows in status.used", async (t) => {
  const client = await start(t);
  const hard = {
    pods: "5",
    "requests.cpu": "2",
    "limits.memory": "1Gi",
    "requests.example.com/card": "3",
    services: "5",
    "services.nodeports": "5",
    "services.loadbalancers": "1",
    persistentvolumeclaims: "5",
    "requests.storage": "5Gi",
    "gold.storageclass.storage.k8s.io/requests.storage": "5Gi",
    configmaps: "5",
    "count/deployments.apps": "2",
    "count/pods": "9",
  };
  const nothing = Object.fromEntries(Object.keys(hard).map((name) => [name, "0"]));
  await client.create(resourceQuotas, { metadata: { name: "q", namespace }, spec: { hard } });
  await used(client, "q", nothing);

  const resources = {
    requests: { cpu: "500m", "example.com/card": "2" },
    limits: { memory: "252Mi", "example.com/card": "2" },
  };
  await client.create(pods, pod("a", {}, resources));
  const ofPod = {
    pods: "1",
    "count/pods": "1",
    "requests.cpu": "500m",
    "limits.memory": "252Mi",
    "requests.example.com/card": "2",
  };
  await used(client, "q", { ...nothing, ...ofPod });
  await assert.rejects(client.create(pods, pod("b", {}, resources)), (error: Error) => {
    assert.match(
      error.message,
      /exceeded quota: q, requested: requests.example.com\/card=2, used: requests.example.com\/card=2, limited: requests.example.com\/card=3/,
    );
    return true;
  });
  // A pod that is over holds nothing but its entry.
  await client.patch(
    pods,
    "a",
    { type: "merge", body: { status: { phase: "Succeeded" } } },
    { namespace, subresource: "status" },
  );
  await used(client, "q", { ...nothing, "count/pods": "1" });
  await client.delete(pods, "a", { namespace, gracePeriodSeconds: 0 });
  await used(client, "q", nothing);

  const ports = [
    { name: "a", port: 80 },
    { name: "b", port: 81 },
  ];
  await client.create(services, { metadata: { name: "s", namespace }, spec: { type: "NodePort", ports } });
  await client.create(persistentVolumeClaims, {
    metadata: { name: "c", namespace },
    spec: {
      accessModes: ["ReadWriteOnce"],
      storageClassName: "gold",
      resources: { requests: { storage: "1Gi" } },
    },
  });
  await client.create(configMaps, { metadata: { name: "m", namespace } });
  const labels = { app: "d" };
  await client.create(deployments, {
    metadata: { name: "d", namespace },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  });
  const more = {
    services: "1",
    "services.nodeports": "2",
    persistentvolumeclaims: "1",
    "requests.storage": "1Gi",
    "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
    configmaps: "1",
    "count/deployments.apps": "1",
  };
  await used(client, "q", { ...nothing, ...more });
  // An update can take more, too.
  await assert.rejects(
    client.patch(
      services,
      "s",
      {
        type: "merge",
        body: { spec: { type: "LoadBalancer", ports: [1, 2, 3, 4, 5, 6].map((n) => ({ name: `p${n}`, port: n })) } },
      },
      { namespace },
    ),
    /exceeded quota: q, requested: services.nodeports=4, used: services.nodeports=2, limited: services.nodeports=5/,
  );
  await client.patch(services, "s", { type: "merge", body: { spec: { type: "LoadBalancer" } } }, { namespace });
  await used(client, "q", { ...nothing, ...more, "services.loadbalancers": "1" });
  await client.delete(services, "s", { namespace });
  await client.delete(configMaps, "m", { namespace });
  await client.delete(deployments, "d", { namespace });
  await used(client, "q", {
    ...nothing,
    persistentvolumeclaims: "1",
    "requests.storage": "1Gi",
    "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
  });
});

test("[sig-api-machinery] ResourceQuota: scopes and the scope selector choose the pods that count", async (t) => {
  const client = await start(t);
  const quota = (name: string, spec: object) =>
    client.create(resourceQuotas, { metadata: { name, namespace }, spec: { hard: { pods: "5" }, ...spec } });
  await quota("best-effort", { scopes: ["BestEffort"] });
  await quota("not-best-effort", { scopes: ["NotBestEffort"] });
  await quota("terminating", { scopes: ["Terminating"] });
  await quota("not-terminating", { scopes: ["NotTerminating"] });
  const matchExpressions = [{ scopeName: "PriorityClass", operator: "In", values: ["system-node-critical"] }];
  await quota("critical", { scopeSelector: { matchExpressions }, hard: { pods: "1" } });
  await client.create(pods, pod("effortless", { activeDeadlineSeconds: 3600 }));
  await client.create(pods, pod("sized", {}, { requests: { cpu: "1" } }));
  await client.create(pods, pod("critical", { priorityClassName: "system-node-critical" }));
  await used(client, "best-effort", { pods: "2" });
  await used(client, "not-best-effort", { pods: "1" });
  await used(client, "terminating", { pods: "1" });
  await used(client, "not-terminating", { pods: "2" });
  await used(client, "critical", { pods: "1" });
  await assert.rejects(
    client.create(pods, pod("more", { priorityClassName: "system-node-critical" })),
    /exceeded quota: critical, requested: pods=1, used: pods=1, limited: pods=1/,
  );
  await client.create(pods, pod("common"));
});

test("[sig-api-machinery] ResourceQuota: custom resources are counted, a changed status and spec are brought up to date", async (t) => {
  const client = await start(t);
  const names = { plural: "gadgets", singular: "gadget", kind: "Gadget", listKind: "GadgetList" };
  const schema = { openAPIV3Schema: { type: "object" } };
  const versions = [{ name: "v1", served: true, storage: true, schema }];
  await client.create(customResourceDefinitions, {
    metadata: { name: "gadgets.example.com" },
    spec: { group: "example.com", scope: "Namespaced", names, versions },
  });
  const gadgets: ResourceType = {
    group: "example.com",
    version: "v1",
    resource: "gadgets",
    kind: "Gadget",
    namespaced: true,
  };
  const key = "count/gadgets.example.com";
  await client.create(resourceQuotas, { metadata: { name: "q", namespace }, spec: { hard: { [key]: "1" } } });
  await used(client, "q", { [key]: "0" });
  const gadget = (name: string) => ({
    apiVersion: "example.com/v1",
    kind: "Gadget",
    metadata: { name, namespace },
  });
  await eventually(() => client.create(gadgets, gadget("one"), { namespace }));
  await used(client, "q", { [key]: "1" });
  await assert.rejects(client.create(gadgets, gadget("two"), { namespace }), /exceeded quota: q/);
  await client.delete(gadgets, "one", { namespace });
  await used(client, "q", { [key]: "0" });

  const wrong = { status: { hard: { [key]: "7" }, used: { [key]: "6" } } };
  await client.patch(resourceQuotas, "q", { type: "merge", body: wrong }, { namespace, subresource: "status" });
  await used(client, "q", { [key]: "0" });
  await client.patch(resourceQuotas, "q", { type: "merge", body: { spec: { hard: { [key]: "2" } } } }, { namespace });
  await eventually(async () => {
    const { status } = await client.get(resourceQuotas, "q", { namespace });
    assert.deepEqual(status, { hard: { [key]: "2" }, used: { [key]: "0" } });
  });
});

test("a pod counts by what it sets as a whole, by its peak, and no longer when it is overdue to be gone", () => {
  const resources = { requests: { cpu: "1" } };
  const initContainers = [{ name: "i", image: "i", resources: { requests: { cpu: "3" } } }];
  const text = (amounts: ReturnType<typeof podAmounts>) =>
    Object.fromEntries([...amounts].map(([name, amount]) => [name, String(amount)]));
  assert.deepEqual(text(podAmounts(pod("a", { initContainers }, resources), "requests")), { cpu: "3" });
  const whole = pod(
    "b",
    { resources: { requests: { cpu: "5" } }, overhead: { cpu: "250m", memory: "1Mi" } },
    resources,
  );
  assert.deepEqual(text(podAmounts(whole, "requests")), { cpu: "5250m", memory: "1Mi" });
  assert.deepEqual(text(podAmounts(whole, "limits")), {});
  const counted = { group: "", resource: "pods" };
  const gone = pod("c", {}, resources);
  gone.metadata.deletionTimestamp = "2026-01-01T00:00:30Z";
  gone.metadata.deletionGracePeriodSeconds = 30;
  const atMs = Date.parse("2026-01-01T00:01:00Z");
  assert.equal(usageOf(counted, gone, atMs).has("pods"), true);
  assert.equal(usageOf(counted, gone, atMs + 1).has("pods"), false);
  const sum = usageOf(counted, gone, atMs);
  addAmounts(sum, usageOf(counted, gone, atMs));
  assert.equal(String(sum.get("requests.cpu")), "2");
});

test("a quota's names belong to the kinds that can take from them, and scopes to pods and claims only", () => {
  const names = ["pods", "cpu", "requests.storage", "services", "count/pods", "hugepages-2Mi", "requests.a.com/x"];
  assert.deepEqual(namesFor({ group: "", resource: "pods" }, names), [
    "pods",
    "cpu",
    "count/pods",
    "hugepages-2Mi",
    "requests.a.com/x",
  ]);
  assert.deepEqual(namesFor({ group: "", resource: "persistentvolumeclaims" }, names), ["requests.storage"]);
  assert.deepEqual(namesFor({ group: "apps", resource: "deployments" }, names), []);
  const cross = { scopes: ["CrossNamespacePodAffinity"] };
  const term = { topologyKey: "zone", namespaces: ["other"] };
  const affinity = { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
  const counted = { group: "", resource: "pods" };
  assert.equal(inScopes(cross, counted, pod("a", { affinity })), true);
  assert.equal(inScopes(cross, counted, pod("a")), false);
  assert.equal(inScopes(cross, { group: "", resource: "services" }, { metadata: {} }), false);
  const byClass = {
    scopeSelector: {
      matchExpressions: [{ scopeName: "VolumeAttributesClass", operator: "In", values: ["fast"] }],
    },
  };
  const claim = { metadata: {}, spec: { volumeAttributesClassName: "fast" } };
  assert.equal(inScopes(byClass, { group: "", resource: "persistentvolumeclaims" }, claim), true);
});
