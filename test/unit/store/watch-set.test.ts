import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../../src/machinery/log.ts";
import type { StoreEvent } from "../../../src/store/store.ts";
import { WatchSet } from "../../../src/store/watch-set.ts";

const event = (revision: number): StoreEvent => ({ type: "delete", key: `/a/${revision}`, revision });

function follower(afterRevision: number) {
  const seen: number[] = [];
  const errors: Error[] = [];
  let progress = afterRevision;
  return {
    seen,
    errors,
    get progress() {
      return progress;
    },
    options: {
      afterRevision,
      onEvents: (events: readonly StoreEvent[], reached: number) => {
        seen.push(...events.map(({ revision }) => revision));
        progress = reached;
      },
      onError: (error: Error) => void errors.push(error),
    },
  };
}

test("what is emitted while a watch reads history comes after it, once", async () => {
  const watches = new WatchSet(silentLogger);
  const page = Promise.withResolvers<{ events: StoreEvent[]; upTo: number; complete: boolean }>();
  const one = follower(0);
  const added = watches.add("/a/", one.options, () => page.promise);
  watches.emit([event(2)], 2);
  watches.emit([event(3)], 3);
  // Read before the third, and after the second.
  page.resolve({ events: [event(1), event(2)], upTo: 2, complete: true });
  await added;
  assert.deepEqual(one.seen, [1, 2, 3]);
  watches.emit([event(4), { ...event(5), key: "/b" }], 5);
  assert.deepEqual([one.seen, one.progress], [[1, 2, 3, 4], 5]);
});

test("a watch whose history takes several pages misses nothing that is emitted between them", async () => {
  const watches = new WatchSet(silentLogger);
  const one = follower(0);
  let head = 2;
  const done = Promise.withResolvers<void>();
  await watches.add("/a/", one.options, async (after) => {
    // One page behind what is emitted, as a log is read that others write to.
    head++;
    watches.emit([event(head)], head);
    const complete = after >= 3;
    if (complete) setImmediate(done.resolve);
    const upTo = complete ? head : after + 1;
    return { events: Array.from({ length: upTo - after }, (_, index) => event(after + 1 + index)), upTo, complete };
  });
  await done.promise;
  assert.deepEqual(
    one.seen,
    Array.from({ length: head }, (_, index) => index + 1),
  );
});

test("a watcher that throws loses its own watch only", async () => {
  const watches = new WatchSet(silentLogger);
  const [good, bad] = [follower(0), follower(0)];
  const nothing = async () => ({ events: [], upTo: 0, complete: true });
  const failing = () => {
    throw new Error("broken");
  };
  await watches.add("/", { ...bad.options, onEvents: failing }, nothing);
  await watches.add("/", good.options, nothing);
  watches.emit([event(1)], 1);
  watches.emit([event(2)], 2);
  assert.deepEqual(good.seen, [1, 2]);
  assert.deepEqual(
    bad.errors.map(({ message }) => message),
    ["broken"],
  );
});
