/** Leases, runtime classes, pod templates and nodes, as their conformance tests ask of the API. */
import assert from "node:assert/strict";
import { leases } from "../../src/api/generated/coordination-v1.ts";
import { nodes, pods, podTemplates } from "../../src/api/generated/core-v1.ts";
import { runtimeClasses } from "../../src/api/generated/node-v1.ts";
import { readyNode } from "../support/hollow-nodes.ts";
import { exerciseApi, isLater } from "./api-operations.ts";
import { conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon } from "./waiting.ts";
import { templateOf } from "./workloads.ts";

withHollowNodes({ names: ["one", "two"] });

conformance("[sig-node] Lease lease API should be available [Conformance]", async (_, { client, namespace }) => {
  const scope = { namespace };
  const time = "2026-01-02T03:04:05.000001Z";
  const spec = {
    holderIdentity: "one",
    leaseDurationSeconds: 30,
    acquireTime: time,
    renewTime: time,
    leaseTransitions: 0,
  };
  const made = await client.create(leases, { metadata: { name: "l", namespace }, spec }, scope);
  assert.deepEqual((await client.get(leases, "l", scope)).spec, spec);
  const next = { ...spec, holderIdentity: "two", renewTime: "2026-01-02T03:04:15.000001Z", leaseTransitions: 1 };
  const updated = await client.update(leases, { ...made, spec: next }, scope);
  assert.deepEqual(updated.spec, next);
  const body = { spec: { holderIdentity: "three", leaseDurationSeconds: 60 } };
  const patched = await client.patch(leases, "l", { type: "strategic", body }, scope);
  assert.deepEqual(patched.spec, { ...next, ...body.spec });
  assert.ok(isLater(patched, made));
  await client.create(
    leases,
    { metadata: { name: "other", namespace, labels: { deletecollection: "true" } }, spec },
    scope,
  );
  assert.equal((await client.list(leases, scope)).items.length, 2);
  await client.deleteCollection(leases, { ...scope, labelSelector: "deletecollection=true" });
  assert.equal((await client.list(leases, scope)).items.length, 1);
  await client.delete(leases, "l", scope);
  await isGone(client, leases, "l", scope);
});

const classes = "[sig-node] RuntimeClass should";
const makePod = (runtimeClassName: string) => ({ containers: [{ name: "c", image: "i" }], runtimeClassName });

conformance(`${classes} support RuntimeClasses API operations [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, { type: runtimeClasses, make: () => ({ metadata: {}, handler: "none" }) }),
);

const unknownClass = { code: 403, reason: "Forbidden", message: /RuntimeClass.* not found/ };

conformance(
  `${classes} reject a Pod requesting a non-existent RuntimeClass [NodeConformance] [Conformance]`,
  (_, { client, namespace }) =>
    assert.rejects(
      client.create(pods, { metadata: { name: "p", namespace }, spec: makePod("never-was") }, { namespace }),
      unknownClass,
    ),
);

conformance(
  `${classes} reject a Pod requesting a deleted RuntimeClass [NodeConformance] [Conformance]`,
  async (_, { client, namespace }) => {
    const name = `going-${namespace}`;
    await client.create(runtimeClasses, { metadata: { name }, handler: "none" });
    await client.delete(runtimeClasses, name);
    await isGone(client, runtimeClasses, name);
    await soon(() =>
      assert.rejects(
        client.create(pods, { metadata: { generateName: "p", namespace }, spec: makePod(name) }, { namespace }),
        unknownClass,
      ),
    );
  },
);

conformance(
  `${classes} schedule a Pod requesting a RuntimeClass without PodOverhead [NodeConformance] [Conformance]`,
  async (_, { client, namespace }) => {
    const name = `plain-${namespace}`;
    await client.create(runtimeClasses, { metadata: { name }, handler: "test-handler" });
    await soon(() => client.create(pods, { metadata: { name: "p", namespace }, spec: makePod(name) }, { namespace }));
    await soon(async () => {
      const { spec } = await client.get(pods, "p", { namespace });
      assert.match(spec?.nodeName ?? "", /^(one|two)$/);
      assert.equal(spec?.overhead, undefined);
    });
  },
);

conformance(
  `${classes} schedule a Pod requesting a RuntimeClass and initialize its Overhead [NodeConformance] [Conformance]`,
  async (_, { client, namespace }) => {
    const name = `heavy-${namespace}`;
    const podFixed = { cpu: "10m", memory: "1Mi" };
    await client.create(runtimeClasses, { metadata: { name }, handler: "test-handler", overhead: { podFixed } });
    await soon(() => client.create(pods, { metadata: { name: "p", namespace }, spec: makePod(name) }, { namespace }));
    await soon(async () => {
      const { spec } = await client.get(pods, "p", { namespace });
      assert.match(spec?.nodeName ?? "", /^(one|two)$/);
      assert.deepEqual(spec?.overhead, podFixed);
    });
  },
);

const templates = "[sig-node] PodTemplates should";
const template = templateOf({ app: "t" });

conformance(`${templates} run the lifecycle of PodTemplates [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: podTemplates,
    make: () => ({ metadata: {}, template }),
    patches: [
      {
        patch: { type: "strategic", body: { metadata: { labels: { patched: "yes" } } } },
        check: ({ metadata }) => assert.equal(metadata.labels?.["patched"], "yes"),
      },
    ],
  }),
);

