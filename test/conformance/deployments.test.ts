/** Deployments, as their conformance tests ask of the API and the controller. */
import assert from "node:assert/strict";
import { type Deployment, deployments, type ReplicaSet, replicaSets } from "../../src/api/generated/apps-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { soon, watchUntil } from "./waiting.ts";
import { areRunning, exerciseScale, exerciseStatus, podsOf, statusByImage, templateOf } from "./workloads.ts";

withHollowNodes({ names: ["one", "two"], status: statusByImage });

const area = "[sig-apps] Deployment";
const name = "d";
const labels = { app: "d" };
const revision = "deployment.kubernetes.io/revision";
type Spec = Partial<NonNullable<Deployment["spec"]>>;

function make({ client, namespace }: Cluster, spec: Spec = {}): Promise<Deployment> {
  const selector = { matchLabels: labels };
  const metadata = { name, namespace, labels };
  return client.create(
    deployments,
    { metadata, spec: { replicas: 1, selector, template: templateOf(labels), ...spec } },
    { namespace },
  );
}

const setImage = ({ client, namespace }: Cluster, image: string) => {
  const body = { spec: { template: { spec: { containers: [{ name: "c", image }] } } } };
  return client.patch(deployments, name, { type: "strategic", body }, { namespace });
};

/** Waits until all pods are of the newest template and available. */
function isComplete({ client, namespace }: Cluster, wantedRevision?: string): Promise<Deployment> {
  return soon(async () => {
    const deployment = await client.get(deployments, name, { namespace });
    const { metadata, spec, status } = deployment;
    assert.equal(status?.observedGeneration, metadata.generation);
    const counts = [status?.replicas, status?.updatedReplicas, status?.availableReplicas];
    assert.deepEqual(counts, Array(3).fill(spec?.replicas));
    if (wantedRevision) assert.equal(metadata.annotations?.[revision], wantedRevision);
    return deployment;
  });
}

/** By image: how many pods each replica set should have. */
async function replicasByImage({ client, namespace }: Cluster): Promise<Record<string, number>> {
  const { items } = await client.list(replicaSets, { namespace });
  return Object.fromEntries(
    items.map(({ spec }) => [spec?.template?.spec?.containers[0]?.image ?? "", spec?.replicas ?? 0]),
  );
}

/** A set of pods that a deployment finds and makes its own. */
async function makeOrphan(
  cluster: Cluster,
  image: string,
  annotations: Record<string, string> = {},
): Promise<ReplicaSet> {
  const { client, namespace } = cluster;
  const own = { ...labels, pod: "orphan" };
  const spec = { replicas: 1, selector: { matchLabels: own }, template: templateOf(own, image) };
  const metadata = { name: "orphan", namespace, labels: own, annotations };
  const made = await client.create(replicaSets, { metadata, spec }, { namespace });
  await areRunning(cluster, 1);
  // Its pods are counted by what it says itself: before that it would look as if it had none.
  await soon(async () => {
    const { status } = await client.get(replicaSets, "orphan", { namespace });
    assert.deepEqual([status?.replicas, status?.availableReplicas], [1, 1]);
  });
  return made;
}

conformance(
  `${area} RollingUpdateDeployment should delete old pods and create new ones [Conformance]`,
  async (_, cluster) => {
    const orphan = await makeOrphan(cluster, "old", { [revision]: "3546343826724305832" });
    await make(cluster);
    await isComplete(cluster, "3546343826724305833");
    const { items } = await cluster.client.list(replicaSets, { namespace: cluster.namespace });
    assert.equal(items.length, 2);
    const old = items.find(({ metadata }) => metadata.uid === orphan.metadata.uid);
    assert.equal(old?.spec?.replicas, 0);
    assert.deepEqual(
      old?.metadata.ownerReferences?.map(({ kind, name }) => `${kind} ${name}`),
      ["Deployment d"],
    );
  },
);

