import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { serverAddresses } from "../../../src/agent/server-addresses.ts";
import type { EndpointSlice } from "../../../src/api/generated/discovery-v1.ts";

function slice(addresses: string[], port: number, ready?: boolean): EndpointSlice {
  return {
    metadata: { name: "kubernetes", namespace: "default" },
    addressType: "IPv4",
    endpoints: addresses.map((address) => ({
      addresses: [address],
      ...(ready === undefined ? {} : { conditions: { ready } }),
    })),
    ports: [{ name: "https", port, protocol: "TCP" }],
  } as EndpointSlice;
}

describe("the servers' addresses (slices of default/kubernetes)", () => {
  it("are those of all slices, each once, with their slice's port", () => {
    const slices = [slice(["10.0.0.2", "10.0.0.1"], 6443, true), slice(["10.0.0.3"], 7443), slice(["10.0.0.1"], 6443)];
    assert.deepEqual(serverAddresses(slices), ["10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:7443"]);
  });

  it("leave out those that say that they are not ready", () => {
    assert.deepEqual(serverAddresses([slice(["10.0.0.1"], 6443, false), slice(["10.0.0.2"], 6443, true)]), [
      "10.0.0.2:6443",
    ]);
  });

  it("have IPv6 in brackets", () => {
    assert.deepEqual(serverAddresses([slice(["fd00::1"], 6443)]), ["[fd00::1]:6443"]);
  });

  it("are none without endpoints or ports", () => {
    assert.deepEqual(serverAddresses([{ ...slice([], 6443), endpoints: null as never }]), []);
    assert.deepEqual(serverAddresses([{ ...slice(["10.0.0.1"], 6443), ports: [] }]), []);
  });
});
