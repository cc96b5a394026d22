import assert from "node:assert/strict";
import { test } from "node:test";
import { Leases } from "../../../../src/store/etcd/leases.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

function rig(fail: () => boolean = () => false) {
  const clock = new FakeClock();
  const granted: number[] = [];
  const leases = new Leases(async (ttlSeconds) => {
    granted.push(ttlSeconds);
    if (fail()) throw new Error("no space");
    return BigInt(granted.length);
  }, clock);
  return { clock, granted, leases };
}

test("keys that ask for the same hour within a minute share a lease of an hour and a minute", async () => {
  const { clock, granted, leases } = rig();
  assert.deepEqual(await Promise.all([leases.for(3600), leases.for(3600)]), [1n, 1n]);
  await clock.advance(59_000);
  assert.equal(await leases.for(3600), 1n);
  await clock.advance(1000);
  // The first lease would end before an hour is over.
  assert.equal(await leases.for(3600), 2n);
  assert.deepEqual(granted, [3660, 3660]);
});

test("another life time has a lease of its own, and a short one that none can share is not drawn out", async () => {
  const { granted, leases } = rig();
  assert.equal(await leases.for(3600), 1n);
  assert.equal(await leases.for(60), 2n);
  assert.equal(await leases.for(10), 3n);
  assert.equal(await leases.for(10), 4n);
  assert.equal(await leases.for(3600), 1n);
  assert.deepEqual(granted, [3660, 63, 10, 10]);
});

test("a lease holds a thousand keys", async () => {
  const { leases } = rig();
  const ids = await Promise.all(Array.from({ length: 1001 }, () => leases.for(3600)));
  assert.deepEqual([ids.filter((id) => id === 1n).length, ids.filter((id) => id === 2n).length], [1000, 1]);
});

test("a lease that was not granted, or that etcd does not know any more, is asked for again", async () => {
  let failing = true;
  const { granted, leases } = rig(() => failing);
  await assert.rejects(leases.for(3600), /no space/);
  failing = false;
  assert.equal(await leases.for(3600), 2n);
  leases.forget(3600);
  assert.equal(await leases.for(3600), 3n);
  assert.equal(granted.length, 3);
});
