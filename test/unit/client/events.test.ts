import assert from "node:assert/strict";
import { test } from "node:test";
import { type Event, pods } from "../../../src/api/generated/core-v1.ts";
import type { Client } from "../../../src/client/client.ts";
import { EventCorrelator } from "../../../src/client/event-correlator.ts";
import { EventRecorder } from "../../../src/client/events.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { notFound, StatusError } from "../../../src/machinery/status.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const facts = { source: "s", host: "", object: "o", type: "Normal", reason: "R" };

test("the same event is counted on the one written before", () => {
  const correlator = new EventCorrelator();
  const first = correlator.correlate({ ...facts, message: "m" }, 0);
  assert.deepEqual([first?.count, first?.name], [1, undefined]);
  first?.remember("e1", "ns");
  const second = correlator.correlate({ ...facts, message: "m" }, 1000);
  assert.deepEqual([second?.count, second?.name, second?.namespace], [2, "e1", "ns"]);
});

test("more than ten that differ in their message only become one", () => {
  const correlator = new EventCorrelator();
  const messages = Array.from(
    { length: 12 },
    (_, i) => correlator.correlate({ ...facts, message: `m${i}` }, 0)?.message,
  );
  assert.equal(messages[9], "m9");
  assert.equal(messages[10], "(combined from similar events): m10");
  assert.equal(correlator.correlate({ ...facts, message: "later" }, 601_000)?.message, "later");
});

test("of one object 25 events are written at once, then one every five minutes", () => {
  const correlator = new EventCorrelator();
  const written = (nowMs: number) => correlator.correlate({ ...facts, message: "m" }, nowMs) !== undefined;
  assert.equal(Array.from({ length: 30 }, () => written(0)).filter(Boolean).length, 25);
  assert.equal(written(299_000), false);
  assert.equal(written(301_000), true);
});

function recorderOn(client: Partial<Client>) {
  return new EventRecorder({
    client: client as Client,
    component: "kubelet",
    host: "n1",
    clock: new FakeClock(),
    logger: silentLogger,
  });
}

test("an event names its object, source and time, and an equal one patches the count", async () => {
  const created: Event[] = [];
  const patched: unknown[] = [];
  const recorder = recorderOn({
    create: async (_type, object) => {
      created.push(object as unknown as Event);
      return object;
    },
    patch: async (_type, name, patch) => {
      patched.push([name, patch.body]);
      return {} as never;
    },
  });
  const target = { namespace: "a", name: "p", uid: "u", fieldPath: "spec.containers{c}" };
  recorder.event(pods, target, "Normal", "Pulled", "there");
  recorder.event(pods, target, "Normal", "Pulled", "there");
  await recorder.flush();
  const [event] = created;
  assert.deepEqual(event?.involvedObject, { apiVersion: "v1", kind: "Pod", ...target });
  assert.deepEqual(event?.source, { component: "kubelet", host: "n1" });
  assert.deepEqual([event?.metadata.namespace, event?.count, event?.firstTimestamp], ["a", 1, "2026-01-01T00:00:00Z"]);
  const body = { count: 2, message: "there", lastTimestamp: "2026-01-01T00:00:00Z" };
  assert.deepEqual(patched, [[event?.metadata.name, body]]);
});

test("an event that has expired is written anew; a refused one is given up without an error", async () => {
  let creations = 0;
  const recorder = recorderOn({
    create: async (_type, object) => {
      if (++creations === 3) throw new StatusError(403, "Forbidden", "the namespace is being deleted");
      return object;
    },
    patch: async () => {
      throw notFound({ group: "", resource: "events" }, "gone");
    },
  });
  recorder.event(pods, { name: "p" }, "Normal", "R", "m");
  recorder.event(pods, { name: "p" }, "Normal", "R", "m");
  recorder.event(pods, { name: "q" }, "Normal", "R", "m");
  await recorder.flush();
  assert.equal(creations, 3);
});

test("an event that comes at the very moment in which a write ends is written, too", async () => {
  for (let turns = 0; turns < 12; turns++) {
    const reasons: (string | undefined)[] = [];
    const recorder = recorderOn({
      create: async (_type, object) => {
        reasons.push((object as unknown as Event).reason);
        if (reasons.length === 1) void eventLater();
        return object;
      },
    });
    const eventLater = async () => {
      for (let turn = 0; turn < turns; turn++) await undefined;
      recorder.event(pods, { name: "p", namespace: "a" }, "Normal", "Second", "m");
    };
    recorder.event(pods, { name: "p", namespace: "a" }, "Normal", "First", "m");
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(reasons, ["First", "Second"], `${turns} turns after the write`);
  }
});
