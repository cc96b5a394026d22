/** ReplicaSets and ReplicationControllers, as their conformance tests ask of the API and the controllers. */
import assert from "node:assert/strict";
import { type ReplicaSet, replicaSets } from "../../src/api/generated/apps-v1.ts";
import {
  pods,
  type ReplicationController,
  replicationControllers,
  resourceQuotas,
} from "../../src/api/generated/core-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { soon, watchUntil } from "./waiting.ts";
import { areRunning, exerciseScale, exerciseStatus, podsOf, templateOf } from "./workloads.ts";

withHollowNodes({ names: ["one", "two"] });

const sets = "[sig-apps] ReplicaSet";
const controllers = "[sig-apps] ReplicationController";
const name = "r";
const labels = { app: "r" };
const template = templateOf(labels);

const makeSet = ({ client, namespace }: Cluster, replicas: number): Promise<ReplicaSet> =>
  client.create(
    replicaSets,
    { metadata: { name, namespace, labels }, spec: { replicas, selector: { matchLabels: labels }, template } },
    { namespace },
  );

const makeController = ({ client, namespace }: Cluster, replicas: number): Promise<ReplicationController> =>
  client.create(
    replicationControllers,
    { metadata: { name, namespace, labels }, spec: { replicas, selector: labels, template } },
    { namespace },
  );

/** A pod that is there before what selects it becomes its owner. */
async function adopts(cluster: Cluster, kind: string, make: typeof makeSet | typeof makeController): Promise<void> {
  const { client, namespace } = cluster;
  const orphan = await client.create(
    pods,
    { metadata: { name: "orphan", namespace, labels }, spec: template.spec },
    { namespace },
  );
  await make(cluster, 1);
  await soon(async () => {
    const { metadata } = await client.get(pods, "orphan", { namespace });
    assert.equal(metadata.uid, orphan.metadata.uid);
    assert.deepEqual(
      metadata.ownerReferences?.map((owner) => `${owner.kind} ${owner.name} ${owner.controller}`),
      [`${kind} ${name} true`],
    );
  });
  assert.equal((await podsOf(cluster)).length, 1);
}

/** A pod that is no longer selected has no owner any more, and another takes its place. */
async function releases(cluster: Cluster): Promise<void> {
  const { client, namespace } = cluster;
  const [pod] = await areRunning(cluster, 1);
  const podName = pod?.metadata.name ?? "";
  const body = { metadata: { labels: { app: "other" } } };
  await client.patch(pods, podName, { type: "strategic", body }, { namespace });
  await soon(async () => {
    assert.equal((await client.get(pods, podName, { namespace })).metadata.ownerReferences, undefined);
    assert.equal((await podsOf(cluster, "app=r")).length, 1);
  });
}

conformance(
  `${sets} should adopt matching pods on creation and release no longer matching pods [Conformance]`,
  async (_, cluster) => {
    await adopts(cluster, "ReplicaSet", makeSet);
    await releases(cluster);
  },
);

conformance(`${sets} Replicaset should have a working scale subresource [Conformance]`, async (_, cluster) => {
  await makeSet(cluster, 1);
  await exerciseScale(cluster, replicaSets, name);
  await areRunning(cluster, 4);
});

conformance(`${sets} Replace and Patch tests [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const made = await makeSet(cluster, 1);
  await areRunning(cluster, 1);
  await soon(async () => {
    const present = await client.get(replicaSets, name, { namespace });
    await client.update(replicaSets, { ...present, spec: { ...present.spec!, replicas: 3 } }, { namespace });
  });
  await areRunning(cluster, 3);
  const body = {
    metadata: { labels: { patched: "yes" } },
    spec: { replicas: 2, template: { spec: { containers: [{ name: "c", image: "patched" }] } } },
  };
  const patched = await client.patch(replicaSets, name, { type: "strategic", body }, { namespace });
  assert.ok(isLater(patched, made));
  const options = { namespace, resourceVersion: made.metadata.resourceVersion ?? "" };
  await watchUntil(client, replicaSets, options, ({ object: { metadata, spec, status } }) =>
    Boolean(
      metadata.labels?.["patched"] && spec?.replicas === 2 && status?.replicas === 2 && status.readyReplicas === 2,
    ),
  );
});

conformance(`${sets} should list and delete a collection of ReplicaSets [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await makeSet(cluster, 3);
  await areRunning(cluster, 3);
  assert.equal(
    (await client.list(replicaSets, { labelSelector: "app=r", fieldSelector: `metadata.namespace=${namespace}` })).items
      .length,
    1,
  );
  await client.deleteCollection(replicaSets, { namespace, labelSelector: "app=r" });
  await soon(async () => assert.deepEqual((await client.list(replicaSets, { namespace })).items, []));
  await soon(async () => assert.deepEqual(await podsOf(cluster), []));
});

