import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { readBody } from "../../../../src/apiserver/http/body.ts";
import type { Incoming } from "../../../../src/apiserver/http/messages.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

test("a body that does not end within a minute is 504, and its connection goes after the answer", async () => {
  const clock = new FakeClock();
  const request = new PassThrough();
  const reading = assert.rejects(readBody(request as unknown as Incoming, clock), { code: 504, reason: "Timeout" });
  request.write("{");
  await clock.advance(60_000);
  await reading;
  assert.equal(request.destroyed, false);
  await clock.advance(1000);
  assert.equal(request.destroyed, true);
});

test("a whole body leaves no timer behind", async () => {
  const clock = new FakeClock();
  const request = new PassThrough();
  const reading = readBody(request as unknown as Incoming, clock);
  request.end("{}");
  assert.equal(String(await reading), "{}");
  assert.equal(clock.pending, 0);
});
