import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeMessage, encodeMessage, type MessageInput } from "../../../../src/machinery/protobuf.ts";
import { watchResponse } from "../../../../src/store/etcd/etcd-messages.ts";
import { answersProgress, canceledError } from "../../../../src/store/etcd/replay.ts";
import { FragmentJoiner, toStoreEvents } from "../../../../src/store/etcd/watch-events.ts";
import { CompactedError } from "../../../../src/store/store.ts";

const response = (value: MessageInput<typeof watchResponse>) =>
  decodeMessage(watchResponse, encodeMessage(watchResponse, value));
const kv = (key: string, createRevision: number, modRevision: number, value = "") => ({
  key,
  createRevision,
  modRevision,
  value: Buffer.from(value),
});

test("a create, an update and a delete carry what was there before", () => {
  const { events } = response({
    events: [
      { kv: kv("/a", 5, 5, "1") },
      { kv: kv("/a", 5, 6, "2"), prevKv: kv("/a", 5, 5, "1") },
      { type: "DELETE", kv: kv("/a", 0, 7), prevKv: kv("/a", 5, 6, "2") },
    ],
  });
  const one = { key: "/a", value: Buffer.from("1"), createRevision: 5, modRevision: 5 };
  const two = { key: "/a", value: Buffer.from("2"), createRevision: 5, modRevision: 6 };
  assert.deepEqual(toStoreEvents(events), [
    { type: "put", key: "/a", revision: 5, entry: one },
    { type: "put", key: "/a", revision: 6, entry: two, previous: one },
    { type: "delete", key: "/a", revision: 7, previous: two },
  ]);
});

test("an event whose past etcd has forgotten already is a place lost, not a create", () => {
  const update = response({ events: [{ kv: kv("/a", 5, 6) }] });
  assert.throws(() => toStoreEvents(update.events), CompactedError);
  const removal = response({ events: [{ type: "DELETE", kv: kv("/a", 0, 7) }] });
  assert.throws(() => toStoreEvents(removal.events), CompactedError);
});

test("fragments are joined, so that no revision is handed out in part", () => {
  const joiner = new FragmentJoiner();
  const events = (revision: number) => [{ kv: kv(`/${revision}`, revision, revision) }];
  const keys = (joined: ReturnType<FragmentJoiner["take"]>) => joined?.map((event) => event.kv?.key);
  assert.deepEqual(keys(joiner.take(response({ events: events(1) }))), ["/1"]);
  assert.equal(joiner.take(response({ events: events(2), fragment: true })), undefined);
  assert.equal(joiner.take(response({ events: events(3), fragment: true })), undefined);
  assert.deepEqual(keys(joiner.take(response({ events: events(4) }))), ["/2", "/3", "/4"]);
  assert.deepEqual(keys(joiner.take(response({ events: events(5) }))), ["/5"]);
});

test("a watch that etcd ended for its place is compacted; for anything else it may be begun again", () => {
  const compacted = canceledError({ compactRevision: 9, cancelReason: "" }, 4);
  assert.ok(compacted instanceof CompactedError);
  assert.deepEqual([compacted.revision, compacted.compactedRevision], [4, 9]);
  assert.match(canceledError({ compactRevision: 0, cancelReason: "no leader" }, 4).message, /no leader/);
});

test("progress is asked only of versions that answer truly", () => {
  const truly = ["3.4.31", "3.5.13", "3.5.30", "3.6.0", "3.6.0-rc.1", "3.10.1", "4.0.0"];
  const not = ["3.3.27", "3.4.30", "3.5.0", "3.5.12", "2.3.8", ""];
  assert.deepEqual(
    [...truly, ...not].filter((version) => answersProgress(version)),
    truly,
  );
});
