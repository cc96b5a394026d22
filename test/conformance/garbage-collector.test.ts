/** Garbage collection, as its conformance tests ask. */
import assert from "node:assert/strict";
import { deployments, replicaSets } from "../../src/api/generated/apps-v1.ts";
import { type Pod, pods, replicationControllers } from "../../src/api/generated/core-v1.ts";
import type { OwnerReference } from "../../src/machinery/object.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon } from "./waiting.ts";

withHollowNodes({ names: ["one", "two"] });

const area = "[sig-api-machinery] Garbage collector should";
const podSpec = { containers: [{ name: "c", image: "i" }] };

async function makeController({ client, namespace }: Cluster, name: string, replicas: number) {
  const labels = { controller: name };
  const spec = { replicas, selector: labels, template: { metadata: { labels }, spec: podSpec } };
  const made = await client.create(replicationControllers, { metadata: { name, namespace }, spec }, { namespace });
  await soon(async () => {
    const { status } = await client.get(replicationControllers, name, { namespace });
    assert.equal(status?.replicas, replicas);
    assert.equal((await client.list(pods, { namespace, labelSelector: `controller=${name}` })).items.length, replicas);
  });
  return made;
}

async function makeDeployment({ client, namespace }: Cluster) {
  const labels = { app: "d" };
  const spec = { replicas: 2, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: podSpec } };
  const { metadata } = await client.create(deployments, { metadata: { name: "d", namespace }, spec }, { namespace });
  await soon(async () => assert.equal((await client.list(replicaSets, { namespace })).items.length, 1));
  return metadata;
}

/** A pod of its own whose end shows that the collector has been at work after what came before. */
async function collectorHasPassed({ client, namespace }: Cluster): Promise<void> {
  const owner = { apiVersion: "v1", kind: "ConfigMap", name: "never-was", uid: "00000000-0000-0000-0000-00000000dead" };
  const metadata = { name: "orphaned-marker", namespace, ownerReferences: [owner] };
  await client.create(pods, { metadata, spec: podSpec }, { namespace });
  await isGone(client, pods, "orphaned-marker", { namespace });
}

conformance(`${area} delete pods created by rc when not orphaning [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await makeController(cluster, "rc", 2);
  await client.delete(replicationControllers, "rc", { namespace, propagationPolicy: "Background" });
  await isGone(client, replicationControllers, "rc", { namespace });
  await soon(async () => assert.deepEqual((await client.list(pods, { namespace })).items, []));
});

conformance(`${area} orphan pods created by rc if delete options say so [Serial] [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await makeController(cluster, "rc", 5);
  await client.delete(replicationControllers, "rc", { namespace, propagationPolicy: "Orphan" });
  await isGone(client, replicationControllers, "rc", { namespace });
  await collectorHasPassed(cluster);
  const { items } = await client.list(pods, { namespace });
  assert.equal(items.length, 5);
  for (const { metadata } of items)
    assert.deepEqual([metadata.ownerReferences, metadata.deletionTimestamp], [undefined, undefined]);
});

conformance(`${area} delete RS created by deployment when not orphaning [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await makeDeployment(cluster);
  await client.delete(deployments, "d", { namespace, propagationPolicy: "Background" });
  await isGone(client, deployments, "d", { namespace });
  await soon(async () => assert.deepEqual((await client.list(replicaSets, { namespace })).items, []));
  await soon(async () => assert.deepEqual((await client.list(pods, { namespace })).items, []));
});

conformance(
  `${area} orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await makeDeployment(cluster);
    await client.delete(deployments, "d", { namespace, propagationPolicy: "Orphan" });
    await isGone(client, deployments, "d", { namespace });
    await collectorHasPassed(cluster);
    const { items } = await client.list(replicaSets, { namespace });
    assert.equal(items.length, 1);
    assert.equal(items[0]?.metadata.ownerReferences, undefined);
    assert.equal(items[0]?.metadata.deletionTimestamp, undefined);
  },
);

conformance(
  `${area} keep the rc around until all its pods are deleted if the deleteOptions says so [Serial] [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await makeController(cluster, "rc", 4);
    // One that does not go by itself, so that the moment in between lasts.
    const [held] = (await client.list(pods, { namespace })).items;
    const heldName = held?.metadata.name ?? "";
    const finalizers = (value: string[] | null) =>
      client.patch(pods, heldName, { type: "merge", body: { metadata: { finalizers: value } } }, { namespace });
    await finalizers(["test.example.com/held"]);
    await client.delete(replicationControllers, "rc", { namespace, propagationPolicy: "Foreground" });
    await soon(async () => {
      const { items } = await client.list(pods, { namespace });
      assert.deepEqual(
        items.map(({ metadata }) => metadata.name),
        [heldName],
      );
    });
    const { metadata } = await client.get(replicationControllers, "rc", { namespace });
    assert.ok(metadata.deletionTimestamp);
    assert.ok(metadata.finalizers?.includes("foregroundDeletion"));
    await finalizers(null);
    await isGone(client, replicationControllers, "rc", { namespace });
    assert.deepEqual((await client.list(pods, { namespace })).items, []);
  },
);

conformance(
  `${area} not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted [Serial] [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await makeController(cluster, "going", 6);
    const { metadata: staying } = await makeController(cluster, "staying", 0);
    const owner: OwnerReference = {
      apiVersion: "v1",
      kind: "ReplicationController",
      name: "staying",
      uid: staying.uid!,
    };
    const shared = (await client.list(pods, { namespace })).items
      .slice(0, 3)
      .map(({ metadata }) => metadata.name ?? "");
    for (const name of shared) {
      const body = { metadata: { ownerReferences: [owner] } };
      await client.patch(pods, name, { type: "strategic", body }, { namespace });
    }
    await client.delete(replicationControllers, "going", { namespace, propagationPolicy: "Foreground" });
    await isGone(client, replicationControllers, "going", { namespace });
    await collectorHasPassed(cluster);
    const { items } = await client.list(pods, { namespace });
    assert.deepEqual(items.map(({ metadata }) => metadata.name).sort(), shared.sort());
    for (const { metadata } of items) {
      assert.deepEqual(
        metadata.ownerReferences?.map(({ name }) => name),
        ["staying"],
      );
      assert.equal(metadata.deletionTimestamp, undefined);
    }
  },
);

conformance(`${area} not be blocked by dependency circle [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const make = (name: string): Promise<Pod> =>
    client.create(pods, { metadata: { name, namespace, labels: { circle: "yes" } }, spec: podSpec }, { namespace });
  const circle = [await make("a"), await make("b"), await make("c")];
  for (const [index, { metadata }] of circle.entries()) {
    const before = circle[(index + 2) % 3]!.metadata;
    const owner = {
      apiVersion: "v1",
      kind: "Pod",
      name: before.name,
      uid: before.uid,
      controller: true,
      blockOwnerDeletion: true,
    };
    const body = { metadata: { ownerReferences: [owner] } };
    await client.patch(pods, metadata.name ?? "", { type: "strategic", body }, { namespace });
  }
  await client.delete(pods, "a", { namespace, propagationPolicy: "Foreground" });
  await soon(async () => assert.deepEqual((await client.list(pods, { namespace })).items, []));
});
