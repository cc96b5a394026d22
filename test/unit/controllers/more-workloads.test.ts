import assert from "node:assert/strict";
import { test } from "node:test";
import { daemonSets, deployments, replicaSets, statefulSets } from "../../../src/api/generated/apps-v1.ts";
import { jobs } from "../../../src/api/generated/batch-v1.ts";
import { configMaps, nodes, pods } from "../../../src/api/generated/core-v1.ts";
import { podDisruptionBudgets } from "../../../src/api/generated/policy-v1.ts";
import { clusterRoles } from "../../../src/api/generated/rbac-v1.ts";
import { controllerFactories } from "../../../src/controllers/list.ts";
import { nodeLifecycleController } from "../../../src/controllers/node-lifecycle.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { readyNode, startHollowNodes } from "../../support/hollow-nodes.ts";

const namespace = "default";
const labels = { app: "x" };
const selector = { matchLabels: labels };
const template = { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } };

test("a Job runs its pods to the end, counts them, and goes after its time to live", async (t) => {
  const { client, signal } = await startControlPlane(t, { controllers: controllerFactories });
  await startHollowNodes(client, { names: ["one"], signal, status: () => ({ phase: "Succeeded" }) });
  await client.create(jobs, {
    metadata: { name: "j", namespace },
    spec: {
      completions: 3,
      parallelism: 2,
      template: { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } },
    },
  });
  await eventually(async () => {
    const { status } = await client.get(jobs, "j", { namespace });
    assert.equal(status?.conditions?.find(({ type }) => type === "Complete")?.status, "True");
    assert.equal(status?.succeeded, 3);
    const { items } = await client.list(pods, { namespace });
    assert.deepEqual(
      items.map(({ metadata }) => metadata.finalizers ?? []),
      [[], [], []],
    );
  });
  // Only now: it would be gone before it is looked at.
  const body = { spec: { ttlSecondsAfterFinished: 1 } };
  await client.patch(jobs, "j", { type: "merge", body }, { namespace });
  await eventually(async () => {
    await assert.rejects(client.get(jobs, "j", { namespace }), { code: 404 });
    assert.deepEqual((await client.list(pods, { namespace })).items, []);
  });
});

test("a DaemonSet has a pod on every node, also on one that joins, and rolls to a new template", async (t) => {
  const { client, signal } = await startControlPlane(t, { controllers: controllerFactories });
  await startHollowNodes(client, { names: ["one", "two"], signal });
  await client.create(daemonSets, { metadata: { name: "d", namespace }, spec: { selector, template } });
  const spread = async (expected: string[], image = "i") => {
    const { items } = await client.list(pods, { namespace });
    const found = items.map(({ spec }) => `${spec?.nodeName} ${spec?.containers[0]?.image}`).sort();
    assert.deepEqual(
      found,
      expected.map((name) => `${name} ${image}`),
    );
  };
  await eventually(() => spread(["one", "two"]));
  await client.create(nodes, readyNode("six"));
  await eventually(() => spread(["one", "six", "two"]));
  const patch = { spec: { template: { spec: { containers: [{ name: "c", image: "i2" }] } } } };
  await client.patch(daemonSets, "d", { type: "strategic", body: patch }, { namespace });
  await eventually(() => spread(["one", "six", "two"], "i2"));
  await eventually(async () => {
    const { status } = await client.get(daemonSets, "d", { namespace });
    assert.deepEqual([status?.numberAvailable, status?.updatedNumberScheduled], [3, 3]);
  });
});

test("a StatefulSet comes up in order, is updated from the top, and shrinks", async (t) => {
  const { client, signal } = await startControlPlane(t, { controllers: controllerFactories });
  await startHollowNodes(client, { names: ["one"], signal });
  await client.create(statefulSets, {
    metadata: { name: "s", namespace },
    spec: { replicas: 3, serviceName: "s", selector, template },
  });
  const present = async (expected: string[]) => {
    const { items } = await client.list(pods, { namespace });
    assert.deepEqual(
      items.map(({ metadata, spec }) => `${metadata.name} ${spec?.containers[0]?.image}`).sort(),
      expected,
    );
  };
  await eventually(() => present(["s-0 i", "s-1 i", "s-2 i"]));
  const spec = { replicas: 2, template: { spec: { containers: [{ name: "c", image: "i2" }] } } };
  await client.patch(statefulSets, "s", { type: "strategic", body: { spec } }, { namespace });
  await eventually(() => present(["s-0 i2", "s-1 i2"]));
  await eventually(async () => {
    const { status } = await client.get(statefulSets, "s", { namespace });
    assert.equal(status?.currentRevision, status?.updateRevision);
    assert.equal(status?.readyReplicas, 2);
  });
});

