/** DaemonSets and the revisions they keep, as their conformance tests ask of the API and the controller. */
import assert from "node:assert/strict";
import { controllerRevisions, type DaemonSet, daemonSets } from "../../src/api/generated/apps-v1.ts";
import { nodes, pods } from "../../src/api/generated/core-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon } from "./waiting.ts";
import { exerciseStatus, podsOf, statusByImage, templateOf } from "./workloads.ts";

withHollowNodes({ names: ["one", "two"], status: statusByImage });

const area = "[sig-apps] Daemon set [Serial] should";
const name = "d";
const labels = { app: "d" };
type Spec = Partial<NonNullable<DaemonSet["spec"]>>;

const make = ({ client, namespace }: Cluster, spec: Spec = {}): Promise<DaemonSet> =>
  client.create(
    daemonSets,
    {
      metadata: { name, namespace, labels },
      spec: { selector: { matchLabels: labels }, template: templateOf(labels, "old"), ...spec },
    },
    { namespace },
  );

const setImage = ({ client, namespace }: Cluster, image: string) => {
  const body = { spec: { template: { spec: { containers: [{ name: "c", image }] } } } };
  return client.patch(daemonSets, name, { type: "strategic", body }, { namespace });
};

/** Waits until the nodes that have a running pod are these, all with this image. */
const runsOn = (cluster: Cluster, expected: readonly string[], image = "old") =>
  soon(async () => {
    const present = await podsOf(cluster);
    assert.deepEqual(
      present.map(({ spec, status }) => `${spec?.nodeName} ${spec?.containers[0]?.image} ${status?.phase}`).sort(),
      expected.map((node) => `${node} ${image} Running`),
    );
    return present;
  });

conformance(`${area} run and stop simple daemon [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await make(cluster);
  const [pod] = await runsOn(cluster, ["one", "two"]);
  await client.delete(pods, pod?.metadata.name ?? "", { namespace });
  await isGone(client, pods, pod?.metadata.name ?? "", { namespace });
  await runsOn(cluster, ["one", "two"]);
});

conformance(`${area} run and stop complex daemon [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const colour = (value: string | null) =>
    client.patch(nodes, "two", { type: "merge", body: { metadata: { labels: { colour: value } } } });
  const template = {
    ...templateOf(labels, "old"),
    spec: { ...templateOf(labels, "old").spec, nodeSelector: { colour: "blue" } },
  };
  await make(cluster, { template });
  await soon(async () =>
    assert.equal((await client.get(daemonSets, name, { namespace })).status?.observedGeneration, 1),
  );
  assert.deepEqual(await podsOf(cluster), []);
  await colour("blue");
  await runsOn(cluster, ["two"]);
  await colour("green");
  await runsOn(cluster, []);
  const spec = { updateStrategy: { type: "RollingUpdate" }, template: { spec: { nodeSelector: { colour: "green" } } } };
  await client.patch(daemonSets, name, { type: "strategic", body: { spec } }, { namespace });
  await runsOn(cluster, ["two"]);
  await colour(null);
});

conformance(`${area} retry creating failed daemon pods [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await make(cluster);
  const [pod] = await runsOn(cluster, ["one", "two"]);
  const podName = pod?.metadata.name ?? "";
  await client.patch(
    pods,
    podName,
    { type: "merge", body: { status: { phase: "Failed" } } },
    { namespace, subresource: "status" },
  );
  await isGone(client, pods, podName, { namespace });
  await runsOn(cluster, ["one", "two"]);
});

conformance(
  `${area} update pod when spec was updated and update strategy is RollingUpdate [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await make(cluster, { updateStrategy: { type: "RollingUpdate" } });
    await runsOn(cluster, ["one", "two"]);
    const hash = async () => [
      ...new Set((await podsOf(cluster)).map(({ metadata }) => metadata.labels?.["controller-revision-hash"])),
    ];
    const before = await hash();
    assert.equal(before.length, 1);
    await setImage(cluster, "new");
    await runsOn(cluster, ["one", "two"], "new");
    const after = await hash();
    assert.equal(after.length, 1);
    assert.notEqual(after[0], before[0]);
    // A controller whose cache lacked the first revision yet gives the second its number later.
    await soon(async () => {
      const { items } = await client.list(controllerRevisions, { namespace, labelSelector: "app=d" });
      assert.deepEqual(items.map(({ revision }) => revision).sort(), [1, 2]);
    });
  },
);