conformance(`${sets} should validate Replicaset Status endpoints [Conformance]`, async (_, cluster) => {
  await makeSet(cluster, 1);
  await areRunning(cluster, 1);
  await exerciseStatus(cluster, replicaSets, name);
});

conformance(`${controllers} should adopt matching pods on creation [Conformance]`, (_, cluster) =>
  adopts(cluster, "ReplicationController", makeController),
);

conformance(`${controllers} should release no longer matching pods [Conformance]`, async (_, cluster) => {
  await makeController(cluster, 1);
  await releases(cluster);
});

conformance(
  `${controllers} should surface a failure condition on a common issue like exceeded quota [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await client.create(
      resourceQuotas,
      { metadata: { name: "two", namespace }, spec: { hard: { pods: "2" } } },
      { namespace },
    );
    await soon(async () =>
      assert.equal((await client.get(resourceQuotas, "two", { namespace })).status?.hard?.["pods"], "2"),
    );
    await makeController(cluster, 3);
    const failure = async () => {
      const { status } = await client.get(replicationControllers, name, { namespace });
      return status?.conditions?.find(({ type }) => type === "ReplicaFailure");
    };
    await soon(async () => {
      const condition = await failure();
      assert.deepEqual([condition?.status, condition?.reason], ["True", "FailedCreate"]);
      assert.match(condition?.message ?? "", /exceeded quota: two/);
    });
    await client.patch(replicationControllers, name, { type: "merge", body: { spec: { replicas: 2 } } }, { namespace });
    await soon(async () => assert.equal(await failure(), undefined));
  },
);

conformance(`${controllers} should get and update a ReplicationController scale [Conformance]`, async (_, cluster) => {
  await makeController(cluster, 1);
  await areRunning(cluster, 1);
  await exerciseScale(cluster, replicationControllers, name);
  await areRunning(cluster, 4);
});

conformance(`${controllers} should test the lifecycle of a ReplicationController [Conformance]`, async (_, cluster) => {
  const { client, namespace, read } = cluster;
  const scope = { namespace };
  const status = { namespace, subresource: "status" };
  const made = await makeController(cluster, 1);
  const options = { namespace, resourceVersion: made.metadata.resourceVersion ?? "" };
  const sees = (fits: (object: ReplicationController) => unknown) =>
    watchUntil(client, replicationControllers, options, ({ object }) => Boolean(fits(object)));
  await sees((object) => object.status?.availableReplicas === 1);
  const patched = await client.patch(
    replicationControllers,
    name,
    { type: "strategic", body: { metadata: { labels: { life: "patched" } } } },
    scope,
  );
  assert.ok(isLater(patched, made));
  await sees((object) => object.metadata.labels?.["life"] === "patched");
  const none = { status: { readyReplicas: 0, availableReplicas: 0 } };
  const lied = await client.patch(replicationControllers, name, { type: "merge", body: none }, status);
  assert.equal(lied.status?.readyReplicas ?? 0, 0);
  await soon(async () =>
    assert.equal((await client.get(replicationControllers, name, status)).status?.availableReplicas, 1),
  );
  const headers = { "content-type": "application/merge-patch+json" };
  const path = `/api/v1/namespaces/${namespace}/replicationcontrollers/${name}/scale`;
  await read(path, { method: "PATCH", headers, body: { spec: { replicas: 2 } } });
  await sees((object) => object.spec?.replicas === 2 && object.status?.availableReplicas === 2);
  const present = await soon(async () => {
    const { metadata, ...rest } = await client.get(replicationControllers, name, scope);
    assert.equal(metadata.labels?.["life"], "patched");
    const next = { ...rest, metadata: { ...metadata, labels: { ...metadata.labels, life: "updated" } } };
    return client.update(replicationControllers, next, status);
  });
  assert.equal(present.status?.replicas, 2);
  const { items } = await client.list(replicationControllers, {
    labelSelector: "app=r",
    fieldSelector: `metadata.namespace=${namespace}`,
  });
  assert.deepEqual(
    items.map(({ metadata, spec }) => [metadata.uid, spec?.replicas]),
    [[made.metadata.uid, 2]],
  );
  await client.deleteCollection(replicationControllers, { namespace, labelSelector: "app=r" });
  await watchUntil(client, replicationControllers, options, ({ type }) => type === "DELETED");
});