test("foreground deletion waits for dependents, orphaning lets them go", async (t) => {
  const { client, signal } = await startControlPlane(t, { controllers: controllerFactories });
  await startHollowNodes(client, { names: ["one"], signal });
  const create = (name: string) =>
    client.create(deployments, { metadata: { name, namespace }, spec: { replicas: 1, selector, template } });
  await create("kept");
  await eventually(async () => assert.equal((await client.list(pods, { namespace })).items.length, 1));
  await client.delete(deployments, "kept", { namespace, propagationPolicy: "Orphan" });
  await eventually(() => assert.rejects(client.get(deployments, "kept", { namespace }), { code: 404 }));
  const { items } = await client.list(replicaSets, { namespace });
  assert.deepEqual(
    items.map(({ metadata }) => metadata.ownerReferences ?? []),
    [[]],
  );

  // The same selector: the orphan is adopted, no second one is made.
  await create("kept");
  await eventually(async () => {
    const [set] = (await client.list(replicaSets, { namespace })).items;
    assert.equal(set?.metadata.ownerReferences?.length, 1);
    assert.equal(set?.metadata.uid, items[0]?.metadata.uid);
  });
  await client.delete(deployments, "kept", { namespace, propagationPolicy: "Foreground" });
  await eventually(async () => {
    await assert.rejects(client.get(deployments, "kept", { namespace }), { code: 404 });
    assert.deepEqual((await client.list(pods, { namespace })).items, []);
  });
});

test("an object whose owner never was is collected; one with a living owner stays", async (t) => {
  const { client } = await startControlPlane(t, { controllers: controllerFactories });
  const owner = await client.create(configMaps, { metadata: { name: "owner", namespace } });
  const make = (name: string, uid: string) =>
    client.create(configMaps, {
      metadata: { name, namespace, ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "owner", uid }] },
    });
  await make("stays", owner.metadata.uid ?? "");
  await make("goes", "00000000-0000-0000-0000-000000000000");
  await eventually(() => assert.rejects(client.get(configMaps, "goes", { namespace }), { code: 404 }));
  assert.equal((await client.get(configMaps, "stays", { namespace })).metadata.name, "stays");
});

test("nodes get their own pod ranges; a silent one is unreachable and tainted, and its pods are not ready", async (t) => {
  const config = { nodeMonitorGracePeriodMs: 300 };
  const { client, signal } = await startControlPlane(t, { controllers: controllerFactories, config });
  await startHollowNodes(client, { names: ["one", "two"], signal });
  await eventually(async () => {
    const { items } = await client.list(nodes);
    assert.deepEqual(items.map(({ spec }) => spec?.podCIDR).sort(), ["10.42.0.0/24", "10.42.1.0/24"]);
  });
  await client.create(pods, { metadata: { name: "p", namespace }, spec: template.spec });
  await eventually(async () => {
    const { items } = await client.list(nodes);
    for (const { status, spec } of items) {
      assert.equal(status?.conditions?.find(({ type }) => type === "Ready")?.status, "Unknown");
      assert.ok(
        spec?.taints?.some(({ key, effect }) => key === "node.kubernetes.io/unreachable" && effect === "NoSchedule"),
      );
    }
  });
  await eventually(async () => {
    const { status } = await client.get(pods, "p", { namespace });
    assert.equal(status?.conditions?.find(({ type }) => type === "Ready")?.status, "False");
  });
});

test("nodes are not taken for silent while their heartbeats are refused for the store's sake", async (t) => {
  const clock = new FakeClock(Date.now());
  let refusedMs: number | undefined;
  const config = { nodeMonitorGracePeriodMs: 50_000, heartbeatsRefusedMs: () => refusedMs };
  const { client, signal } = await startControlPlane(t, { controllers: [nodeLifecycleController], config, clock });
  await startHollowNodes(client, { names: ["one", "two"], signal });
  const readiness = async () => {
    const { items } = await client.list(nodes);
    return items.map(({ status }) => status?.conditions?.find(({ type }) => type === "Ready")?.status);
  };
  await eventually(async () => assert.deepEqual(await readiness(), ["True", "True"]));
  for (let minute = 0; minute < 10; minute++) {
    for (let step = 0; step < 6; step++) {
      refusedMs = clock.now();
      await clock.advance(10_000);
    }
    assert.deepEqual(await readiness(), ["True", "True"]);
  }
  await eventually(async () => {
    await clock.advance(10_000);
    assert.deepEqual(await readiness(), ["Unknown", "Unknown"]);
  });
  assert.ok(clock.now() - refusedMs! >= 50_000, "they had all of their time after the last one");
});

test("budgets are counted and the view role is filled", async (t) => {
  const { client, signal } = await startControlPlane(t, { controllers: controllerFactories });
  await startHollowNodes(client, { names: ["one"], signal });
  await client.create(deployments, { metadata: { name: "w", namespace }, spec: { replicas: 3, selector, template } });
  await client.create(podDisruptionBudgets, {
    metadata: { name: "b", namespace },
    spec: { selector, maxUnavailable: 1 },
  });
  await eventually(async () => {
    const { status } = await client.get(podDisruptionBudgets, "b", { namespace });
    assert.deepEqual([status?.disruptionsAllowed, status?.currentHealthy, status?.expectedPods], [1, 3, 3]);
  });
  await eventually(async () => {
    const { rules } = await client.get(clusterRoles, "view");
    assert.ok(rules?.some(({ resources, verbs }) => resources?.includes("pods") && verbs.includes("list")));
  });
});