conformance(
  `${area} RecreateDeployment should delete old pods and create new ones [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await make(cluster, { strategy: { type: "Recreate" } });
    const before = await isComplete(cluster, "1");
    const updated = await setImage(cluster, "new");
    const resourceVersion = before.metadata.resourceVersion ?? "";
    const isNew = ({ metadata, status }: Deployment) =>
      status?.observedGeneration === updated.metadata.generation && metadata.annotations?.[revision] === "2";
    const events = await watchUntil(client, deployments, { namespace, resourceVersion }, ({ object }) =>
      Boolean(isNew(object) && object.status?.availableReplicas === 1 && object.status.updatedReplicas === 1),
    );
    for (const { object } of events.filter(({ object }) => isNew(object))) {
      const { replicas = 0, updatedReplicas = 0 } = object.status ?? {};
      assert.ok(updatedReplicas === 0 || updatedReplicas === replicas, "new pods ran beside old ones");
    }
  },
);

conformance(`${area} deployment should delete old replica sets [Conformance]`, async (_, cluster) => {
  await makeOrphan(cluster, "old");
  await make(cluster, { revisionHistoryLimit: 0 });
  await isComplete(cluster);
  await soon(async () => assert.deepEqual(await replicasByImage(cluster), { i: 1 }));
});

conformance(`${area} deployment should support rollover [Conformance]`, async (_, cluster) => {
  await makeOrphan(cluster, "old");
  await make(cluster, {
    template: templateOf(labels, "unready"),
    strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
  });
  await soon(async () => assert.deepEqual(await replicasByImage(cluster), { old: 1, unready: 1 }));
  await setImage(cluster, "new");
  await isComplete(cluster);
  await soon(async () => assert.deepEqual(await replicasByImage(cluster), { old: 0, unready: 0, new: 1 }));
});

conformance(`${area} Deployment should have a working scale subresource [Conformance]`, async (_, cluster) => {
  await make(cluster);
  await isComplete(cluster);
  await exerciseScale(cluster, deployments, name);
  await areRunning(cluster, 4);
});

conformance(`${area} deployment should support proportional scaling [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await make(cluster, { replicas: 10, strategy: { rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } } });
  await isComplete(cluster);
  await setImage(cluster, "unready");
  // 2 of 10 may be missing and 3 may be too many: 8 stay, 5 wait.
  await soon(async () => assert.deepEqual(await replicasByImage(cluster), { i: 8, unready: 5 }));
  await soon(async () => {
    const { status } = await client.get(deployments, name, { namespace });
    assert.deepEqual([status?.availableReplicas, status?.updatedReplicas], [8, 5]);
  });
  await client.patch(deployments, name, { type: "merge", body: { spec: { replicas: 30 } } }, { namespace });
  // 33 in all, in the same proportion.
  await soon(async () => assert.deepEqual(await replicasByImage(cluster), { i: 20, unready: 13 }));
});

conformance(`${area} should run the lifecycle of a Deployment [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const scope = { namespace };
  const made = await make(cluster, { replicas: 2 });
  const resourceVersion = made.metadata.resourceVersion ?? "";
  await isComplete(cluster);
  const body = {
    metadata: { labels: { life: "patched" } },
    spec: {
      replicas: 1,
      template: { spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "patched" }] } },
    },
  };
  const patched = await client.patch(deployments, name, { type: "strategic", body }, scope);
  assert.ok(isLater(patched, made));
  await watchUntil(client, deployments, { namespace, resourceVersion }, ({ type, object }) =>
    Boolean(type === "MODIFIED" && object.metadata.labels?.["life"] === "patched" && object.spec?.replicas === 1),
  );
  await isComplete(cluster);
  const listed = (await client.list(deployments, { labelSelector: "life=patched" })).items;
  assert.deepEqual(
    listed.map(({ metadata }) => metadata.uid),
    [made.metadata.uid],
  );
  await soon(async () => {
    const present = await client.get(deployments, name, scope);
    const metadata = { ...present.metadata, labels: { ...labels, life: "updated" } };
    await client.update(
      deployments,
      { ...present, metadata, spec: { ...present.spec!, replicas: 2, template: templateOf(labels, "updated") } },
      scope,
    );
  });
  await isComplete(cluster);
  const status = { namespace, subresource: "status" };
  const read = await client.get(deployments, name, status);
  assert.equal(read.spec?.template.spec?.containers[0]?.image, "updated");
  assert.equal(read.metadata.labels?.["life"], "updated");
  const fewer = { metadata: { labels: { status: "patched" } }, status: { readyReplicas: 0, availableReplicas: 0 } };
  const lied = await client.patch(deployments, name, { type: "merge", body: fewer }, status);
  assert.equal(lied.status?.readyReplicas ?? 0, 0);
  // The controller says again what is so.
  await soon(async () => assert.equal((await client.get(deployments, name, status)).status?.readyReplicas, 2));
  await client.deleteCollection(deployments, { namespace, labelSelector: "life=updated" });
  const options = { namespace, resourceVersion: lied.metadata.resourceVersion ?? "" };
  await watchUntil(client, deployments, options, ({ type }) => type === "DELETED");
  await soon(async () => assert.deepEqual(await podsOf(cluster), []));
});

conformance(`${area} should validate Deployment Status endpoints [Conformance]`, async (_, cluster) => {
  await make(cluster);
  await isComplete(cluster);
  await exerciseStatus(cluster, deployments, name);
});
