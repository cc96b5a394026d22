import assert from "node:assert/strict";
import { test } from "node:test";
import { WorkLoop } from "../../../../src/agent/kubelet/work-loop.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

/** A loop whose steps do what `step` does; `at` holds when each began, in seconds after the start. */
function rig(step: (signal: AbortSignal, count: number, nowMs: number) => Promise<number>) {
  const clock = new FakeClock();
  const begunMs = clock.now();
  const at: number[] = [];
  const failures: [text: string, seconds: number][] = [];
  const loop = new WorkLoop({
    step: (signal) => {
      at.push((clock.now() - begunMs) / 1000);
      return step(signal, at.length, clock.now());
    },
    onFailure: ({ message }, retryInMs) => failures.push([message, retryInMs / 1000]),
    clock,
  });
  const done = loop.run();
  return { clock, loop, at, failures, done };
}
const never = async () => Number.POSITIVE_INFINITY;

test("a step runs at once, when due, and when woken; else nothing happens", async (t) => {
  const { clock, loop, at } = rig(async (_, count, nowMs) => (count === 1 ? nowMs + 5000 : Number.POSITIVE_INFINITY));
  t.after(() => loop.stop());
  await clock.advance(100_000);
  assert.deepEqual(at, [0, 5]);
  loop.wake();
  await clock.advance(100_000);
  assert.deepEqual(at, [0, 5, 100]);
  assert.equal(clock.pending, 0);
});

test("what happens during a step is answered by another one", async (t) => {
  let release = () => {};
  const { clock, loop, at } = rig(async (_, count) => {
    if (count === 1) await new Promise<void>((resolve) => (release = resolve));
    return Number.POSITIVE_INFINITY;
  });
  t.after(() => loop.stop());
  loop.wake();
  loop.wake();
  release();
  await clock.advance(10);
  assert.equal(at.length, 2);
});

test("failures are told and retried with growing waits, up to two minutes, until one step succeeds", async (t) => {
  let broken = true;
  const { clock, loop, failures } = rig(async () => {
    if (broken) throw new Error("no");
    return Number.POSITIVE_INFINITY;
  });
  t.after(() => loop.stop());
  await clock.advance(600_000);
  const waits = failures.map(([, seconds]) => seconds);
  assert.deepEqual(waits.slice(0, 10), [0.5, 1, 2, 4, 8, 16, 32, 64, 120, 120]);
  broken = false;
  await clock.advance(120_000);
  broken = true;
  loop.wake();
  await clock.advance(1);
  assert.deepEqual(failures.at(-1), ["no", 0.5]);
});

test("an interrupted step is no failure, and is followed by another at once", async (t) => {
  const { clock, loop, at, failures } = rig((signal, count) =>
    count > 1 ? never() : new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("cut")))),
  );
  t.after(() => loop.stop());
  await clock.advance(10_000);
  loop.interrupt();
  await clock.advance(1);
  assert.deepEqual([at, failures], [[0, 10], []]);
});

test("a stopped loop ends, also out of its sleep", async () => {
  const { clock, loop, at, done } = rig(never);
  await clock.advance(1);
  loop.stop();
  await done;
  loop.wake();
  assert.deepEqual([at, loop.stopped], [[0], true]);
});
