import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client, WatchEvent, WatchOptions } from "../../../src/client/client.ts";
import { createInformer } from "../../../src/client/informer.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import type { KubeObject, ResourceType } from "../../../src/machinery/object.ts";
import { badRequest, expired } from "../../../src/machinery/status.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const things: ResourceType = { group: "", version: "v1", resource: "things", kind: "Thing", namespaced: true };

function thing(name: string, version: string, more: Partial<KubeObject["metadata"]> = {}): KubeObject {
  return { metadata: { name, namespace: "a", uid: `uid-${name}`, resourceVersion: version, ...more } };
}
const event = (type: WatchEvent["type"], object: KubeObject): WatchEvent => ({ type, object });
const bookmark = (version: string): WatchEvent =>
  event("BOOKMARK", {
    metadata: { resourceVersion: version, annotations: { "k8s.io/initial-events-end": "true" } },
  });

/** Plays one script a watch: events, or an error to throw; `end` events never end by themselves. */
function scripted(scripts: (WatchEvent | Error)[][], lists: KubeObject[][] = []) {
  const watches: WatchOptions[] = [];
  const client = {
    async list() {
      return { metadata: { resourceVersion: "100" }, items: lists.shift() ?? [] };
    },
    async *watch(_type: ResourceType, options: WatchOptions) {
      watches.push(options);
      const script = scripts.shift();
      for (const step of script ?? []) {
        if (step instanceof Error) throw step;
        yield step;
      }
      if (scripts.length > 0) return;
      await new Promise((resolve) => options.signal?.addEventListener("abort", resolve));
    },
  } as unknown as Client;
  return { client, watches };
}

async function run(scripts: (WatchEvent | Error)[][], lists: KubeObject[][] = []) {
  const clock = new FakeClock();
  const { client, watches } = scripted(scripts, lists);
  const informer = createInformer(client, things, { clock, logger: silentLogger });
  const log: string[] = [];
  informer.on({
    add: (object) => log.push(`add ${object.metadata.name} ${object.metadata.resourceVersion}`),
    update: (object, old) =>
      log.push(`update ${object.metadata.name} ${old.metadata.resourceVersion}-${object.metadata.resourceVersion}`),
    delete: (object) => log.push(`delete ${object.metadata.name} ${object.metadata.resourceVersion}`),
  });
  const stop = new AbortController();
  const stopped = informer.start(stop.signal);
  for (let i = 0; i < 8; i++) await clock.advance(60_000);
  stop.abort();
  await stopped;
  return { informer, log, watches };
}

test("the initial events become the state at their end, live events follow", async () => {
  const { informer, log, watches } = await run([
    [
      event("ADDED", thing("one", "1")),
      event("ADDED", thing("two", "2")),
      bookmark("5"),
      event("MODIFIED", thing("one", "6")),
      event("DELETED", thing("two", "7")),
    ],
  ]);
  assert.deepEqual(log, ["add one 1", "add two 2", "update one 1-6", "delete two 7"]);
  assert.equal(informer.hasSynced, true);
  assert.deepEqual(
    informer.list("a").map((object) => object.metadata.name),
    ["one"],
  );
  assert.equal(watches[0]?.sendInitialEvents, true);
  assert.equal(watches[0]?.resourceVersionMatch, "NotOlderThan");
});

test("a watch that ends is resumed from the last version", async () => {
  const { watches } = await run([
    [event("ADDED", thing("one", "1")), bookmark("5"), event("MODIFIED", thing("one", "6"))],
    [],
  ]);
  assert.equal(watches[1]?.resourceVersion, "6");
  assert.equal(watches[1]?.sendInitialEvents, undefined);
});

test("after 410 the state is fetched anew and handlers hear only of differences", async () => {
  const { log } = await run([
    [
      event("ADDED", thing("kept", "1")),
      event("ADDED", thing("gone", "2")),
      event("ADDED", thing("again", "3")),
      bookmark("5"),
    ],
    [expired("too old")],
    [
      event("ADDED", thing("kept", "1")),
      event("ADDED", thing("again", "8", { uid: "another" })),
      event("ADDED", thing("new", "9")),
      bookmark("9"),
    ],
  ]);
  assert.deepEqual(log.slice(3), ["delete gone 2", "delete again 3", "add again 8", "add new 9"]);
});

test("a server without initial events is listed and watched", async () => {
  const { log, watches } = await run(
    [[badRequest("sendInitialEvents is not known")], [event("MODIFIED", thing("one", "101"))]],
    [[thing("one", "1")]],
  );
  assert.deepEqual(log, ["add one 1", "update one 1-101"]);
  assert.equal(watches[1]?.resourceVersion, "100");
});

test("an error in a handler stops neither the others nor the informer", async () => {
  const { client } = scripted([[event("ADDED", thing("one", "1")), bookmark("5")]]);
  const informer = createInformer(client, things, { clock: new FakeClock(), logger: silentLogger });
  const seen: string[] = [];
  informer.on({
    add: () => {
      throw new Error("broken");
    },
  });
  informer.on({ add: (object) => seen.push(object.metadata.name ?? "") });
  const stop = new AbortController();
  const stopped = informer.start(stop.signal);
  await informer.synced();
  stop.abort();
  await stopped;
  assert.deepEqual(seen, ["one"]);
});

test("indexes follow changes, also when they are added late", async () => {
  const clock = new FakeClock();
  const { client } = scripted([
    [
      event("ADDED", thing("one", "1", { labels: { app: "x" } })),
      bookmark("5"),
      event("MODIFIED", thing("one", "6", { labels: { app: "y" } })),
    ],
  ]);
  const informer = createInformer(client, things, {
    clock,
    logger: silentLogger,
    indexers: { app: (object) => [object.metadata.labels?.["app"] ?? ""] },
  });
  const stop = new AbortController();
  const stopped = informer.start(stop.signal);
  await clock.advance(10);
  informer.addIndex("uid", (object) => [object.metadata.uid ?? ""]);
  assert.equal(informer.byIndex("app", "x").length, 0);
  assert.equal(informer.byIndex("app", "y").length, 1);
  assert.equal(informer.byIndex("uid", "uid-one").length, 1);
  stop.abort();
  await stopped;
});
