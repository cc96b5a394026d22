/** Resource quotas, as their conformance tests ask. */
import assert from "node:assert/strict";
import { replicaSets } from "../../src/api/generated/apps-v1.ts";
import {
  configMaps,
  type Pod,
  pods,
  replicationControllers,
  resourceQuotas,
  type Service,
  secrets,
  services,
} from "../../src/api/generated/core-v1.ts";
import { parseQuantity } from "../../src/machinery/quantity.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { isGone, soon, watchUntil } from "./waiting.ts";

const area = "[sig-api-machinery] ResourceQuota should";
const name = "quota";

const hard = {
  pods: "5",
  services: "10",
  "services.nodeports": "1",
  "services.loadbalancers": "1",
  replicationcontrollers: "10",
  resourcequotas: "1",
  cpu: "1",
  memory: "500Mi",
  configmaps: "10",
  secrets: "10",
  persistentvolumeclaims: "10",
  "requests.storage": "10Gi",
  "requests.ephemeral-storage": "50Gi",
  "count/replicasets.apps": "5",
  "requests.example.com/dongle": "3",
};

/** Waits until a quota's status says that this is used. */
async function isUsed({ client, namespace }: Cluster, used: Record<string, string>, of = name): Promise<void> {
  await soon(async () => {
    const { status } = await client.get(resourceQuotas, of, { namespace });
    for (const [resource, amount] of Object.entries(used)) {
      const found = status?.used?.[resource];
      assert.ok(found !== undefined, `${resource} is not counted`);
      assert.equal(parseQuantity(found).compare(parseQuantity(amount)), 0, `${resource}: ${found}, not ${amount}`);
    }
  });
}

async function makeQuota(cluster: Cluster, more: Record<string, string> = {}): Promise<void> {
  const { client, namespace } = cluster;
  await client.create(
    resourceQuotas,
    { metadata: { name, namespace }, spec: { hard: { ...hard, ...more } } },
    { namespace },
  );
  await isUsed(cluster, { pods: "0", services: "0", resourcequotas: "1", cpu: "0", "count/replicasets.apps": "0" });
}

conformance(
  `${area} create a ResourceQuota and ensure its status is promptly calculated. [Conformance]`,
  (_, cluster) => makeQuota(cluster),
);

conformance(`${area} create a ResourceQuota and capture the life of a service. [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await makeQuota(cluster);
  const make = (name: string, type: string, more: Partial<Service["spec"]> = {}) =>
    client.create(
      services,
      { metadata: { name, namespace }, spec: { type, ports: [{ port: 80 }], ...more } },
      { namespace },
    );
  await make("a", "ClusterIP");
  await make("b", "NodePort");
  await assert.rejects(make("c", "LoadBalancer"), {
    code: 403,
    message: /exceeded quota: quota, requested: services\.nodeports=1/,
  });
  await make("c", "LoadBalancer", { allocateLoadBalancerNodePorts: false });
  await isUsed(cluster, { services: "3", "services.nodeports": "1", "services.loadbalancers": "1" });
  for (const service of ["a", "b", "c"]) await client.delete(services, service, { namespace });
  await isUsed(cluster, { services: "0", "services.nodeports": "0", "services.loadbalancers": "0" });
});

conformance(`${area} create a ResourceQuota and capture the life of a secret. [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await makeQuota(cluster);
  await isUsed(cluster, { secrets: "0" });
  await client.create(secrets, { metadata: { name: "s", namespace }, data: { a: "YQ==" } }, { namespace });
  await isUsed(cluster, { secrets: "1" });
  await client.delete(secrets, "s", { namespace });
  await isUsed(cluster, { secrets: "0" });
});