conformance(`${area} rollback without unnecessary restarts [Conformance]`, async (_, cluster) => {
  await make(cluster, { updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } } });
  const before = await runsOn(cluster, ["one", "two"]);
  await setImage(cluster, "unready");
  // One pod is of the new template and never ready; the other stays.
  const kept = await soon(async () => {
    const present = await podsOf(cluster);
    const images = present.map(({ spec }) => spec?.containers[0]?.image).sort();
    assert.deepEqual(images, ["old", "unready"]);
    return present.find(({ spec }) => spec?.containers[0]?.image === "old");
  });
  assert.ok(before.some(({ metadata }) => metadata.uid === kept?.metadata.uid));
  await setImage(cluster, "old");
  const after = await runsOn(cluster, ["one", "two"]);
  assert.ok(
    after.some(({ metadata }) => metadata.uid === kept?.metadata.uid),
    "the pod that was right was replaced",
  );
});

conformance(`${area} list and delete a collection of DaemonSets [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await make(cluster);
  await runsOn(cluster, ["one", "two"]);
  const fieldSelector = `metadata.namespace=${namespace}`;
  assert.equal((await client.list(daemonSets, { labelSelector: "app=d", fieldSelector })).items.length, 1);
  await client.deleteCollection(daemonSets, { namespace, labelSelector: "app=d" });
  await soon(async () => assert.deepEqual((await client.list(daemonSets, { namespace })).items, []));
});

conformance(`${area} verify changes to a daemon set status [Conformance]`, async (_, cluster) => {
  await make(cluster);
  await runsOn(cluster, ["one", "two"]);
  await exerciseStatus(cluster, daemonSets, name);
});

conformance(
  "[sig-apps] ControllerRevision [Serial] should manage the lifecycle of a ControllerRevision [Conformance]",
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const scope = { namespace };
    await make(cluster);
    await runsOn(cluster, ["one", "two"]);
    const list = async () => (await client.list(controllerRevisions, { ...scope, labelSelector: "app=d" })).items;
    const haveRevisions = (expected: number[]) =>
      soon(async () => {
        const found = (await list()).map(({ revision }) => revision);
        assert.deepEqual(
          found.sort((a, b) => a - b),
          expected,
        );
      });
    const [first] = await list();
    assert.ok(first);
    const firstName = first.metadata.name ?? "";
    const label = { metadata: { labels: { life: "patched" } } };
    const patched = await client.patch(controllerRevisions, firstName, { type: "strategic", body: label }, scope);
    assert.equal(patched.metadata.labels?.["life"], "patched");
    assert.ok(isLater(patched, first));
    const { labels: of, ownerReferences } = first.metadata;
    const metadata = {
      name: `${firstName}-copy`,
      namespace,
      ...(of ? { labels: of } : {}),
      ...(ownerReferences ? { ownerReferences } : {}),
    };
    const copy = { ...first, metadata, revision: first.revision + 1 };
    const second = await client.create(controllerRevisions, copy, scope);
    await haveRevisions([1, 2]);
    await client.delete(controllerRevisions, firstName, scope);
    await haveRevisions([2]);
    const labels = { ...second.metadata.labels, life: "updated" };
    await soon(async () => {
      const present = await client.get(controllerRevisions, `${firstName}-copy`, scope);
      await client.update(controllerRevisions, { ...present, metadata: { ...present.metadata, labels } }, scope);
    });
    await setImage(cluster, "new");
    await haveRevisions([2, 3]);
    await client.deleteCollection(controllerRevisions, { ...scope, labelSelector: "life=updated" });
    await haveRevisions([3]);
  },
);
