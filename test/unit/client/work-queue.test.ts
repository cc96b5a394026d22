import assert from "node:assert/strict";
import { test } from "node:test";
import { WorkQueue } from "../../../src/client/work-queue.ts";
import { FakeClock } from "../../support/fake-clock.ts";

test("a key that waits is queued once, in order of arrival", async () => {
  const queue = new WorkQueue({ clock: new FakeClock() });
  for (const key of ["a", "b", "a"]) queue.add(key);
  assert.equal(queue.length, 2);
  assert.equal(await queue.take(), "a");
  assert.equal(await queue.take(), "b");
  assert.equal(queue.length, 0);
});

test("a key added while it is worked on comes back after done, not before", async () => {
  const queue = new WorkQueue({ clock: new FakeClock() });
  queue.add("a");
  await queue.take();
  queue.add("a");
  assert.equal(queue.length, 0);
  queue.done("a");
  assert.equal(await queue.take(), "a");
  queue.done("a");
  assert.equal(queue.idle, true);
});

test("a key handed to a waiting worker counts as worked on", async () => {
  const queue = new WorkQueue({ clock: new FakeClock() });
  const taken = queue.take();
  queue.add("a");
  queue.add("a");
  assert.equal(await taken, "a");
  assert.equal(queue.length, 0);
  queue.done("a");
  assert.equal(queue.length, 1);
});

test("back-off doubles from 5 ms to 1,000 s and starts again after forget", async () => {
  const clock = new FakeClock();
  const queue = new WorkQueue({ clock });
  let expectedMs = 5;
  for (let i = 0; i < 20; i++) {
    queue.addRateLimited("a");
    await clock.advance(expectedMs - 1);
    assert.equal(queue.length, 0, `attempt ${i} came before ${expectedMs} ms`);
    await clock.advance(1);
    assert.equal(queue.length, 1, `attempt ${i} did not come after ${expectedMs} ms`);
    await queue.take();
    queue.done("a");
    expectedMs = Math.min(1_000_000, expectedMs * 2);
  }
  assert.equal(queue.retries("a"), 20);
  queue.forget("a");
  queue.addRateLimited("a");
  await clock.advance(5);
  assert.equal(queue.length, 1);
});

test("of several delays the earliest counts", async () => {
  const clock = new FakeClock();
  const queue = new WorkQueue({ clock });
  queue.addAfter("a", 1000);
  queue.addAfter("a", 10);
  queue.addAfter("a", 500);
  assert.equal(clock.pending, 1);
  await clock.advance(10);
  assert.equal(await queue.take(), "a");
  assert.equal(clock.pending, 0);
});

test("closing wakes workers with undefined and cancels timers", async () => {
  const clock = new FakeClock();
  const queue = new WorkQueue({ clock });
  queue.addAfter("a", 1000);
  const taken = queue.take();
  queue.close();
  assert.equal(await taken, undefined);
  assert.equal(await queue.take(), undefined);
  assert.equal(clock.pending, 0);
});
