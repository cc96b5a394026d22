import assert from "node:assert/strict";
import { test } from "node:test";
import { SessionPool } from "../../../../src/store/sql/session-pool.ts";
import type { SqlSession } from "../../../../src/store/sql/sql-database.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

/** Reads that end when they are told to, on one session. */
function rig() {
  const clock = new FakeClock();
  const session = { broken: false, close: () => {} } as unknown as SqlSession;
  const pool = new SessionPool({ connect: async () => session, clock, size: 1 });
  const begun: PromiseWithResolvers<string>[] = [];
  const read = () =>
    pool.use(() => {
      const answer = Promise.withResolvers<string>();
      begun.push(answer);
      return answer.promise;
    });
  return { clock, begun, read };
}

test("a read that finds no session free for 10 s fails when none is answered meanwhile", async () => {
  const { clock, begun, read } = rig();
  const first = assert.rejects(read(), /did not answer within 10 s/);
  const others = [1, 2].map(() => assert.rejects(read(), /none of its connections was free for 10 s/));
  await clock.advance(10_000);
  await Promise.all([first, ...others]);
  assert.equal(begun.length, 1);
});

test("a read waits for longer while others are answered, though not for ever", async () => {
  const { clock, begun, read } = rig();
  const answers = Array.from({ length: 5 }, read);
  const last = assert.rejects(read(), /none of its connections was free for 30 s/);
  for (const [index, answer] of answers.entries()) {
    await clock.advance(6000);
    begun[index]!.resolve(`${index}`);
    assert.equal(await answer, `${index}`);
  }
  await last;
  assert.equal(begun.length, 5);
});