conformance(`${area} create a ResourceQuota and capture the life of a configMap. [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  // The one with the cluster's authority comes to every namespace, and counts.
  await soon(() => client.get(configMaps, "kube-root-ca.crt", { namespace }));
  await makeQuota(cluster);
  await isUsed(cluster, { configmaps: "1" });
  await client.create(configMaps, { metadata: { name: "m", namespace }, data: { a: "b" } }, { namespace });
  await isUsed(cluster, { configmaps: "2" });
  await client.delete(configMaps, "m", { namespace });
  await isUsed(cluster, { configmaps: "1" });
});

const container = (requests: Record<string, string>, limits: Record<string, string> = {}) => ({
  name: "c",
  image: "i",
  resources: { requests, limits },
});

function makePod({ client, namespace }: Cluster, podName: string, spec: NonNullable<Pod["spec"]>): Promise<Pod> {
  return client.create(pods, { metadata: { name: podName, namespace }, spec }, { namespace });
}

conformance(`${area} create a ResourceQuota and capture the life of a pod. [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await makeQuota(cluster);
  const dongles = { "example.com/dongle": "2" };
  const requests = { cpu: "500m", memory: "252Mi", "ephemeral-storage": "30Gi", ...dongles };
  await makePod(cluster, "fits", { containers: [container(requests, dongles)] });
  const used = {
    pods: "1",
    cpu: "500m",
    memory: "252Mi",
    "requests.ephemeral-storage": "30Gi",
    "requests.example.com/dongle": "2",
  };
  await isUsed(cluster, used);
  const refused = { code: 403, message: /exceeded quota: quota/ };
  const large = container({ cpu: "600m", memory: "100Mi", "ephemeral-storage": "1Gi" });
  await assert.rejects(makePod(cluster, "large", { containers: [large] }), refused);
  const greedy = container({ cpu: "100m", memory: "1Mi", "ephemeral-storage": "1Gi", ...dongles }, dongles);
  await assert.rejects(makePod(cluster, "greedy", { containers: [greedy] }), refused);

  const present = await client.get(pods, "fits", { namespace });
  const more = { ...requests, cpu: "1", memory: "253Mi" };
  const changed = { ...present, spec: { ...present.spec, containers: [container(more, dongles)] } };
  await assert.rejects(client.update(pods, changed as Pod, { namespace }));
  await isUsed(cluster, used);
  await client.delete(pods, "fits", { namespace, gracePeriodSeconds: 0 });
  await isUsed(cluster, {
    pods: "0",
    cpu: "0",
    memory: "0",
    "requests.ephemeral-storage": "0",
    "requests.example.com/dongle": "0",
  });
});

const template = { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } };

conformance(
  `${area} create a ResourceQuota and capture the life of a replication controller. [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await makeQuota(cluster);
    await isUsed(cluster, { replicationcontrollers: "0" });
    const spec = { replicas: 0, selector: { a: "b" }, template };
    await client.create(replicationControllers, { metadata: { name: "r", namespace }, spec }, { namespace });
    await isUsed(cluster, { replicationcontrollers: "1" });
    // Its pods, had it any, would stay: what counts is the controller itself.
    await client.delete(replicationControllers, "r", { namespace, propagationPolicy: "Orphan" });
    await isUsed(cluster, { replicationcontrollers: "0" });
  },
);

conformance(
  `${area} create a ResourceQuota and capture the life of a replica set. [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await makeQuota(cluster);
    const spec = { replicas: 0, selector: { matchLabels: { a: "b" } }, template };
    await client.create(replicaSets, { metadata: { name: "r", namespace }, spec }, { namespace });
    await isUsed(cluster, { "count/replicasets.apps": "1" });
    await client.delete(replicaSets, "r", { namespace });
    await isUsed(cluster, { "count/replicasets.apps": "0" });
  },
);

conformance(`${area} be able to update and delete ResourceQuota. [Conformance]`, async (_, { client, namespace }) => {
  const scope = { namespace };
  const made = await client.create(
    resourceQuotas,
    { metadata: { name, namespace }, spec: { hard: { cpu: "1", memory: "500Mi" } } },
    scope,
  );
  assert.deepEqual(made.spec?.hard, { cpu: "1", memory: "500Mi" });
  assert.deepEqual((await client.get(resourceQuotas, name, scope)).spec?.hard, made.spec?.hard);
  const wanted = { cpu: "2", memory: "1Gi" };
  const updated = await soon(async () => {
    const present = await client.get(resourceQuotas, name, scope);
    return client.update(resourceQuotas, { ...present, spec: { hard: wanted } }, scope);
  });
  assert.deepEqual(updated.spec?.hard, wanted);
  assert.deepEqual((await client.get(resourceQuotas, name, scope)).spec?.hard, wanted);
  await client.delete(resourceQuotas, name, scope);
  await isGone(client, resourceQuotas, name, scope);
});

conformance(`${area} manage the lifecycle of a ResourceQuota [Conformance]`, async (_, { client, namespace }) => {
  const scope = { namespace };
  const labels = { life: namespace };
  const made = await client.create(
    resourceQuotas,
    { metadata: { name, namespace, labels }, spec: { hard: { cpu: "1" } } },
    scope,
  );
  assert.equal((await client.get(resourceQuotas, name, scope)).metadata.uid, made.metadata.uid);
  const labelSelector = `life=${namespace}`;
  assert.equal((await client.list(resourceQuotas, { labelSelector })).items.length, 1);
  const body = { metadata: { labels: { patched: "yes" } }, spec: { hard: { memory: "750Mi" } } };
  const patched = await client.patch(resourceQuotas, name, { type: "strategic", body }, scope);
  assert.deepEqual([patched.metadata.labels?.["patched"], patched.spec?.hard?.["memory"]], ["yes", "750Mi"]);
  assert.ok(isLater(patched, made));
  await client.deleteCollection(resourceQuotas, { ...scope, labelSelector: "patched=yes" });
  await isGone(client, resourceQuotas, name, scope);
});

