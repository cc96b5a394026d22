import assert from "node:assert/strict";
import { test } from "node:test";
import { ioClock } from "../../../../src/machinery/clock.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import type { EtcdConnection } from "../../../../src/store/etcd/etcd-connection.ts";
import type { WatchResponse } from "../../../../src/store/etcd/etcd-messages.ts";
import { WatchHub } from "../../../../src/store/etcd/watch-hub.ts";
import type { StoreEvent } from "../../../../src/store/store.ts";
import { eventually } from "../../../support/eventually.ts";

const value = Buffer.from("x");

/** A hub that stands at revision 10, on a connection whose watch the test writes. */
function hubAt10() {
  const told: { revisions: number[]; progress: number }[] = [];
  const sent: WatchResponse[] = [];
  let wake = () => {};
  async function* responses() {
    for (;;) {
      for (let next = sent.shift(); next; next = sent.shift()) yield next;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  const connection = {
    moved: new AbortController().signal,
    bidi: () => ({ call: { write: () => {}, end: () => {}, responses: responses() }, failed: () => {} }),
  } as unknown as EtcdConnection;
  const hub = new WatchHub({
    connection,
    clock: ioClock,
    logger: silentLogger,
    onEvents: (events, progress) => told.push({ revisions: events.map(({ revision }) => revision), progress }),
    onLost: (error) => assert.fail(error),
  });
  hub.start(10);
  return {
    hub,
    told,
    wrote: (revision: number) => hub.wrote(own(revision)),
    watched(...revisions: number[]) {
      sent.push(response(revisions));
      wake();
    },
  };
}

function own(revision: number): StoreEvent {
  const entry = { key: `/k/${revision}`, value, createRevision: revision, modRevision: revision };
  return { type: "put", key: entry.key, revision, entry };
}

function response(revisions: readonly number[]): WatchResponse {
  const events = revisions.map((revision) => ({
    type: "PUT" as const,
    kv: { key: `/k/${revision}`, createRevision: revision, modRevision: revision, version: 1, value, lease: 0n },
    prevKv: undefined,
  }));
  return {
    header: { revision: revisions.at(-1)! },
    watchId: 0,
    created: false,
    canceled: false,
    compactRevision: 0,
    cancelReason: "",
    fragment: false,
    events,
  };
}

test("an own write that is next is handed out at once, and the watch's copy is passed over", async () => {
  const { hub, told, wrote, watched } = hubAt10();
  wrote(11);
  assert.deepEqual(told, [{ revisions: [11], progress: 11 }]);
  assert.ok(await hub.reached(11, 0));
  watched(11, 12);
  await eventually(() => assert.deepEqual(told.at(-1), { revisions: [12], progress: 12 }));
  assert.equal(told.length, 2);
  hub.stop();
});

test("an own write waits for what others wrote before it", async () => {
  const { hub, told, wrote, watched } = hubAt10();
  wrote(13);
  wrote(12);
  assert.deepEqual(told, []);
  watched(11);
  await eventually(() => assert.equal(hub.delivered, 13));
  assert.deepEqual(
    told.flatMap(({ revisions }) => revisions),
    [11, 12, 13],
  );
  wrote(13);
  watched(12, 13);
  watched(14);
  await eventually(() => assert.equal(hub.delivered, 14));
  assert.deepEqual(
    told.flatMap(({ revisions }) => revisions),
    [11, 12, 13, 14],
  );
  hub.stop();
});

test("an own write that the watch told of first is not handed out again", async () => {
  const { hub, told, wrote, watched } = hubAt10();
  watched(11, 12);
  await eventually(() => assert.equal(hub.delivered, 12));
  wrote(12);
  wrote(11);
  assert.deepEqual(told, [{ revisions: [11, 12], progress: 12 }]);
  hub.stop();
});
