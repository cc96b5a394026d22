/** PodDisruptionBudgets and evictions, as their conformance tests ask. */
import assert from "node:assert/strict";
import { replicaSets } from "../../src/api/generated/apps-v1.ts";
import { pods } from "../../src/api/generated/core-v1.ts";
import { type PodDisruptionBudget, podDisruptionBudgets } from "../../src/api/generated/policy-v1.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon } from "./waiting.ts";
import { areRunning, templateOf } from "./workloads.ts";

withHollowNodes({ names: ["one", "two"] });

const area = "[sig-apps] DisruptionController";
const name = "b";
const labels = { app: "b" };
type Spec = NonNullable<PodDisruptionBudget["spec"]>;

const make = (
  { client, namespace }: Cluster,
  spec: Spec,
  more: { name?: string; labels?: Record<string, string> } = {},
) =>
  client.create(
    podDisruptionBudgets,
    { metadata: { name, namespace, ...more }, spec: { selector: { matchLabels: labels }, ...spec } },
    { namespace },
  );

/** Waits until the controller has judged what is wanted now. */
const isJudged = (
  { client, namespace }: Cluster,
  fits: (status: NonNullable<PodDisruptionBudget["status"]>) => void = () => {},
) =>
  soon(async () => {
    const budget = await client.get(podDisruptionBudgets, name, { namespace });
    assert.equal(budget.status?.observedGeneration, budget.metadata.generation);
    fits(budget.status!);
    return budget;
  });

async function makePods({ client, namespace }: Cluster, replicas: number): Promise<void> {
  const spec = { replicas, selector: { matchLabels: labels }, template: templateOf(labels) };
  await client.create(replicaSets, { metadata: { name: "pods", namespace }, spec }, { namespace });
}

conformance(
  `${area} Listing PodDisruptionBudgets for all namespaces should list and delete a collection of PodDisruptionBudgets [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const marked = { budgets: namespace };
    for (const other of ["x", "y", "z"]) await make(cluster, { minAvailable: 1 }, { name: other, labels: marked });
    const labelSelector = `budgets=${namespace}`;
    assert.equal((await client.list(podDisruptionBudgets, { labelSelector })).items.length, 3);
    assert.equal((await client.list(podDisruptionBudgets, { namespace })).items.length, 3);
    await client.deleteCollection(podDisruptionBudgets, { namespace, labelSelector });
    await soon(async () => assert.deepEqual((await client.list(podDisruptionBudgets, { namespace })).items, []));
  },
);

conformance(`${area} should create a PodDisruptionBudget [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await make(cluster, { minAvailable: 1 });
  await isJudged(cluster);
  await soon(async () => {
    const present = await client.get(podDisruptionBudgets, name, { namespace });
    const updated = await client.update(
      podDisruptionBudgets,
      { ...present, spec: { ...present.spec, minAvailable: 2 } },
      { namespace },
    );
    assert.equal(updated.spec?.minAvailable, 2);
  });
  await isJudged(cluster);
  const body = { spec: { minAvailable: "50%" } };
  const patched = await client.patch(podDisruptionBudgets, name, { type: "strategic", body }, { namespace });
  assert.equal(patched.spec?.minAvailable, "50%");
  await isJudged(cluster);
  await client.delete(podDisruptionBudgets, name, { namespace });
  await isGone(client, podDisruptionBudgets, name, { namespace });
});

conformance(`${area} should observe PodDisruptionBudget status updated [Conformance]`, async (_, cluster) => {
  await make(cluster, { minAvailable: 1 });
  await makePods(cluster, 3);
  await areRunning(cluster, 3);
  await isJudged(cluster, (status) => {
    assert.deepEqual(
      [status.disruptionsAllowed, status.currentHealthy, status.expectedPods, status.desiredHealthy],
      [2, 3, 3, 1],
    );
  });
});

conformance(`${area} should update/patch PodDisruptionBudget status [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const scope = { namespace, subresource: "status" };
  await make(cluster, { minAvailable: 1 });
  await makePods(cluster, 1);
  const [pod] = await areRunning(cluster, 1);
  const podName = pod?.metadata.name ?? "";
  await isJudged(cluster, ({ currentHealthy }) => assert.equal(currentHealthy, 1));
  // The far future, so that the controller does not take the entry for an old one meanwhile.
  const disruptedPods = { [podName]: new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+Z/, "Z") };
  const updated = await soon(async () => {
    const present = await client.get(podDisruptionBudgets, name, { namespace });
    return client.update(podDisruptionBudgets, { ...present, status: { ...present.status!, disruptedPods } }, scope);
  });
  assert.deepEqual(Object.keys(updated.status?.disruptedPods ?? {}), [podName]);
  const body = { status: { disruptedPods: null } };
  const patched = await client.patch(podDisruptionBudgets, name, { type: "merge", body }, scope);
  assert.equal(patched.status?.disruptedPods, undefined);
});

conformance(
  `${area} should block an eviction until the PDB is updated to allow it [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await make(cluster, { minAvailable: 3 });
    await makePods(cluster, 3);
    const present = await areRunning(cluster, 3);
    const evict = (index: number) => {
      const podName = present[index]?.metadata.name ?? "";
      const body = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: podName, namespace } };
      return client.createSubresource(pods, podName, "eviction", body, { namespace });
    };
    const refused = { code: 429, reason: "TooManyRequests", message: /would violate the pod's disruption budget/ };
    await isJudged(cluster, (status) => assert.deepEqual([status.currentHealthy, status.disruptionsAllowed], [3, 0]));
    await assert.rejects(evict(0), refused);
    const allow = (minAvailable: number) =>
      client.patch(podDisruptionBudgets, name, { type: "merge", body: { spec: { minAvailable } } }, { namespace });
    await allow(2);
    await isJudged(cluster, (status) => assert.equal(status.disruptionsAllowed, 1));
    await evict(0);
    await areRunning(cluster, 3);
    await allow(3);
    await isJudged(cluster, (status) => assert.deepEqual([status.currentHealthy, status.disruptionsAllowed], [3, 0]));
    await assert.rejects(evict(1), refused);
    await client.delete(podDisruptionBudgets, name, { namespace });
    await isGone(client, podDisruptionBudgets, name, { namespace });
    await evict(1);
  },
);
