import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type FailureKind,
  type LastBatch,
  SqlFailure,
  type SqlSession,
} from "../../../../src/store/sql/sql-database.ts";
import { SqlWriter } from "../../../../src/store/sql/sql-writer.ts";
import { UnknownOutcomeError } from "../../../../src/store/store.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

/** A database whose sessions do as a test says, one after another. */
function writerOver(
  sessions: { write?: FailureKind; last?: (batch: number) => LastBatch | undefined; refuse?: boolean }[],
) {
  const clock = new FakeClock();
  const batches: number[] = [];
  let opened = 0;
  const all: { readonly broken: boolean }[] = [];
  const connect = async (): Promise<SqlSession> => {
    const script = sessions[Math.min(opened++, sessions.length - 1)]!;
    if (script.refuse) throw new SqlFailure("lost", "connect ECONNREFUSED");
    const session = {
      broken: false,
      becomeWriter: async () => script.last?.(batches.at(-1)!),
      write: async (_writer: string, batch: number) => {
        batches.push(batch);
        const failure = script.write;
        if (failure) throw new SqlFailure(failure, `it was ${failure}`);
        return { before: 6, head: 7, results: [{ revision: 7 }] };
      },
      history: async () => ({
        rows: [{ event: { type: "put", key: "/a", revision: 5, previous: { key: "/a", modRevision: 2 } } }],
        head: 5,
        compacted: 0,
      }),
      get: async () => undefined,
      close: () => {
        session.broken = true;
      },
    };
    all.push(session);
    return session as unknown as SqlSession;
  };
  const writer = new SqlWriter({ clock, connect, read: async (work) => work(await connect()) });
  return { writer, clock, batches, opened: () => opened, left: () => all.filter(({ broken }) => !broken).length };
}

const writes = [{ key: "/a", value: Buffer.from("1"), expected: 2 }];

test("a batch that was undone for another's sake is written again on the same connection", async () => {
  let failures = 2;
  const { writer, batches, opened } = writerOver([
    {
      get write() {
        return failures-- > 0 ? ("again" as const) : undefined;
      },
    } as { write?: FailureKind },
  ]);
  assert.equal((await writer.commit(writes)).head, 7);
  assert.deepEqual([batches, opened()], [[1, 2, 3], 1]);
});

test("a batch whose connection was lost and that did not happen is written again", async () => {
  const { writer, batches } = writerOver([{ write: "lost" }, { last: () => undefined }]);
  assert.equal((await writer.commit(writes)).head, 7);
  assert.equal(batches.length, 2);
});

test("a batch whose connection was lost after its commit is answered with what it did, and not written again", async () => {
  const { writer, batches } = writerOver([{ write: "lost" }, { last: (batch) => ({ batch, before: 4, head: 5 }) }]);
  const reply = await writer.commit(writes);
  assert.deepEqual([reply.before, reply.head, reply.results[0]?.revision], [4, 5, 5]);
  assert.equal(reply.results[0]?.current?.modRevision, 2);
  assert.equal(batches.length, 1);
});

test("a batch whose outcome cannot be found out in time is told as such", async () => {
  const { writer, clock } = writerOver([{ write: "lost" }, { refuse: true }]);
  const outcome = assert.rejects(writer.commit(writes), UnknownOutcomeError);
  await clock.advance(11_000);
  await outcome;
});

test("a batch that no connection can be made for, or that the database refuses, fails at once", async () => {
  for (const script of [{ refuse: true }, { write: "refused" as const }]) {
    const { writer, batches } = writerOver([script]);
    await assert.rejects(writer.commit(writes), SqlFailure);
    assert.ok(batches.length <= 1);
  }
});

test("a writer that is closed while it connects leaves no connection", async () => {
  const { writer, opened, left } = writerOver([{}]);
  const probing = assert.rejects(writer.probe(), { kind: "lost" });
  writer.close();
  await probing;
  assert.deepEqual([opened(), left()], [1, 0]);
});
