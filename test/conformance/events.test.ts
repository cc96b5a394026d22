/** Events, in both of their groups, as their conformance tests ask. */
import assert from "node:assert/strict";
import { events as coreEvents } from "../../src/api/generated/core-v1.ts";
import { events } from "../../src/api/generated/events-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { isGone, soon } from "./waiting.ts";

const core = "[sig-instrumentation] Events should";
const api = "[sig-instrumentation] Events API should";

const coreEvent = ({ namespace }: Cluster, name: string) => ({
  metadata: { name, namespace, labels: { mark: namespace } },
  involvedObject: { kind: "Pod", name: "p", namespace },
  message: "first",
  reason: "Test",
  type: "Normal",
  count: 1,
  source: { component: "test" },
});

const apiEvent = ({ namespace }: Cluster, name: string) => ({
  metadata: { name, namespace, labels: { mark: namespace } },
  eventTime: "2026-01-02T03:04:05.000001Z",
  regarding: { kind: "Pod", name: "p", namespace },
  note: "first",
  reason: "Test",
  type: "Normal",
  action: "Do",
  reportingController: `controller-of-${namespace}`,
  reportingInstance: "one",
});

conformance(`${core} manage the lifecycle of an event [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const scope = { namespace };
  const made = await client.create(coreEvents, coreEvent(cluster, "e"), scope);
  const listed = async () => (await client.list(coreEvents, { labelSelector: `mark=${namespace}` })).items;
  assert.deepEqual(
    (await listed()).map(({ metadata }) => metadata.name),
    ["e"],
  );
  const body = { message: "patched" };
  assert.ok(isLater(await client.patch(coreEvents, "e", { type: "strategic", body }, scope), made));
  const present = await client.get(coreEvents, "e", scope);
  assert.equal(present.message, "patched");
  const series = { count: 2, lastObservedTime: "2026-01-02T03:04:05.000000Z" };
  await client.update(coreEvents, { ...present, series }, scope);
  assert.deepEqual((await client.get(coreEvents, "e", scope)).series, series);
  await client.delete(coreEvents, "e", scope);
  await isGone(client, coreEvents, "e", scope);
  assert.deepEqual(await listed(), []);
});

conformance(`${core} delete a collection of events [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  for (const name of ["a", "b", "c"]) await client.create(coreEvents, coreEvent(cluster, name), { namespace });
  const options = { namespace, labelSelector: `mark=${namespace}` };
  assert.equal((await client.list(coreEvents, options)).items.length, 3);
  await client.deleteCollection(coreEvents, options);
  await soon(async () => assert.deepEqual((await client.list(coreEvents, options)).items, []));
});

conformance(
  `${api} ensure that an event can be fetched, patched, deleted, and listed [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const scope = { namespace };
    const made = await client.create(events, apiEvent(cluster, "e"), scope);
    const names = async (options: object) =>
      (await client.list(events, options)).items.map(({ metadata }) => metadata.name);
    assert.ok((await names({ labelSelector: `mark=${namespace}` })).includes("e"));
    assert.ok((await names(scope)).includes("e"));
    const controller = `controller-of-${namespace}`;
    // The same event, under the names that its fields have in each group.
    assert.deepEqual(await names({ ...scope, fieldSelector: `reportingController=${controller}` }), ["e"]);
    const bySource = await client.list(coreEvents, { ...scope, fieldSelector: `source=${controller}` });
    assert.deepEqual(
      bySource.items.map(({ metadata, message }) => [metadata.name, message]),
      [["e", "first"]],
    );
    const series = { count: 2, lastObservedTime: "2026-01-02T03:04:06.000000Z" };
    assert.ok(isLater(await client.patch(events, "e", { type: "strategic", body: { series } }, scope), made));
    const present = await client.get(events, "e", scope);
    assert.deepEqual(present.series, series);
    const later = { ...series, count: 100 };
    await client.update(events, { ...present, series: later }, scope);
    assert.deepEqual((await client.get(events, "e", scope)).series, later);
    await client.delete(events, "e", scope);
    await isGone(client, events, "e", scope);
    assert.deepEqual(await names({ labelSelector: `mark=${namespace}` }), []);
  },
);

conformance(`${api} delete a collection of events [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  for (const name of ["a", "b", "c"]) await client.create(events, apiEvent(cluster, name), { namespace });
  const options = { namespace, labelSelector: `mark=${namespace}` };
  assert.equal((await client.list(events, options)).items.length, 3);
  await client.deleteCollection(events, options);
  await soon(async () => assert.deepEqual((await client.list(events, options)).items, []));
});
