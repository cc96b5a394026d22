import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { canDoWithout, deletionProblem, quorumNote, quorumOf } from "../../../src/cluster/quorum.ts";

/** etcd's documentation, "What is failure tolerance?": the table of cluster size, majority and tolerance. */
it("a quorum is more than half", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(quorumOf), [1, 2, 2, 3, 3, 4, 4]);
});

it("an even number of etcd's servers is worth a word, and no other is", () => {
  assert.match(quorumNote(2, "etcd")!, /^2 servers .* loss of none, as 1 would: 2 of them/);
  assert.match(quorumNote(4, "etcd")!, /loss of 1, as 3 would: 3 of them make the quorum\. .*such as 5$/);
  for (const servers of [1, 3, 5]) assert.equal(quorumNote(servers, "etcd"), undefined);
  assert.equal(quorumNote(2, "external"), undefined);
});

it("of three servers one can stop before it leaves, of two it cannot", () => {
  const without = (states: string) =>
    canDoWithout({
      cluster: "demo",
      servers: [...states].map((state, index) => ({ name: `server-${index}`, running: state === "r" })),
      name: "server-0",
      datastore: "etcd",
      publishesApi: false,
    });
  assert.deepEqual(["rr", "rrr", "srr", "rrs", "rrrr", "rrrs"].map(without), [false, true, true, false, true, false]);
});

describe("deleting a server", () => {
  const attempt = (states: string, more: Partial<Parameters<typeof deletionProblem>[0]> = {}) =>
    deletionProblem({
      cluster: "demo",
      servers: [...states].map((state, index) => ({ name: `server-${index}`, running: state === "r" })),
      name: "server-0",
      datastore: "etcd",
      publishesApi: false,
      ...more,
    });

  const rows: { states: string; verdict: "fine" | "force" | "never"; message?: RegExp }[] = [
    { states: "r", verdict: "never", message: /only server/ },
    { states: "rr", verdict: "fine" },
    { states: "rrr", verdict: "fine" },
    // The stopped one itself: two of three agree, and both of the two that remain are there.
    { states: "srr", verdict: "fine" },
    { states: "rrs", verdict: "force", message: /1 of 2 servers would run, and 2 are needed/ },
    { states: "ssr", verdict: "force", message: /1 of 3 servers run, and 2 are needed/ },
    { states: "sr", verdict: "force" },
    { states: "rrrss", verdict: "force" },
    { states: "srrrs", verdict: "fine" },
  ];
  for (const { states, verdict, message } of rows) {
    it(`${states}, the first of them: ${verdict}`, () => {
      const problem = attempt(states);
      assert.equal(problem === undefined ? "fine" : problem.force ? "force" : "never", verdict);
      if (message) assert.match(problem!.message, message);
    });
  }

  it("a database outside needs no quorum of servers, but one server", () => {
    assert.equal(attempt("rss", { datastore: "external" }), undefined);
    assert.equal(attempt("r", { datastore: "external" })?.force, false);
  });

  it("the one that publishes the API stays", () => {
    assert.match(attempt("rrr", { publishesApi: true })!.message, /publishes the API .* without --no-lb/);
  });
});
