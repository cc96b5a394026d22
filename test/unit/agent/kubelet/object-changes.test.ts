import assert from "node:assert/strict";
import { test } from "node:test";
import { ObjectChanges } from "../../../../src/agent/kubelet/object-changes.ts";
import { type ConfigMap, configMaps } from "../../../../src/api/generated/core-v1.ts";
import type { Client, WatchEvent, WatchOptions } from "../../../../src/client/client.ts";
import { eventually } from "../../../support/eventually.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

/** Answers watches of one config map. */
function rig(initial?: ConfigMap) {
  const watches: (WatchOptions & { push(event: WatchEvent): void })[] = [];
  const client = {
    async *watch(_: unknown, options: WatchOptions) {
      const queue: WatchEvent[] = initial ? [{ type: "ADDED", object: initial }] : [];
      const annotations = { "k8s.io/initial-events-end": "true" };
      queue.push({ type: "BOOKMARK", object: { metadata: { resourceVersion: "9", annotations } } });
      let wake = () => {};
      const push = (event: WatchEvent) => {
        queue.push(event);
        wake();
      };
      watches.push({ ...options, push });
      options.signal?.addEventListener("abort", () => wake());
      while (!options.signal?.aborted) {
        const event = queue.shift();
        if (event) yield event;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  } as unknown as Client;
  return { changes: new ObjectChanges(client, new FakeClock()), watches };
}
const object = (resourceVersion: string, more: Partial<ConfigMap> = {}): ConfigMap => ({
  metadata: { name: "c", namespace: "ns", uid: "u", resourceVersion },
  data: { large: "text" },
  ...more,
});

test("each object is watched once, by its name, and all who follow it hear of it", async () => {
  const { changes, watches } = rig(object("5"));
  const heard: string[] = [];
  const ends = ["a", "b"].map((who) => changes.follow(configMaps, "ns", "c", (version) => heard.push(who + version)));
  await eventually(() => assert.deepEqual(heard, ["a5", "b5"]));
  assert.equal(watches.length, 1);
  assert.deepEqual([watches[0]?.namespace, watches[0]?.fieldSelector], ["ns", "metadata.name=c"]);
  watches[0]?.push({ type: "MODIFIED", object: object("6") });
  await eventually(() => assert.deepEqual(heard.slice(2), ["a6", "b6"]));
  for (const end of ends) end();
});

test("who comes later hears of the version that is there", async () => {
  const { changes } = rig(object("5"));
  const heard: (string | undefined)[] = [];
  const first = changes.follow(configMaps, "ns", "c", (version) => heard.push(version));
  await eventually(() => assert.deepEqual(heard, ["5"]));
  const second = changes.follow(configMaps, "ns", "c", (version) => heard.push(`late ${version}`));
  assert.deepEqual(heard, ["5", "late 5"]);
  first();
  second();
});

test("an object that is not there yet is heard of when it is made, and when it goes", async () => {
  const { changes, watches } = rig();
  const heard: (string | undefined)[] = [];
  const end = changes.follow(configMaps, "ns", "c", (version) => heard.push(version));
  await eventually(() => assert.equal(watches.length, 1));
  watches[0]?.push({ type: "ADDED", object: object("12") });
  watches[0]?.push({ type: "DELETED", object: object("13") });
  watches[0]?.push({ type: "ADDED", object: object("14") });
  await eventually(() => assert.deepEqual(heard, ["12", undefined, "14"]));
  end();
});

test("the watch ends with the last who follows, and at once for what is immutable", async () => {
  const { changes, watches } = rig(object("5"));
  const ends = [1, 2].map(() => changes.follow(configMaps, "ns", "c", () => {}));
  await eventually(() => assert.equal(watches.length, 1));
  ends[0]?.();
  assert.equal(watches[0]?.signal?.aborted, false);
  ends[1]?.();
  assert.equal(watches[0]?.signal?.aborted, true);

  const fixed = rig(object("5", { immutable: true }));
  const end = fixed.changes.follow(configMaps, "ns", "c", () => {});
  await eventually(() => assert.equal(fixed.watches[0]?.signal?.aborted, true));
  end();
});
