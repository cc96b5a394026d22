import assert from "node:assert/strict";
import { it } from "node:test";
import { fixedAddress } from "../../../src/cluster/cluster-network.ts";

it("servers' own addresses are in the half of the range that the engine does not hand out", () => {
  assert.equal(fixedAddress("192.168.64.0/20", 0), "192.168.72.0");
  assert.equal(fixedAddress("192.168.64.0/20", 3), "192.168.72.3");
  assert.equal(fixedAddress("172.18.0.0/16", 2), "172.18.128.2");
  assert.equal(fixedAddress("10.1.2.0/29", 2), "10.1.2.6");
  // The last one is for broadcasts.
  assert.throws(() => fixedAddress("10.1.2.0/29", 3), /no address left/);
});
