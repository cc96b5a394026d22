import assert from "node:assert/strict";
import { test } from "node:test";
import { staleFlows } from "../../../../src/agent/proxy/conntrack.ts";
import type { ServicePort } from "../../../../src/agent/proxy/service-port.ts";

function udp(addresses: string[], overrides: Partial<ServicePort> = {}): ServicePort {
  return {
    id: "default/dns/udp/dns",
    protocol: "udp",
    port: 53,
    clusterIp: "10.43.0.5",
    nodePort: undefined,
    externalIps: [],
    loadBalancerIps: [],
    sourceRanges: [],
    affinitySeconds: 0,
    internalLocal: false,
    externalLocal: false,
    targets: addresses.map((address) => ({ address, port: 53, local: false })),
    ...overrides,
  };
}

const clusterIp = ["--orig-dst", "10.43.0.5", "--orig-port-dst", "53"];

test("flows to an endpoint that went away are forgotten, at every entrance of the Service", () => {
  assert.deepEqual(staleFlows([udp(["10.42.0.1", "10.42.0.2"])], [udp(["10.42.0.2"])]), [
    [...clusterIp, "--dst-nat", "10.42.0.1"],
  ]);
  const entrances = { nodePort: 30053, externalIps: ["203.0.113.5"] };
  assert.deepEqual(staleFlows([udp(["10.42.0.1"], entrances)], []), [
    [...clusterIp, "--dst-nat", "10.42.0.1"],
    ["--orig-dst", "203.0.113.5", "--orig-port-dst", "53", "--dst-nat", "10.42.0.1"],
    ["--orig-port-dst", "30053", "--dst-nat", "10.42.0.1"],
  ]);
});

test("flows that began before there was an endpoint are forgotten when the first one comes", () => {
  assert.deepEqual(staleFlows([udp([])], [udp(["10.42.0.1"])]), [clusterIp]);
  assert.deepEqual(staleFlows([], [udp(["10.42.0.1"])]), [clusterIp]);
});

test("more endpoints, no change, and TCP leave all flows alone", () => {
  assert.deepEqual(staleFlows([udp(["10.42.0.1"])], [udp(["10.42.0.1", "10.42.0.2"])]), []);
  assert.deepEqual(staleFlows([udp(["10.42.0.1"], { protocol: "tcp" })], []), []);
});
