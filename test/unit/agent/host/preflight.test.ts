import assert from "node:assert/strict";
import { test } from "node:test";
import { missingCapabilities, PreflightError } from "../../../../src/agent/host/preflight.ts";

test("an ordinary container lacks the capabilities that a node needs", () => {
  // What `docker run` without --privileged gives.
  assert.deepEqual(missingCapabilities("Name:\tnode\nCapEff:\t00000000a80425fb\n"), ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
});

test("a privileged container lacks nothing, also on a machine that holds some capabilities back", () => {
  assert.deepEqual(missingCapabilities("CapEff:\t000001ffffffffff\n"), []);
  // Without CAP_SYS_RESOURCE (24).
  assert.deepEqual(missingCapabilities("CapEff:\t000001fffeffffff\n"), []);
});

test("the error lists each problem with its remedy", () => {
  const error = new PreflightError([
    { thing: "privileges", message: "this process lacks CAP_SYS_ADMIN", remedy: "use --privileged" },
    { thing: "nftables", message: "not supported", remedy: "load it" },
  ]);
  assert.equal(
    error.message,
    "privileges: this process lacks CAP_SYS_ADMIN; use --privileged\nnftables: not supported; load it",
  );
});
