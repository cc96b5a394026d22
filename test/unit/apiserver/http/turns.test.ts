import assert from "node:assert/strict";
import { test } from "node:test";
import { Turns } from "../../../../src/apiserver/http/turns.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

test("a turn closes when its time is used up, and the next one is open", async () => {
  let nowMs = 0;
  const clock = Object.assign(new FakeClock(), { now: () => nowMs });
  const turns = new Turns(clock);
  assert.equal(turns.open, true);
  nowMs += 3;
  assert.equal(turns.open, true);
  nowMs += 1;
  assert.equal(turns.open, false);
  await turns.next();
  assert.equal(turns.open, true);
});
