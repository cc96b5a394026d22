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

/** A clock that goes on while work is done. */
class BusyClock extends FakeClock {
  workedMs = 0;

  override now(): number {
    return super.now() + this.workedMs;
  }
}

/** A connection whose every write takes a while. */
class SlowTarget extends Target {
  readonly #clock: BusyClock;
  readonly #takesMs: number;

  constructor(clock: BusyClock, takesMs: number) {
    super();
    this.#clock = clock;
    this.#takesMs = takesMs;
  }

  override write(bytes: Buffer): void {
    super.write(bytes);
    this.#clock.workedMs += this.#takesMs;
  }
}

test("after a round that was much work the next one is held, so that one write carries several events", async () => {
  const clock = new BusyClock();
  const fanOut = new FanOut(clock);
  const target = new SlowTarget(clock, 10);
  fanOut.send(target, [Buffer.from("a")]);
  await nextTurn();
  assert.deepEqual(target.written.map(String), ["a"], "nothing is held before the work is known");
  fanOut.send(target, [Buffer.from("b")]);
  await nextTurn();
  fanOut.send(target, [Buffer.from("c")]);
  await clock.advance(19);
  assert.deepEqual(target.written.map(String), ["a"]);
  await clock.advance(1);
  assert.deepEqual(target.written.map(String), ["a", "bc"]);
});

test("a long round goes over several turns of the loop, and what is due meanwhile comes after it", async () => {
  const clock = new BusyClock();
  const fanOut = new FanOut(clock);
  const targets = Array.from({ length: 64 }, () => new SlowTarget(clock, 1));
  for (const target of targets) fanOut.send(target, [Buffer.from("a")]);
  await nextTurn();
  const written = () => targets.filter((target) => target.written.length > 0).length;
  assert.equal(written(), 16, "a turn ends when its time is over");
  fanOut.send(targets[0]!, [Buffer.from("b")]);
  fanOut.send(targets[63]!, [Buffer.from("b")]);
  fanOut.flush(targets[63]!);
  assert.deepEqual(targets[63]!.written.map(String), ["ab"], "a flush sends what both rounds owe");
  for (let turn = 0; turn < 4; turn++) await nextTurn();
  assert.equal(written(), 64);
  await clock.advance(40);
  assert.deepEqual(targets[0]!.written.map(String), ["a", "b"]);
  assert.deepEqual(targets[63]!.written.map(String), ["ab"], "nothing is sent twice");
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
