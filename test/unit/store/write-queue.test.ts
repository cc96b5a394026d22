import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OverloadedError, UnavailableError, UnknownOutcomeError, type WriteResult } from "../../../src/store/store.ts";
import { type CommittedBatch, type QueuedWrite, WriteQueue } from "../../../src/store/write-queue.ts";
import { FakeClock } from "../../support/fake-clock.ts";

/** A queue before a store that answers when the test says so. */
function hangingQueue() {
  const clock = new FakeClock();
  const batches: { readonly keys: string[]; answer(): void }[] = [];
  const commit = (batch: readonly QueuedWrite[]) =>
    new Promise<CommittedBatch>((resolve) =>
      batches.push({
        keys: batch.map(({ key }) => key),
        answer: () => resolve({ results: batch.map(() => ({ ok: true, revision: 1 })) }),
      }),
    );
  const queue = new WriteQueue(commit, { clock, patienceMs: 10_000, store: "the database file" });
  return { queue, clock, batches };
}

const write = (key: string, bytes = 1): QueuedWrite => ({ key, value: Buffer.alloc(bytes), expected: 0 });

interface Fate {
  is: unknown;
}

/** What became of a write so far. */
function fateOf(result: Promise<WriteResult>): Fate {
  const fate: Fate = { is: undefined };
  result.then(
    (value) => Object.assign(fate, { is: value }),
    (error: Error) => Object.assign(fate, { is: error }),
  );
  return fate;
}

const isSettled = ({ is }: Fate) => is !== undefined;

describe("writes before a store that does not answer", () => {
  test("the outcome of one that has begun is unknown after the patience; one that has not is not written", async () => {
    const { queue, clock, batches } = hangingQueue();
    const begun = fateOf(queue.push(write("begun")));
    await clock.advance(1);
    const waiting = fateOf(queue.push(write("waiting")));
    await clock.advance(5000);
    const later = fateOf(queue.push(write("later")));
    await clock.advance(4998);
    assert.ok(!isSettled(begun));
    await clock.advance(10);
    assert.ok(begun.is instanceof UnknownOutcomeError, `${begun.is}`);
    assert.match(begun.is.message, /^etcdserver: request timed out: the database file has not answered for 10 s/);
    assert.ok(waiting.is instanceof UnavailableError, `${waiting.is}`);
    assert.match(waiting.is.message, /nothing was written/);
    assert.equal(later.is, undefined, "it has waited for half of the time only");
    batches[0]!.answer();
    await clock.advance(1);
    assert.deepEqual(
      batches.map(({ keys }) => keys),
      [["begun"], ["later"]],
    );
    batches[1]!.answer();
    await clock.advance(1);
    assert.deepEqual(later.is, { ok: true, revision: 1 });
    await clock.advance(60_000);
    assert.equal(clock.pending, 0, "no timer is left");
  });

  test("what waits is bounded in bytes and in number, and what is refused is told so at once", async () => {
    for (const { bytes, fits } of [
      { bytes: 1024 * 1024, fits: 128 },
      { bytes: 1, fits: 10_000 },
    ]) {
      const { queue, clock, batches } = hangingQueue();
      void queue.push(write("begun"));
      await clock.advance(1);
      const waiting = Array.from({ length: fits }, (_, index) => fateOf(queue.push(write(`${index}`, bytes))));
      const refused = fateOf(queue.push(write("more", bytes)));
      await clock.advance(1);
      assert.ok(refused.is instanceof OverloadedError, `${refused.is}`);
      assert.ok(waiting.every(({ is }) => is === undefined));
      for (let done = 0; done < batches.length; done++) {
        batches[done]!.answer();
        await clock.advance(1);
      }
      await queue.drained();
      assert.equal(batches.flatMap(({ keys }) => keys).length, fits + 1);
      const after = fateOf(queue.push(write("after", bytes)));
      await clock.advance(1);
      batches.at(-1)!.answer();
      await clock.advance(1);
      assert.deepEqual(after.is, { ok: true, revision: 1 });
    }
  });
});
