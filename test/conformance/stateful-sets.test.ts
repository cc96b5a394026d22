/** StatefulSets, as their conformance tests ask of the API and the controller. */
import assert from "node:assert/strict";
import { type StatefulSet, statefulSets } from "../../src/api/generated/apps-v1.ts";
import { pods, services } from "../../src/api/generated/core-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { soon, summary, watchUntil } from "./waiting.ts";
import {
  areRunning,
  exerciseScale,
  exerciseStatus,
  podsOf,
  setReadiness,
  statusByImage,
  templateOf,
} from "./workloads.ts";

withHollowNodes({ names: ["one", "two"], status: statusByImage });

const area = "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic]";
const name = "s";
const labels = { app: "s" };
type Spec = Partial<NonNullable<StatefulSet["spec"]>>;

async function make({ client, namespace }: Cluster, spec: Spec = {}): Promise<StatefulSet> {
  const service = {
    metadata: { name: "s", namespace },
    spec: { clusterIP: "None", selector: labels, ports: [{ port: 80 }] },
  };
  await client.create(services, service, { namespace });
  const full = {
    replicas: 1,
    serviceName: "s",
    selector: { matchLabels: labels },
    template: templateOf(labels, "old"),
    ...spec,
  };
  return client.create(statefulSets, { metadata: { name, namespace, labels }, spec: full }, { namespace });
}

const patch = ({ client, namespace }: Cluster, spec: object) =>
  client.patch(statefulSets, name, { type: "strategic", body: { spec } }, { namespace });
const setImage = (cluster: Cluster, image: string) =>
  patch(cluster, { template: { spec: { containers: [{ name: "c", image }] } } });

/** "s-0 old" of each pod, in order. */
async function images(cluster: Cluster): Promise<string[]> {
  const present = await podsOf(cluster);
  return present.map(({ metadata, spec }) => `${metadata.name} ${spec?.containers[0]?.image}`).sort();
}
const have = (cluster: Cluster, expected: string[]) =>
  soon(async () => assert.deepEqual(await images(cluster), expected));

function statusIs({ client, namespace }: Cluster, fits: (status: NonNullable<StatefulSet["status"]>) => void) {
  return soon(async () => {
    const set = await client.get(statefulSets, name, { namespace });
    assert.equal(set.status?.observedGeneration, set.metadata.generation);
    fits(set.status!);
    return set;
  });
}

conformance(
  `${area} should perform rolling updates and roll backs of template modifications [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const made = await make(cluster, { replicas: 3 });
    await have(cluster, ["s-0 old", "s-1 old", "s-2 old"]);
    const first = await statusIs(cluster, ({ readyReplicas, currentRevision, updateRevision }) => {
      assert.equal(readyReplicas, 3);
      assert.equal(currentRevision, updateRevision);
    });
    const resourceVersion = made.metadata.resourceVersion ?? "";
    for (const image of ["new", "old"]) {
      const from = (await client.list(pods, { namespace })).metadata.resourceVersion ?? resourceVersion;
      await setImage(cluster, image);
      await have(cluster, [`s-0 ${image}`, `s-1 ${image}`, `s-2 ${image}`]);
      const last = await statusIs(cluster, ({ readyReplicas, updatedReplicas, currentRevision, updateRevision }) => {
        assert.deepEqual([readyReplicas, updatedReplicas], [3, 3]);
        assert.equal(currentRevision, updateRevision);
      });
      assert.equal(last.status?.currentRevision === first.status?.currentRevision, image === "old");
      // From the top down, each after the one above it.
      const events = await watchUntil(client, pods, { namespace, resourceVersion: from }, ({ type, object }) =>
        Boolean(type === "ADDED" && object.metadata.name === "s-0"),
      );
      assert.deepEqual(summary(events.filter(({ type }) => type === "ADDED")), ["ADDED s-2", "ADDED s-1", "ADDED s-0"]);
    }
  },
);

conformance(
  `${area} should perform canary updates and phased rolling updates of template modifications [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const partition = (value: number) => ({
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: value } },
    });
    await make(cluster, { replicas: 3, ...partition(3) });
    await have(cluster, ["s-0 old", "s-1 old", "s-2 old"]);
    await setImage(cluster, "new");
    const { status } = await statusIs(cluster, ({ currentRevision, updateRevision }) => {
      assert.notEqual(currentRevision, updateRevision);
    });
    assert.deepEqual(await images(cluster), ["s-0 old", "s-1 old", "s-2 old"]);
    await patch(cluster, partition(2));
    await have(cluster, ["s-0 old", "s-1 old", "s-2 new"]);
    const revisionOf = async (pod: string) =>
      (await client.get(pods, pod, { namespace })).metadata.labels?.["controller-revision-hash"];
    assert.deepEqual(
      [await revisionOf("s-0"), await revisionOf("s-2")],
      [status?.currentRevision, status?.updateRevision],
    );
    // A pod that goes comes back as it was.
    for (const pod of ["s-0", "s-2"]) {
      const { metadata } = await client.get(pods, pod, { namespace });
      await client.delete(pods, pod, { namespace });
      await soon(async () => assert.notEqual((await client.get(pods, pod, { namespace })).metadata.uid, metadata.uid));
    }
    await have(cluster, ["s-0 old", "s-1 old", "s-2 new"]);
    await patch(cluster, partition(1));
    await have(cluster, ["s-0 old", "s-1 new", "s-2 new"]);
    await patch(cluster, partition(0));
    await have(cluster, ["s-0 new", "s-1 new", "s-2 new"]);
    await statusIs(cluster, ({ currentRevision, updateRevision }) => assert.equal(currentRevision, updateRevision));
  },
);

