import assert from "node:assert/strict";
import { test } from "node:test";
import type { Change, History, Outcome, Read, Watched, Write } from "../../store/checker/history.ts";
import { verify } from "../../store/checker/verify.ts";

const put = (revision: number, key: string, value: string): Change => ({ type: "put", revision, key, value });
const del = (revision: number, key: string): Change => ({ type: "delete", revision, key, value: "" });
const done = (revision: number): Outcome => ({ kind: "done", revision });
const write = (
  key: string,
  value: string | undefined,
  expectedRevision: number | undefined,
  endMs: number,
  outcome: Outcome,
): Write => ({
  client: "c",
  key,
  ...(value === undefined ? {} : { value }),
  expectedRevision,
  startMs: endMs - 1,
  endMs,
  outcome,
});
const read = (startMs: number, revision: number | undefined, found: Read["found"], key?: string): Read => ({
  client: "r",
  startMs,
  revision,
  found,
  ...(key ? { key } : {}),
});
const watched = (changes: readonly Change[], afterRevision = 0, upToRevision = 4): Watched => ({
  watcher: "w",
  afterRevision,
  upToRevision,
  changes,
});

const changes = [put(1, "a", "1"), put(2, "b", "2"), put(3, "a", "3"), del(4, "b")];
const good: History = {
  changes,
  writes: [
    write("a", "1", undefined, 10, done(1)),
    write("b", "2", undefined, 20, { kind: "unknown", why: "cut" }),
    write("a", "3", 1, 30, done(3)),
    write("a", "x", 1, 35, { kind: "refused", why: "conflict" }),
    write("b", undefined, 2, 40, done(4)),
    write("c", "lost", undefined, 45, { kind: "unknown", why: "cut" }),
  ],
  reads: [
    read(11, 1, [put(1, "a", "1")]),
    read(31, 3, [put(3, "a", "3"), put(2, "b", "2")]),
    read(31, 3, [put(3, "a", "3")], "a"),
    read(41, undefined, [], "b"),
  ],
  watched: [watched(changes), watched(changes.slice(2), 2), watched(changes.slice(0, 2), 0, 2)],
  finals: [{ server: "s", found: [put(3, "a", "3")] }],
};

test("a history that keeps all promises is accepted", () => {
  assert.deepEqual(verify(good), []);
});

const broken: [string, Partial<History>, RegExp][] = [
  ["a lost acknowledged write", { writes: [write("d", "9", undefined, 1, done(9))] }, /acknowledged and is lost/],
  [
    "an acknowledged delete that did not happen",
    { writes: [write("a", undefined, 3, 1, done(5))] },
    /acknowledged and is lost/,
  ],
  [
    "a refused write that happened",
    { writes: [write("a", "3", 1, 1, { kind: "refused", why: "no" })] },
    /was refused \(no\) and happened at 3/,
  ],
  [
    "an answer with a wrong revision",
    { writes: [write("a", "3", 1, 1, done(2))] },
    /acknowledged at 2 and happened at 3/,
  ],
  [
    "a write over what its client had not seen",
    { writes: [write("a", "3", 2, 1, done(3))] },
    /overwrote revision 1, which it had not seen/,
  ],
  ["a create over what is there", { writes: [write("a", "3", undefined, 1, done(3))] }, /overwrote revision 1/],
  [
    "a deletion that two clients were told to have made",
    { writes: [write("b", undefined, 2, 40, done(4)), write("b", undefined, 2, 41, done(4))] },
    /acknowledged to somebody else/,
  ],
  [
    "a write that happened twice",
    {
      changes: [put(1, "a", "1"), put(2, "a", "1")],
      writes: [write("a", "1", undefined, 1, done(1))],
      reads: [],
      watched: [],
      finals: [],
    },
    /happened 2 times/,
  ],
  [
    "revisions out of order",
    { changes: [put(2, "a", "1"), put(1, "b", "2")], writes: [], reads: [], watched: [], finals: [] },
    /revision 1 comes after 2/,
  ],
  [
    "a list older than an acknowledged write",
    { reads: [read(31, 2, [put(1, "a", "1"), put(2, "b", "2")])] },
    /older than 3/,
  ],
  [
    "a list that is no state",
    { reads: [read(0, 3, [put(1, "a", "1"), put(2, "b", "2")])] },
    /a is at revision 1, and should be at 3/,
  ],
  ["a list that lacks a key", { reads: [read(0, 3, [put(3, "a", "3")])] }, /b is missing/],
  [
    "a get older than an acknowledged write",
    { reads: [read(31, 1, [put(1, "a", "1")], "a")] },
    /found revision 1, older than 3/,
  ],
  ["a get of what never was", { reads: [read(0, 3, [put(3, "a", "z")], "a")] }, /which never was/],
  ["a get that misses an acknowledged create", { reads: [read(11, undefined, [], "a")] }, /found nothing/],
  [
    "a watcher that missed a change",
    { watched: [watched([changes[0]!, changes[2]!, changes[3]!])] },
    /saw the put of a at 3 where the put of b at 2 was next/,
  ],
  [
    "a watcher that missed the last change",
    { watched: [watched(changes.slice(0, 3))] },
    /never saw the delete of b at 4/,
  ],
  [
    "a watcher that saw a change twice",
    { watched: [watched([changes[0]!, changes[0]!, ...changes.slice(1)])] },
    /saw the put of a at 1 where the put of b at 2 was next/,
  ],
  [
    "a server that ends with another state",
    { finals: [{ server: "s", found: [] }] },
    /the last list of s: a is missing/,
  ],
];

for (const [name, change, expected] of broken) {
  test(`the checker finds ${name}`, () => {
    assert.match(verify({ ...good, ...change }).join("\n"), expected);
  });
}
