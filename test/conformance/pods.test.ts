/** Pods, as the conformance tests that need no containers ask of the API. */
import assert from "node:assert/strict";
import { type Container, type Pod, pods } from "../../src/api/generated/core-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon, summary, watchUntil } from "./waiting.ts";
import { areRunning } from "./workloads.ts";

withHollowNodes({ names: ["one", "two"] });

const area = "[sig-node] Pods should";
const container: Container = { name: "c", image: "i" };

const make = (
  { client, namespace }: Cluster,
  name: string,
  metadata: Pod["metadata"] = {},
  spec: Partial<NonNullable<Pod["spec"]>> = {},
): Promise<Pod> =>
  client.create(
    pods,
    { metadata: { name, namespace, ...metadata }, spec: { containers: [container], ...spec } },
    { namespace },
  );

conformance(`${area} be submitted and removed [NodeConformance] [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const { metadata } = await client.list(pods, { namespace });
  const seen = watchUntil(
    client,
    pods,
    { namespace, labelSelector: "time=now", resourceVersion: metadata.resourceVersion! },
    ({ type }) => type === "DELETED",
  );
  // What holds it for a moment, as the containers of a real one would.
  await make(cluster, "p", { labels: { time: "now" }, finalizers: ["test.example.com/held"] });
  assert.equal((await client.list(pods, { namespace, labelSelector: "time=now" })).items.length, 1);
  await areRunning(cluster, 1);
  await client.delete(pods, "p", { namespace, gracePeriodSeconds: 30 });
  const going = await client.get(pods, "p", { namespace });
  assert.ok(going.metadata.deletionTimestamp);
  assert.ok((going.metadata.deletionGracePeriodSeconds ?? 31) <= 30);
  await client.patch(pods, "p", { type: "merge", body: { metadata: { finalizers: null } } }, { namespace });
  const events = await seen;
  assert.equal(summary(events)[0], "ADDED p");
  assert.ok(events.at(-1)?.object.metadata.deletionTimestamp);
  assert.deepEqual((await client.list(pods, { namespace, labelSelector: "time=now" })).items, []);
});

conformance(`${area} be updated [NodeConformance] [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await make(cluster, "p", { labels: { time: "first" } });
  await areRunning(cluster, 1, "time=first");
  await soon(async () => {
    const present = await client.get(pods, "p", { namespace });
    await client.update(
      pods,
      { ...present, metadata: { ...present.metadata, labels: { time: "second" } } },
      { namespace },
    );
  });
  await areRunning(cluster, 1, "time=second");
});

conformance(`${area} delete a collection of pods [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  for (const name of ["a", "b", "c"]) await make(cluster, name, { labels: { type: "testing" } });
  await areRunning(cluster, 3);
  await client.deleteCollection(pods, { namespace, labelSelector: "type=testing", gracePeriodSeconds: 0 });
  await soon(async () => assert.deepEqual((await client.list(pods, { namespace })).items, []));
});

conformance(`${area} run through the lifecycle of Pods and PodStatus [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const scope = { namespace };
  const made = await make(cluster, "p", { labels: { static: "yes" } });
  const options = { namespace, labelSelector: "static=yes", resourceVersion: made.metadata.resourceVersion! };
  const readiness = ({ status }: Pod) => status?.conditions?.find(({ type }) => type === "Ready")?.status;
  await watchUntil(client, pods, options, ({ object }) => readiness(object) === "True");
  const body = {
    metadata: { labels: { life: "patched" } },
    spec: { terminationGracePeriodSeconds: 30, containers: [{ name: "c", image: "new" }] },
  };
  const patched = await client.patch(pods, "p", { type: "strategic", body }, scope);
  assert.ok(isLater(patched, made));
  const present = await client.get(pods, "p", scope);
  assert.deepEqual([present.metadata.labels?.["life"], present.spec?.containers[0]?.image], ["patched", "new"]);
  await soon(async () => {
    const pod = await client.get(pods, "p", scope);
    const conditions = (pod.status?.conditions ?? []).map((found) =>
      found.type === "Ready" ? { ...found, status: "False" } : found,
    );
    await client.update(pods, { ...pod, status: { ...pod.status, conditions } }, { ...scope, subresource: "status" });
  });
  await watchUntil(
    client,
    pods,
    { ...options, resourceVersion: patched.metadata.resourceVersion! },
    ({ object }) => readiness(object) === "False",
  );
  assert.equal(readiness(await client.get(pods, "p", scope)), "False");
  await client.deleteCollection(pods, { namespace, labelSelector: "static=yes" });
  await watchUntil(client, pods, options, ({ type }) => type === "DELETED");
  await isGone(client, pods, "p", scope);
});

conformance(`${area} patch a pod status [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const made = await make(cluster, "p", { labels: { mark: "yes" } });
  await areRunning(cluster, 1);
  const condition = { type: "Patched", status: "True", lastTransitionTime: "2026-01-02T03:04:05Z" };
  const body = {
    metadata: { annotations: { patched: "yes" } },
    status: { message: "Patched by a test", reason: "Test", conditions: [condition] },
  };
  const patched = await client.patch(pods, "p", { type: "strategic", body }, { namespace, subresource: "status" });
  assert.deepEqual([patched.status?.message, patched.status?.reason], ["Patched by a test", "Test"]);
  assert.ok(patched.status?.conditions?.some(({ type }) => type === "Patched"));
  assert.equal(patched.metadata.annotations?.["patched"], "yes");
  assert.equal((await client.get(pods, "p", { namespace })).metadata.uid, made.metadata.uid);
});

conformance(
  "[sig-node] Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for memory and cpu [Conformance]",
  async (_, cluster) => {
    const resources = { requests: { cpu: "100m", memory: "100Mi" }, limits: { cpu: "100m", memory: "100Mi" } };
    const { status } = await make(cluster, "p", {}, { containers: [{ ...container, resources }] });
    assert.equal(status?.qosClass, "Guaranteed");
    assert.equal(
      (await cluster.client.get(pods, "p", { namespace: cluster.namespace })).status?.qosClass,
      "Guaranteed",
    );
  },
);

conformance(
  "[sig-node] Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful delete [Conformance]",
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const made = await make(cluster, "p", { generation: 100, finalizers: ["test.example.com/held"] });
    assert.equal(made.metadata.generation, 1);
    await areRunning(cluster, 1);
    await client.delete(pods, "p", { namespace, gracePeriodSeconds: 60 });
    assert.equal((await client.get(pods, "p", { namespace })).metadata.generation, 2);
    await client.patch(pods, "p", { type: "merge", body: { metadata: { finalizers: null } } }, { namespace });
    await isGone(client, pods, "p", { namespace });
  },
);

conformance(
  "[sig-node] Sysctls [LinuxOnly] [NodeConformance] should reject invalid sysctls [Conformance]",
  (_, cluster) => {
    const names = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar..", "/0"];
    const sysctls = names.map((name) => ({ name, value: "1" }));
    return assert.rejects(
      make(cluster, "p", {}, { securityContext: { sysctls } }),
      ({ code, message }: Error & { code: number }) => {
        assert.equal(code, 422);
        for (const wrong of ["foo-", "bar.."])
          assert.match(message, new RegExp(`Invalid value: "${wrong.replaceAll(".", "\\.")}"`));
        assert.doesNotMatch(message, /Invalid value: "(safe-and-unsafe|kernel\.shmmax)"/);
        return true;
      },
    );
  },
);