conformance(
  `${area} Scaling should happen in predictable order and halt if any stateful pod is unhealthy [Slow] [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const from = (await client.list(pods, { namespace })).metadata.resourceVersion ?? "";
    const watch = (type: string, pod: string) =>
      watchUntil(
        client,
        pods,
        { namespace, resourceVersion: from },
        (event) => event.type === type && event.object.metadata.name === pod,
      );
    await make(cluster);
    // The controller knows of each change of readiness before what it must not act upon is asked of it.
    await statusIs(cluster, ({ readyReplicas }) => assert.equal(readyReplicas, 1));
    await setReadiness(cluster, "s-0", false);
    await statusIs(cluster, ({ readyReplicas }) => assert.equal(readyReplicas ?? 0, 0));
    await patch(cluster, { replicas: 3 });
    // It has seen what is wanted, and waits.
    await statusIs(cluster, ({ replicas }) => assert.equal(replicas, 1));
    assert.deepEqual(await images(cluster), ["s-0 old"]);
    await setReadiness(cluster, "s-0", true);
    await areRunning(cluster, 3);
    await statusIs(cluster, ({ readyReplicas }) => assert.equal(readyReplicas, 3));
    const up = await watch("ADDED", "s-2");
    assert.deepEqual(summary(up.filter(({ type }) => type === "ADDED")), ["ADDED s-0", "ADDED s-1", "ADDED s-2"]);

    for (const pod of ["s-0", "s-1", "s-2"]) await setReadiness(cluster, pod, false);
    await statusIs(cluster, ({ readyReplicas }) => assert.equal(readyReplicas ?? 0, 0));
    await patch(cluster, { replicas: 0 });
    await statusIs(cluster, ({ replicas }) => assert.equal(replicas, 3));
    assert.deepEqual(await images(cluster), ["s-0 old", "s-1 old", "s-2 old"]);
    // With s-1 the last below it serves, and s-2 goes at once, served or not.
    for (const pod of ["s-0", "s-1"]) await setReadiness(cluster, pod, true);
    await have(cluster, []);
    const down = await watch("DELETED", "s-0");
    assert.deepEqual(summary(down.filter(({ type }) => type === "DELETED")), [
      "DELETED s-2",
      "DELETED s-1",
      "DELETED s-0",
    ]);
  },
);

conformance(
  `${area} Burst scaling should run to completion even with unhealthy pods [Slow] [Conformance]`,
  async (_, cluster) => {
    await make(cluster, { podManagementPolicy: "Parallel" });
    await areRunning(cluster, 1);
    await setReadiness(cluster, "s-0", false);
    await patch(cluster, { replicas: 3 });
    await have(cluster, ["s-0 old", "s-1 old", "s-2 old"]);
    await areRunning(cluster, 3);
    await setReadiness(cluster, "s-2", false);
    await patch(cluster, { replicas: 0 });
    await have(cluster, []);
    await statusIs(cluster, ({ replicas }) => assert.equal(replicas, 0));
  },
);

conformance(`${area} should have a working scale subresource [Conformance]`, async (_, cluster) => {
  await make(cluster);
  await areRunning(cluster, 1);
  await exerciseScale(cluster, statefulSets, name);
  await areRunning(cluster, 4);
});

conformance(`${area} should list, patch and delete a collection of StatefulSets [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const made = await make(cluster);
  await areRunning(cluster, 1);
  const body = {
    metadata: { labels: { patched: "yes" } },
    spec: { replicas: 2, template: { spec: { containers: [{ name: "c", image: "new" }] } } },
  };
  const patched = await client.patch(statefulSets, name, { type: "strategic", body }, { namespace });
  assert.deepEqual([patched.spec?.replicas, patched.spec?.template.spec?.containers[0]?.image], [2, "new"]);
  assert.ok(isLater(patched, made));
  await have(cluster, ["s-0 new", "s-1 new"]);
  const labelSelector = "patched=yes";
  assert.equal((await client.list(statefulSets, { labelSelector })).items.length, 1);
  await client.deleteCollection(statefulSets, { namespace, labelSelector });
  await soon(async () => assert.deepEqual((await client.list(statefulSets, { namespace })).items, []));
});

conformance(`${area} should validate Statefulset Status endpoints [Conformance]`, async (_, cluster) => {
  await make(cluster);
  await areRunning(cluster, 1);
  await exerciseStatus(cluster, statefulSets, name);
});
