import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogTail } from "../../../../src/store/sql/log-tail.ts";
import type { LogChange, LogPage, SqlSession } from "../../../../src/store/sql/sql-database.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const change = (revision: number, value = "x"): LogChange => {
  const key = `/${revision}`;
  const entry = { key, value: Buffer.from(value), createRevision: revision, modRevision: revision };
  return { event: { type: "put", key, revision, entry } };
};

/** A tail over a log that a test writes, and what it handed on. */
function tailOver(log: { rows: LogChange[]; head: number; compacted: number }) {
  const seen: number[] = [];
  const gaps: number[] = [];
  const lost: { seen: number; found: number; now: number }[] = [];
  const page = (after: number, limit = 2): LogPage<LogChange> => ({
    rows: log.rows.filter(({ event }) => event.revision > after).slice(0, limit),
    head: log.head,
    compacted: log.compacted,
  });
  const session = {
    state: async () => ({ head: log.head, compacted: log.compacted, compactions: 0 }),
    history: async (_prefix: string, after: number, limit: number) => page(after, limit),
    raise: async (above: number) => {
      const before = log.head;
      log.head = above;
      log.compacted = above;
      return before;
    },
  } as unknown as SqlSession;
  const tail = new LogTail({
    clock: new FakeClock(),
    read: async (after) => page(after),
    onChanges: (changes) => seen.push(...changes.map(({ event }) => event.revision)),
    onGap: (error) => gaps.push(error.revision),
    onLostWrites: (revisions) => lost.push(revisions),
  });
  return { tail, session, seen, gaps, lost };
}

const logOf = (...revisions: number[]) => ({
  rows: revisions.map((at) => change(at)),
  head: revisions.at(-1) ?? 0,
  compacted: 0,
});

describe("where a process stands in a log that others write too", () => {
  test("an own batch that goes on where it stands is handed on at once", () => {
    const { tail, seen } = tailOver(logOf());
    tail.start(0);
    assert.equal(tail.own([change(1), change(2)], 0, 2), undefined);
    assert.deepEqual(seen, [1, 2]);
  });

  test("others' changes that lie before an own batch are read first, and nothing comes twice", async () => {
    const log = logOf(1, 2, 3, 4, 5);
    const { tail, seen } = tailOver(log);
    tail.start(0);
    const delivered = tail.own([change(4), change(5)], 3, 5);
    assert.ok(delivered, "its answer has to wait");
    await delivered;
    assert.deepEqual(seen, [1, 2, 3, 4, 5]);
  });

  test("an own batch that was read before its answer came is not handed on again", async () => {
    const { tail, seen } = tailOver(logOf(1, 2));
    tail.start(0);
    await tail.reach(2);
    tail.own([change(1), change(2)], 0, 2);
    assert.deepEqual(seen, [1, 2]);
  });

  test("a tail that stands below what is compacted tells of the gap and goes on above", async () => {
    const log = { rows: [change(9)], head: 9, compacted: 8 };
    const { tail, seen, gaps } = tailOver(log);
    tail.start(3);
    await tail.reach(9);
    assert.deepEqual(gaps, [3]);
    assert.deepEqual(seen, []);
    assert.equal(tail.position, 9);
  });
});

describe("a database that took over", () => {
  test("is the one that is known when it has the last change that was seen", async () => {
    const { tail, session, lost } = tailOver(logOf(1, 2, 3));
    tail.start(0);
    await tail.reach(2);
    await tail.verify(session);
    assert.deepEqual(lost, []);
  });

  test("is not blamed for what is written while it is asked", async () => {
    const log = logOf(1, 2, 3);
    const { tail, session, lost } = tailOver(log);
    tail.start(0);
    await tail.reach(3);
    const asked = { head: log.head, compacted: 0, compactions: 0 };
    session.state = async () => {
      log.rows.push(change(4));
      log.head = 4;
      await tail.reach(4);
      return asked;
    };
    await tail.verify(session);
    assert.deepEqual(lost, []);
  });

  test("that lacks what was seen counts on above it, and everybody reads anew", async () => {
    const log = logOf(1, 2, 3);
    const { tail, session, lost, gaps } = tailOver(log);
    tail.start(0);
    await tail.reach(3);
    log.rows.pop();
    log.head = 2;
    await tail.verify(session);
    assert.deepEqual(lost, [{ seen: 3, found: 2, now: log.head }]);
    assert.ok(log.head > 3 && log.compacted === log.head);
    assert.deepEqual(gaps, [3]);
    assert.equal(tail.position, log.head);
  });

  test("that handed out a revision once more for something else is noticed, however far it went on", async () => {
    const log = logOf(1, 2, 3);
    const { tail, session, lost } = tailOver(log);
    tail.start(0);
    await tail.reach(3);
    log.rows = [change(1), change(2), change(3, "another"), change(4), change(5)];
    log.head = 5;
    await tail.verify(session);
    assert.equal(lost.length, 1);
    assert.ok(tail.position > 5);
  });

  test("whose last seen change is compacted meanwhile is not blamed", async () => {
    const log = logOf(1, 2, 3);
    const { tail, session, lost } = tailOver(log);
    tail.start(0);
    await tail.reach(3);
    Object.assign(log, { rows: [], head: 50, compacted: 40 });
    await tail.verify(session);
    assert.deepEqual(lost, []);
  });
});
