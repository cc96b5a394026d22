import assert from "node:assert/strict";
import { test } from "node:test";
import { KeyTurns } from "../../../../src/store/etcd/key-turns.ts";
import { UnavailableError } from "../../../../src/store/store.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

/** Work that ends when it is told to. */
function rig(atOnce: number) {
  const clock = new FakeClock();
  const turns = new KeyTurns({ atOnce, patienceMs: 1000, longestMs: 5000, clock });
  const begun: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<string>>();
  const run = (key: string, name: string) =>
    turns.run(key, () => {
      begun.push(name);
      const end = Promise.withResolvers<string>();
      ends.set(name, end);
      return end.promise;
    });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { clock, turns, begun, run, settle, end: (name: string) => ends.get(name)!.resolve(name), ends };
}

test("work of one key goes one after the other, that of several keys at once", async () => {
  const { begun, run, end, settle, ends } = rig(10);
  const results = [run("a", "a1"), run("a", "a2"), run("b", "b1"), run("a", "a3")];
  await settle();
  assert.deepEqual(begun, ["a1", "b1"]);
  // What fails lets the next begin, too.
  ends.get("a1")!.reject(new Error("refused"));
  await assert.rejects(results[0]!, /refused/);
  await settle();
  assert.deepEqual(begun, ["a1", "b1", "a2"]);
  end("a2");
  await settle();
  end("a3");
  end("b1");
  assert.deepEqual(await Promise.all(results.slice(1)), ["a2", "b1", "a3"]);
});

test("only so much runs at a time, and what waits while nothing succeeds fails without having begun", async () => {
  const { clock, begun, run, end, ends, settle } = rig(2);
  const first = [run("a", "a"), run("b", "b")];
  const patient = run("c", "c");
  const failing = assert.rejects(first[1]!, /refused/);
  await settle();
  assert.deepEqual(begun, ["a", "b"]);
  end("a");
  await settle();
  assert.deepEqual(begun, ["a", "b", "c"]);
  const late = run("d", "d");
  const refused = assert.rejects(late, UnavailableError);
  await clock.advance(1001);
  ends.get("b")!.reject(new Error("refused"));
  await refused;
  await failing;
  assert.deepEqual(begun, ["a", "b", "c"]);
  end("c");
  assert.deepEqual(await Promise.all([first[0], patient]), ["a", "c"]);
});

test("what waits while others succeed is patient for longer, though not for ever", async () => {
  const { clock, begun, run, end, settle } = rig(1);
  const names = ["a", "b", "c", "d", "e", "f", "g"];
  const results = names.map((name) => run(name, name));
  const refused = assert.rejects(results.at(-1)!, /did not come in 5000 ms/);
  for (const name of names.slice(0, -1)) {
    await settle();
    await clock.advance(900);
    end(name);
  }
  assert.deepEqual(await Promise.all(results.slice(0, -1)), names.slice(0, -1));
  await refused;
  assert.deepEqual(begun, names.slice(0, -1));
});

test("drained waits for all that was asked for", async () => {
  const { turns, run, end, settle } = rig(1);
  await turns.drained();
  const results = [run("a", "1"), run("a", "2"), run("b", "3")];
  let drained = false;
  const waiting = turns.drained().then(() => {
    drained = true;
  });
  for (const name of ["1", "3", "2"]) {
    await settle();
    assert.equal(drained, false);
    end(name);
  }
  await Promise.all(results);
  await waiting;
});