conformance(`${templates} delete a collection of pod templates [Conformance]`, async (_, { client, namespace }) => {
  const labels = { mark: namespace };
  for (const name of ["a", "b", "c"])
    await client.create(podTemplates, { metadata: { name, namespace, labels }, template }, { namespace });
  const options = { namespace, labelSelector: `mark=${namespace}` };
  assert.equal((await client.list(podTemplates, options)).items.length, 3);
  await client.deleteCollection(podTemplates, options);
  await soon(async () => assert.deepEqual((await client.list(podTemplates, options)).items, []));
});

conformance(`${templates} replace a pod template [Conformance]`, async (_, { client, namespace }) => {
  const made = await client.create(podTemplates, { metadata: { name: "t", namespace }, template }, { namespace });
  const annotations = { replaced: "true" };
  const next = { ...made, metadata: { ...made.metadata, annotations } };
  const replaced = await client.update(podTemplates, next, { namespace });
  assert.deepEqual(replaced.metadata.annotations, annotations);
  assert.ok(isLater(replaced, made));
  await assert.rejects(client.update(podTemplates, next, { namespace }), { code: 409, reason: "Conflict" });
});

conformance(
  "[sig-node] Node Lifecycle should run through the lifecycle of a node [Conformance]",
  async (_, { client, namespace }) => {
    const name = `fake-${namespace}`;
    const { spec, status } = readyNode(name);
    const made = await client.create(nodes, {
      metadata: { name },
      spec: { ...spec, unschedulable: true },
      status: status!,
    });
    assert.equal((await client.get(nodes, name)).metadata.uid, made.metadata.uid);
    const body = { metadata: { labels: { mark: namespace } } };
    const patched = await client.patch(nodes, name, { type: "strategic", body });
    assert.ok(isLater(patched, made));
    const labelSelector = `mark=${namespace}`;
    assert.equal((await client.list(nodes, { labelSelector })).items.length, 1);
    await soon(async () => {
      const present = await client.get(nodes, name);
      const labels = { ...present.metadata.labels, mark: `${namespace}-updated` };
      const updated = await client.update(nodes, { ...present, metadata: { ...present.metadata, labels } });
      assert.equal(updated.metadata.labels?.["mark"], `${namespace}-updated`);
    });
    await client.deleteCollection(nodes, { labelSelector: `mark=${namespace}-updated` });
    await isGone(client, nodes, name);
  },
);
