import assert from "node:assert/strict";
import { test } from "node:test";
import { FanOut } from "../../../../src/apiserver/http/fan-out.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

class Target {
  readonly written: Buffer[] = [];
  write(bytes: Buffer): void {
    this.written.push(bytes);
  }
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test("watchers that are due the same frames share one buffer, and a round is one write each", async () => {
  const fanOut = new FanOut(new FakeClock());
  const [one, two, three] = [new Target(), new Target(), new Target()];
  const [a, b, c] = ["a", "b", "c"].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer];
  for (const target of [one, two]) fanOut.send(target, [a]);
  for (const target of [one, two]) fanOut.send(target, [b]);
  fanOut.send(three, [a, c]);
  await nextTurn();
  assert.deepEqual(one.written.map(String), ["ab"]);
  assert.equal(one.written[0], two.written[0]);
  assert.deepEqual(three.written.map(String), ["ac"]);
});

test("under load rounds are held, so that one write carries several events", async () => {
  const clock = new FakeClock();
  const fanOut = new FanOut(clock);
  const target = new Target();
  const frame = Buffer.from("x");
  const burst = () => fanOut.send(target, new Array(60_000).fill(frame));
  burst();
  await nextTurn();
  burst();
  await nextTurn();
  await clock.advance(500);
  burst();
  await nextTurn();
  const before = target.written.length;
  assert.equal(before, 3, "nothing is held before the load is known");
  fanOut.send(target, [frame]);
  await nextTurn();
  assert.equal(target.written.length, before);
  await clock.advance(25);
  assert.equal(target.written.length, before + 1);
  assert.equal(
    target.written.reduce((sum, bytes) => sum + bytes.length, 0),
    180_001,
    "nothing is lost",
  );
});

test("what is due is sent before a target is closed, and dropped when it is gone", async () => {
  const fanOut = new FanOut(new FakeClock());
  const [closing, gone] = [new Target(), new Target()];
  fanOut.send(closing, [Buffer.from("last")]);
  fanOut.flush(closing);
  assert.deepEqual(closing.written.map(String), ["last"]);
  fanOut.send(gone, [Buffer.from("x")]);
  fanOut.forget(gone);
  await nextTurn();
  assert.equal(gone.written.length, 0);
  assert.equal(closing.written.length, 1);
});
