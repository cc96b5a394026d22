import assert from "node:assert/strict";
import { test } from "node:test";
import { type ClusterView, ClusterZone } from "../../../../src/agent/dns/cluster-zone.ts";
import { parseHosts } from "../../../../src/agent/dns/extra-hosts.ts";
import type { Node, Service, ServiceSpec } from "../../../../src/api/generated/core-v1.ts";
import type { Endpoint, EndpointSlice } from "../../../../src/api/generated/discovery-v1.ts";
import { parseCidr } from "../../../../src/machinery/cidr.ts";

const services: Service[] = [];
const slices: EndpointSlice[] = [];
function add(name: string, namespace: string, spec: ServiceSpec, endpoints: Endpoint[] = [], ports = spec.ports ?? []) {
  services.push({ metadata: { name, namespace }, spec });
  const labels = { "kubernetes.io/service-name": name };
  const slicePorts = ports.map(({ name, protocol }) => ({ name: name ?? "", port: 8080, protocol: protocol ?? "TCP" }));
  slices.push({
    metadata: { name: `${name}-1`, namespace, labels },
    addressType: "IPv4",
    endpoints,
    ports: slicePorts,
  });
}

add(
  "web",
  "shop",
  {
    clusterIP: "10.43.0.7",
    ports: [
      { name: "http", port: 80 },
      { name: "dns", port: 53, protocol: "UDP" },
    ],
  },
  [{ addresses: ["10.42.0.9"] }],
);
add("dual", "shop", { clusterIP: "10.43.0.8", clusterIPs: ["10.43.0.8", "fd00:43::8"], ports: [{ port: 80 }] });
add("db", "shop", { clusterIP: "None", ports: [{ name: "sql", port: 5432 }] }, [
  { addresses: ["10.42.0.5"], hostname: "db-0" },
  { addresses: ["10.42.1.5"], hostname: "db-1", conditions: { ready: true } },
  { addresses: ["10.42.1.6"], conditions: { ready: false } },
]);
add("plain", "shop", { clusterIP: "None", ports: [{ name: "http", port: 80 }] }, [{ addresses: ["10.42.0.6"] }]);
add("empty", "shop", { clusterIP: "None", ports: [{ name: "http", port: 80 }] });
add("ext", "shop", { type: "ExternalName", externalName: "Www.Example.org." });
const nodes: Node[] = [
  {
    metadata: { name: "node-1" },
    status: {
      addresses: [
        { type: "InternalIP", address: "172.18.0.3" },
        { type: "Hostname", address: "node-1" },
      ],
    },
  },
];

const inSlice = (address: string) => (slice: EndpointSlice) =>
  slice.endpoints?.some((e) => e.addresses.includes(address));
const view: ClusterView = {
  service: (namespace, name) =>
    services.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name),
  slices: (namespace, service) =>
    slices.filter(
      ({ metadata }) => metadata.namespace === namespace && metadata.labels?.["kubernetes.io/service-name"] === service,
    ),
  servicesByIp: (address) => services.filter(({ spec }) => (spec?.clusterIPs ?? [spec?.clusterIP]).includes(address)),
  slicesByIp: (address) => slices.filter(inSlice(address)),
  namespaceHasServices: (namespace) => services.some(({ metadata }) => metadata.namespace === namespace),
  node: (name) => nodes.find(({ metadata }) => metadata.name === name),
  nodesByIp: (address) => nodes.filter(({ status }) => status?.addresses?.some((entry) => entry.address === address)),
  extraHost: (name) => parseHosts("172.18.0.1 host.k3d.internal Gateway # the machine\nno address").get(name) ?? [],
};
const zone = new ClusterZone(view, {
  domain: "cluster.local",
  serverAddress: "10.43.0.10",
  ranges: [parseCidr("10.43.0.0/16"), parseCidr("10.42.0.0/16")],
});

/** The answer in one line: data of the answers, else the code; "->x" for an alias; "elsewhere" if not from here. */
function ask(name: string, type: string): string {
  const found = zone.resolve(name, type);
  if (!found) return "elsewhere";
  if ("alias" in found) return `->${found.target}`;
  if (!found.answers.length) {
    assert.equal(found.authorities[0]?.type, "SOA", "a negative answer carries the SOA");
    return found.code === "NOERROR" ? "no data" : found.code;
  }
  return found.answers
    .map((record) =>
      record.type === "SRV"
        ? `${record.data.weight} ${record.data.port} ${record.data.target}`
        : record.type === "SOA"
          ? record.data.mname
          : String(record.data),
    )
    .join(", ");
}

