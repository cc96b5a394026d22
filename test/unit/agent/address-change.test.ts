import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addressChange } from "../../../src/agent/address-change.ts";
import { FakeClock } from "../../support/fake-clock.ts";

function watch() {
  const clock = new FakeClock();
  const stop = new AbortController();
  const state = { address: "10.0.0.2" as string | undefined, change: undefined as Error | undefined };
  const find = () => {
    if (!state.address) throw new Error("no network interface has an IPv4 address");
    return state.address;
  };
  void addressChange({ current: "10.0.0.2", find, clock, signal: stop.signal }).then((error) => {
    state.change = error;
  });
  return { clock, state, stop };
}

describe("addressChange", () => {
  it("names the old and the new address", async () => {
    const { clock, state } = watch();
    await clock.advance(60_000);
    assert.equal(state.change, undefined);
    state.address = "10.0.0.3";
    await clock.advance(10_000);
    assert.match(String(state.change), /changed from 10\.0\.0\.2 to 10\.0\.0\.3/);
    assert.equal(clock.pending, 0);
  });

  it("waits while there is no address, and goes on when the old one is back", async () => {
    const { clock, state } = watch();
    state.address = undefined;
    await clock.advance(60_000);
    state.address = "10.0.0.2";
    await clock.advance(60_000);
    assert.equal(state.change, undefined);
  });

  it("ends with the signal", async () => {
    const { clock, state, stop } = watch();
    stop.abort();
    state.address = "10.0.0.3";
    await clock.advance(60_000);
    assert.equal(state.change, undefined);
    assert.equal(clock.pending, 0);
  });
});
