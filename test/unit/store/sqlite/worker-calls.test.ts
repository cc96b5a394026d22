import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Request } from "../../../../src/store/sqlite/messages.ts";
import { WorkerCalls } from "../../../../src/store/sqlite/worker-calls.ts";
import { UnavailableError } from "../../../../src/store/store.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

/** Calls to a worker that answers when the test says so. */
function hangingWorker() {
  const clock = new FakeClock();
  const posted: { id: number; request: Request }[] = [];
  const told: boolean[] = [];
  const calls = new WorkerCalls({
    clock,
    patienceMs: 10_000,
    name: "the database file",
    post: (message) => posted.push(message),
    onSilence: (silent) => told.push(silent),
  });
  const answer = () =>
    calls.settle({ id: posted.shift()!.id, ok: true, reply: { deleted: [] } as never }, () => new Error("none"));
  return { calls, clock, posted, told, answer };
}

describe("calls to a worker whose disk does not answer", () => {
  test("a read fails when it has waited for its time, the next at once, and an answer ends that", async () => {
    const { calls, clock, posted, told, answer } = hangingWorker();
    const opened = calls.call({ do: "state" });
    await clock.advance(600_000);
    assert.equal(calls.silence, undefined, "opening takes the time that it takes");
    answer();
    await opened;
    const late = assert.rejects(calls.call({ do: "get", key: "a" }), (error: Error) => {
      assert.ok(error instanceof UnavailableError);
      return /request timed out: the database file has not answered for 10 s/.test(error.message);
    });
    await clock.advance(9999);
    assert.equal(calls.silence, undefined);
    await clock.advance(1);
    await late;
    assert.deepEqual(told, [true]);
    await clock.advance(20_000);
    assert.match(calls.silence ?? "", /has not answered for 30 s/);
    const before = posted.length;
    await assert.rejects(calls.call({ do: "get", key: "b" }), UnavailableError);
    assert.equal(posted.length, before, "nothing piles up before it");
    answer();
    assert.equal(calls.silence, undefined);
    assert.deepEqual(told, [true, false]);
    assert.equal(clock.pending, 0, "no timer is left");
  });

  test("what became of writes is waited for, and a copy is not taken for a disk that hangs", async () => {
    const { calls, clock, told, answer } = hangingWorker();
    const opened = calls.call({ do: "state" });
    answer();
    await opened;
    const copy = calls.call({ do: "copy", to: "there" });
    await clock.advance(60_000);
    assert.deepEqual(told, []);
    answer();
    await copy;
    const write = calls.call({ do: "expire", nowMs: 0 });
    await clock.advance(60_000);
    assert.deepEqual(told, [true]);
    answer();
    assert.deepEqual(await write, { deleted: [] });
  });
});