conformance(`${area} apply changes to a resourcequota status [Conformance]`, async (_, { client, namespace }) => {
  const scope = { namespace };
  const status = { namespace, subresource: "status" };
  const limits = { cpu: "500m", memory: "500Mi" };
  const made = await client.create(resourceQuotas, { metadata: { name, namespace }, spec: { hard: limits } }, scope);
  await soon(async () => assert.deepEqual((await client.get(resourceQuotas, name, status)).status?.hard, limits));

  // The controller puts right what is not so: the watch shows what was written before it does.
  const seen = (cpu: string) =>
    watchUntil(client, resourceQuotas, { namespace, resourceVersion: made.metadata.resourceVersion! }, ({ object }) =>
      Boolean(object.status?.hard?.["cpu"] === cpu && object.spec?.hard?.["cpu"] === "500m"),
    );
  const updated = await soon(async () => {
    const present = await client.get(resourceQuotas, name, scope);
    return client.update(resourceQuotas, { ...present, status: { hard: { cpu: "750m", memory: "750Mi" } } }, status);
  });
  assert.deepEqual(updated.status?.hard, { cpu: "750m", memory: "750Mi" });
  assert.deepEqual(updated.spec?.hard, limits);
  await seen("750m");
  const body = { spec: { hard: { cpu: "3" } }, status: { hard: { cpu: "250m", memory: "250Mi" } } };
  const patched = await client.patch(resourceQuotas, name, { type: "strategic", body }, status);
  assert.deepEqual([patched.status?.hard?.["cpu"], patched.spec?.hard?.["cpu"]], ["250m", "500m"]);
  await seen("250m");
  assert.deepEqual((await client.get(resourceQuotas, name, status)).spec?.hard, limits);
});

/** Two quotas of complementary scopes, and pods of which each one counts. */
async function dividesPods(
  cluster: Cluster,
  quotas: readonly [string, string],
  resources: readonly string[],
  specs: readonly [NonNullable<Pod["spec"]>, NonNullable<Pod["spec"]>],
): Promise<void> {
  const { client, namespace } = cluster;
  const limits = {
    pods: "5",
    "requests.cpu": "1",
    "requests.memory": "500Mi",
    "limits.cpu": "2",
    "limits.memory": "1Gi",
  };
  const of = (scope: string) => scope.toLowerCase();
  for (const scope of quotas) {
    const countsAll = scope === "BestEffort" ? { pods: "5" } : limits;
    const wanted = Object.fromEntries(Object.entries(countsAll).filter(([resource]) => resources.includes(resource)));
    const spec = { hard: wanted, scopes: [scope] };
    await client.create(resourceQuotas, { metadata: { name: of(scope), namespace }, spec }, { namespace });
    await isUsed(cluster, { pods: "0" }, of(scope));
  }
  for (const [index, spec] of specs.entries()) {
    await makePod(cluster, "p", spec);
    const [counts, other] = index === 0 ? quotas : [quotas[1], quotas[0]];
    await isUsed(cluster, { pods: "1" }, of(counts));
    await isUsed(cluster, { pods: "0" }, of(other));
    const { status } = await client.get(resourceQuotas, of(counts), { namespace });
    if (status?.used?.["requests.cpu"])
      await isUsed(cluster, { "requests.cpu": "500m", "limits.memory": "400Mi" }, of(counts));
    await client.delete(pods, "p", { namespace, gracePeriodSeconds: 0 });
    await isUsed(cluster, { pods: "0" }, of(counts));
  }
}

const sized = container({ cpu: "500m", memory: "200Mi" }, { cpu: "1", memory: "400Mi" });
const allResources = ["pods", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

conformance(`${area} verify ResourceQuota with terminating scopes. [Conformance]`, (_, cluster) =>
  dividesPods(cluster, ["NotTerminating", "Terminating"], allResources, [
    { containers: [sized] },
    { containers: [sized], activeDeadlineSeconds: 3600 },
  ]),
);

conformance(`${area} verify ResourceQuota with best effort scope. [Conformance]`, (_, cluster) =>
  dividesPods(
    cluster,
    ["BestEffort", "NotBestEffort"],
    ["pods"],
    [{ containers: [{ name: "c", image: "i" }] }, { containers: [sized] }],
  ),
);
