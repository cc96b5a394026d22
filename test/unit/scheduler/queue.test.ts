import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Pod } from "../../../src/api/generated/core-v1.ts";
import { SchedulingQueue } from "../../../src/scheduler/queue.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const pod = (name: string, priority = 0): Pod =>
  ({ metadata: { name, namespace: "default" }, spec: { priority, containers: [] } }) as unknown as Pod;

/** What `take` gives, or "waiting" when it gives nothing yet. */
async function taken(queue: SchedulingQueue, pending: { next?: Promise<unknown> }): Promise<string> {
  pending.next ??= queue.take();
  const result = await Promise.race([pending.next, new Promise((resolve) => setImmediate(() => resolve("waiting")))]);
  if (result === "waiting") return "waiting";
  delete pending.next;
  return (result as Pod).metadata.name!;
}

describe("SchedulingQueue", () => {
  it("gives pods by priority, then by age", async () => {
    const queue = new SchedulingQueue(new FakeClock());
    for (const each of [pod("old"), pod("young"), pod("urgent", 10)]) queue.set(each, undefined);
    const order = [await queue.take(), await queue.take(), await queue.take()].map((each) => each?.metadata.name);
    assert.deepEqual(order, ["urgent", "old", "young"]);
  });

  it("an unschedulable pod comes back upon a change that its plugins named, after the back-off", async () => {
    const clock = new FakeClock();
    const queue = new SchedulingQueue(clock);
    queue.set(pod("p"), undefined);
    const pending = {};
    assert.equal(await taken(queue, pending), "p");
    queue.reject("default/p", ["node-added"]);
    queue.changed("pod-deleted");
    await clock.advance(2_000);
    assert.equal(await taken(queue, pending), "waiting");
    queue.changed("node-added");
    assert.equal(await taken(queue, pending), "p");
  });

  it("a change during the attempt is not lost", async () => {
    const clock = new FakeClock();
    const queue = new SchedulingQueue(clock);
    queue.set(pod("p"), undefined);
    const pending = {};
    assert.equal(await taken(queue, pending), "p");
    queue.changed("node-added");
    queue.reject("default/p", ["node-added"]);
    assert.equal(await taken(queue, pending), "waiting");
    await clock.advance(1_000);
    assert.equal(await taken(queue, pending), "p");
  });

  it("an unschedulable pod is tried again after five minutes whatever happens", async () => {
    const clock = new FakeClock();
    const queue = new SchedulingQueue(clock);
    queue.set(pod("p"), undefined);
    const pending = {};
    assert.equal(await taken(queue, pending), "p");
    queue.reject("default/p", []);
    assert.equal(await taken(queue, pending), "waiting");
    await clock.advance(302_000);
    assert.equal(await taken(queue, pending), "p");
  });

  it("a gated pod waits until its gate is gone", async () => {
    const queue = new SchedulingQueue(new FakeClock());
    queue.set(pod("p"), "gated");
    const pending = {};
    assert.equal(await taken(queue, pending), "waiting");
    queue.set(pod("p"), undefined);
    assert.equal(await taken(queue, pending), "p");
  });

  it("ends a waiting taker when it closes", async () => {
    const queue = new SchedulingQueue(new FakeClock());
    const waiting = queue.take();
    queue.close();
    assert.equal(await waiting, undefined);
  });
});
