import assert from "node:assert/strict";
import { test } from "node:test";
import { servicePortsOf } from "../../../../src/agent/proxy/service-port.ts";
import type { ServiceSpec } from "../../../../src/api/generated/core-v1.ts";
import type { Endpoint, EndpointSlice } from "../../../../src/api/generated/discovery-v1.ts";

const ports = [{ name: "http", port: 80, targetPort: "web" }];

function service(spec: ServiceSpec, labels: Record<string, string> = {}) {
  return { metadata: { name: "web", namespace: "shop", labels }, spec: { clusterIP: "10.43.0.9", ports, ...spec } };
}

function slice(endpoints: Endpoint[], overrides: Partial<EndpointSlice> = {}): EndpointSlice {
  return {
    metadata: { name: "web-1", namespace: "shop" },
    addressType: "IPv4",
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    endpoints,
    ...overrides,
  };
}

function addresses(endpoints: Endpoint[]): string[] {
  const [port] = servicePortsOf(service({}), [slice(endpoints)], "n1");
  return port!.targets.map((target) => target.address);
}

test("a port becomes its endpoints' addresses and port numbers, sorted, each once", () => {
  const a = slice([
    { addresses: ["10.42.1.2"], nodeName: "n2" },
    { addresses: ["10.42.0.9"], nodeName: "n1" },
  ]);
  const b = slice([{ addresses: ["10.42.0.9"], nodeName: "n1" }]);
  const [port, ...others] = servicePortsOf(service({}), [a, b], "n1");
  assert.equal(others.length, 0);
  assert.equal(port!.id, "shop/web/tcp/http");
  assert.deepEqual(port!.targets, [
    { address: "10.42.0.9", port: 8080, local: true },
    { address: "10.42.1.2", port: 8080, local: false },
  ]);
});

test("endpoints that are not ready are left out; when none is ready, those that end but still serve take over", () => {
  const ready = { addresses: ["10.42.0.1"], conditions: { ready: true } };
  const unknown = { addresses: ["10.42.0.2"] };
  const unready = { addresses: ["10.42.0.3"], conditions: { ready: false, serving: false } };
  const ending = { addresses: ["10.42.0.4"], conditions: { ready: false, serving: true, terminating: true } };
  assert.deepEqual(addresses([ready, unknown, unready, ending]), ["10.42.0.1", "10.42.0.2"]);
  assert.deepEqual(addresses([unready, ending]), ["10.42.0.4"]);
  assert.deepEqual(addresses([unready]), []);
});

test("headless, ExternalName, IPv6-only and foreign-proxied Services have no rules", () => {
  for (const spec of [
    { clusterIP: "None" },
    { type: "ExternalName", externalName: "example.org" },
    { clusterIP: "fd00::1", clusterIPs: ["fd00::1"] },
  ]) {
    assert.deepEqual(servicePortsOf(service(spec), [], "n1"), []);
  }
  const labels = { "service.kubernetes.io/service-proxy-name": "other" };
  assert.deepEqual(servicePortsOf(service({}, labels), [], "n1"), []);
});

test("a port of another name, protocol or address family does not count", () => {
  const endpoints = [{ addresses: ["10.42.0.1"] }];
  for (const overrides of [
    { ports: [{ name: "https", port: 8443, protocol: "TCP" }] },
    { ports: [{ name: "http", port: 8080, protocol: "UDP" }] },
    { addressType: "IPv6", endpoints: [{ addresses: ["fd00::2"] }] },
  ]) {
    const [port] = servicePortsOf(service({}), [slice(endpoints, overrides)], "n1");
    assert.deepEqual(port!.targets, []);
  }
});

test("node ports, external addresses, ranges and affinity count only where the type has them", () => {
  const full: ServiceSpec = {
    externalIPs: ["203.0.113.1", "2001:db8::1"],
    externalTrafficPolicy: "Local",
    loadBalancerSourceRanges: [" 10.0.0.0/8", "fd00::/8", "no-range"],
    sessionAffinity: "ClientIP",
    ports: [{ ...ports[0]!, nodePort: 30080 }],
  };
  const ingress = [{ ip: "203.0.113.7" }, { ip: "203.0.113.8", ipMode: "Proxy" }, { hostname: "lb.example.org" }];
  const status = { loadBalancer: { ingress } };
  const [balanced] = servicePortsOf({ ...service({ ...full, type: "LoadBalancer" }), status }, [], "n1");
  assert.equal(balanced!.nodePort, 30080);
  assert.deepEqual(balanced!.externalIps, ["203.0.113.1"]);
  assert.deepEqual(balanced!.loadBalancerIps, ["203.0.113.7"]);
  assert.deepEqual(balanced!.sourceRanges, ["10.0.0.0/8"]);
  assert.equal(balanced!.affinitySeconds, 10_800);
  assert.equal(balanced!.externalLocal, true);

  const [plain] = servicePortsOf({ ...service({ ...full, type: "ClusterIP", externalIPs: [] }), status }, [], "n1");
  assert.equal(plain!.nodePort, undefined);
  assert.deepEqual(plain!.loadBalancerIps, []);
  assert.deepEqual(plain!.sourceRanges, []);
  assert.equal(plain!.externalLocal, false);
});