// Rows after the Kubernetes DNS specification 1.1.0, and CoreDNS' kubernetes plugin where that is silent.
const rows: [rule: string, name: string, type: string, answer: string][] = [
  ["2.2 schema version", "dns-version.cluster.local", "TXT", "1.1.0"],
  ["2.3.1 ClusterIP", "web.shop.svc.cluster.local", "A", "10.43.0.7"],
  ["2.3.1 no IPv6 address", "web.shop.svc.cluster.local", "AAAA", "no data"],
  ["2.3.1 both families, A", "dual.shop.svc.cluster.local", "A", "10.43.0.8"],
  ["2.3.1 both families, AAAA", "dual.shop.svc.cluster.local", "AAAA", "fd00:43::8"],
  ["2.3.2 SRV of a named port", "_http._tcp.web.shop.svc.cluster.local", "SRV", "100 80 web.shop.svc.cluster.local"],
  ["2.3.2 SRV with UDP", "_dns._udp.web.shop.svc.cluster.local", "SRV", "100 53 web.shop.svc.cluster.local"],
  ["2.3.2 SRV of a port that is not there", "_dns._tcp.web.shop.svc.cluster.local", "SRV", "NXDOMAIN"],
  [
    "SRV of all ports",
    "web.shop.svc.cluster.local",
    "SRV",
    "50 80 web.shop.svc.cluster.local, 50 53 web.shop.svc.cluster.local",
  ],
  ["the port's name has only SRV", "_http._tcp.web.shop.svc.cluster.local", "A", "no data"],
  ["a protocol's name exists", "_tcp.web.shop.svc.cluster.local", "SRV", "no data"],
  ["2.3.3 PTR of a ClusterIP", "7.0.43.10.in-addr.arpa", "PTR", "web.shop.svc.cluster.local"],
  ["2.4.1 headless: ready endpoints", "db.shop.svc.cluster.local", "A", "10.42.0.5, 10.42.1.5"],
  ["2.4.1 endpoint by its host name", "db-1.db.shop.svc.cluster.local", "A", "10.42.1.5"],
  ["2.4.1 endpoint that is not ready", "10-42-1-6.db.shop.svc.cluster.local", "A", "NXDOMAIN"],
  ["2.4.1 endpoint by its address", "10-42-0-6.plain.shop.svc.cluster.local", "A", "10.42.0.6"],
  ["2.4.1 headless without endpoints", "empty.shop.svc.cluster.local", "A", "no data"],
  [
    "2.4.2 SRV of endpoints",
    "_sql._tcp.db.shop.svc.cluster.local",
    "SRV",
    "50 8080 db-0.db.shop.svc.cluster.local, 50 8080 db-1.db.shop.svc.cluster.local",
  ],
  ["2.4.2 SRV without endpoints", "_http._tcp.empty.shop.svc.cluster.local", "SRV", "NXDOMAIN"],
  ["2.4.3 PTR of an endpoint with a host name", "5.0.42.10.in-addr.arpa", "PTR", "db-0.db.shop.svc.cluster.local"],
  ["2.4.3 PTR of an endpoint without", "6.0.42.10.in-addr.arpa", "PTR", "10-42-0-6.plain.shop.svc.cluster.local"],
  ["no PTR for endpoints behind a ClusterIP", "9.0.42.10.in-addr.arpa", "PTR", "NXDOMAIN"],
  ["2.5.1 ExternalName", "ext.shop.svc.cluster.local", "A", "->www.example.org"],
  ["ExternalName has nothing below", "x.ext.shop.svc.cluster.local", "A", "NXDOMAIN"],
  ["pod address", "10-42-3-4.shop.pod.cluster.local", "A", "10.42.3.4"],
  ["pod address, IPv6", "fd00--1.shop.pod.cluster.local", "AAAA", "fd00::1"],
  ["no pod address", "hello.shop.pod.cluster.local", "A", "NXDOMAIN"],
  ["no Service", "none.shop.svc.cluster.local", "A", "NXDOMAIN"],
  ["namespace", "shop.svc.cluster.local", "A", "no data"],
  ["no namespace", "mall.svc.cluster.local", "A", "NXDOMAIN"],
  ["search list made it", "www.example.org.shop.svc.cluster.local", "A", "NXDOMAIN"],
  ["the zone itself", "cluster.local", "A", "no data"],
  ["the zone's SOA", "cluster.local", "SOA", "ns.dns.cluster.local"],
  ["the zone's name server", "cluster.local", "NS", "ns.dns.cluster.local"],
  ["and its address", "ns.dns.cluster.local", "A", "10.43.0.10"],
  ["unknown kind", "web.shop.xyz.cluster.local", "A", "NXDOMAIN"],
  ["a node", "node-1", "A", "172.18.0.3"],
  ["a name that K3s' NodeHosts holds", "host.k3d.internal", "A", "172.18.0.1"],
  ["each name of such a line", "gateway", "A", "172.18.0.1"],
  ["a node's PTR", "3.0.18.172.in-addr.arpa", "PTR", "node-1"],
  ["an address of the cluster that nobody has", "200.0.43.10.in-addr.arpa", "PTR", "NXDOMAIN"],
  ["somebody else's address", "8.8.8.8.in-addr.arpa", "PTR", "elsewhere"],
  ["somebody else's name", "example.org", "A", "elsewhere"],
  ["a name that only ends alike", "notcluster.local", "A", "elsewhere"],
  ["a type that nobody has here", "web.shop.svc.cluster.local", "UNKNOWN_65", "no data"],
];
for (const [rule, name, type, answer] of rows) {
  test(`${rule}: ${name} ${type}`, () => assert.equal(ask(name, type), answer));
}

test("SRV answers bring the addresses of their targets along", () => {
  const found = zone.resolve("_sql._tcp.db.shop.svc.cluster.local", "SRV");
  assert.ok(found && !("alias" in found));
  assert.deepEqual(
    found.additionals.map(({ name, data }) => `${name} ${data}`),
    ["db-0.db.shop.svc.cluster.local 10.42.0.5", "db-1.db.shop.svc.cluster.local 10.42.1.5"],
  );
});
