/** Watching, as the conformance tests of "Watchers" ask. */
import assert from "node:assert/strict";
import { type ConfigMap, configMaps } from "../../src/api/generated/core-v1.ts";
import type { WatchEvent } from "../../src/client/client.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { summary, watchUntil } from "./waiting.ts";

const area = "[sig-api-machinery] Watchers";
/** The end of a watch's expectation: an object that nothing follows. */
const last = (name: string) => (event: WatchEvent) => event.type === "DELETED" && event.object.metadata.name === name;

function maps({ client, namespace }: Cluster) {
  const scope = { namespace };
  return {
    create: (name: string, value: string) =>
      client.create(configMaps, { metadata: { name, namespace, labels: { watched: value } } }, scope),
    patch: (name: string, body: object) => client.patch(configMaps, name, { type: "merge", body }, scope),
    delete: (name: string) => client.delete(configMaps, name, scope),
    /** From now on; a watch without a revision would begin with what there is, which may be a moment old. */
    now: async () => (await client.list(configMaps, scope)).metadata.resourceVersion ?? "",
    watch: (resourceVersion: string, labelSelector: string, fits: (event: WatchEvent) => boolean) =>
      watchUntil(client, configMaps, { namespace, labelSelector, resourceVersion }, fits),
  };
}

/** Type, name and `data.mutation` of each. */
const story = (events: readonly WatchEvent<ConfigMap>[]) =>
  events.map(({ type, object }) => `${type} ${object.metadata.name} ${object.data?.["mutation"] ?? "-"}`);

conformance(
  `${area} should observe add, update, and delete watch notifications on configmaps [Conformance]`,
  async (_, cluster) => {
    const { create, patch, delete: remove, now, watch } = maps(cluster);
    const from = await now();
    const watches = [
      watch(from, "watched in (a)", last("end-a")),
      watch(from, "watched in (b)", last("end-b")),
      watch(from, "watched in (a,b)", last("end-b")),
    ];
    await create("one", "a");
    await patch("one", { data: { mutation: "1" } });
    await patch("one", { data: { mutation: "2" } });
    await remove("one");
    await create("two", "b");
    await remove("two");
    // What comes after all, so that an event too many would have been seen before.
    for (const value of ["a", "b"]) {
      await create(`end-${value}`, value);
      await remove(`end-${value}`);
    }
    const [a, b, both] = await Promise.all(watches);
    const one = ["ADDED one -", "MODIFIED one 1", "MODIFIED one 2", "DELETED one 2"];
    const two = ["ADDED two -", "DELETED two -"];
    const ends = (value: string) => [`ADDED end-${value} -`, `DELETED end-${value} -`];
    assert.deepEqual(story(a!), [...one, ...ends("a")]);
    assert.deepEqual(story(b!), [...two, ...ends("b")]);
    assert.deepEqual(story(both!), [...one, ...two, ...ends("a"), ...ends("b")]);
  },
);

conformance(
  `${area} should be able to start watching from a specific resource version [Conformance]`,
  async (_, cluster) => {
    const { create, patch, delete: remove, watch } = maps(cluster);
    await create("one", "a");
    const first = await patch("one", { data: { mutation: "1" } });
    await patch("one", { data: { mutation: "2" } });
    await remove("one");
    const events = await watch(first.metadata.resourceVersion ?? "", "watched=a", last("one"));
    assert.deepEqual(story(events), ["MODIFIED one 2", "DELETED one 2"]);
  },
);

conformance(
  `${area} should be able to restart watching from the last resource version observed by the previous watch [Conformance]`,
  async (_, cluster) => {
    const { create, patch, delete: remove, now, watch } = maps(cluster);
    const broken = watch(await now(), "watched=a", ({ type }) => type === "MODIFIED");
    await create("one", "a");
    await patch("one", { data: { mutation: "1" } });
    const before = await broken;
    assert.deepEqual(story(before), ["ADDED one -", "MODIFIED one 1"]);
    await patch("one", { data: { mutation: "2" } });
    const restarted = watch(before.at(-1)?.object.metadata.resourceVersion ?? "", "watched=a", last("one"));
    await remove("one");
    assert.deepEqual(story(await restarted), ["MODIFIED one 2", "DELETED one 2"]);
  },
);

conformance(
  `${area} should observe an object deletion if it stops meeting the requirements of the selector [Conformance]`,
  async (_, cluster) => {
    const { create, patch, delete: remove, now, watch } = maps(cluster);
    let deletions = 0;
    const seen = watch(await now(), "watched=a", ({ type }) => type === "DELETED" && ++deletions === 2);
    await create("one", "a");
    await patch("one", { data: { mutation: "1" } });
    await patch("one", { metadata: { labels: { watched: "other" } } });
    await patch("one", { data: { mutation: "2" } });
    await patch("one", { metadata: { labels: { watched: "a" } } });
    await patch("one", { data: { mutation: "3" } });
    await remove("one");
    assert.deepEqual(story(await seen), [
      "ADDED one -",
      "MODIFIED one 1",
      "DELETED one 1",
      "ADDED one 2",
      "MODIFIED one 3",
      "DELETED one 3",
    ]);
  },
);

conformance(`${area} should receive events on concurrent watches in same order [Conformance]`, async (_, cluster) => {
  const { create, patch, delete: remove, now, watch } = maps(cluster);
  const from = await now();
  const whole = watch(from, "watched", last("end"));
  const later: Promise<WatchEvent[]>[] = [];
  for (let round = 0; round < 12; round++) {
    const made = await create(`m-${round}`, "a");
    later.push(watch(made.metadata.resourceVersion ?? "", "watched", last("end")));
    await Promise.all([patch(`m-${round}`, { data: { mutation: "1" } }), create(`n-${round}`, "b")]);
    await Promise.all([remove(`m-${round}`), patch(`n-${round}`, { data: { mutation: "2" } })]);
  }
  await create("end", "a");
  await remove("end");
  const revisions = (events: readonly WatchEvent[]) => events.map(({ object }) => object.metadata.resourceVersion);
  const all = await whole;
  assert.equal(all.length, 12 * 5 + 2, summary(all).join("\n"));
  assert.equal(new Set(revisions(all)).size, all.length);
  for (const events of await Promise.all(later)) {
    assert.deepEqual(revisions(events), revisions(all).slice(-events.length));
    const start = all.length - events.length - 1;
    assert.match(all[start]?.object.metadata.name ?? "", /^m-/);
  }
});
