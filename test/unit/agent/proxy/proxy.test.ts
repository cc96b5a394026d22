import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import type { ServiceSpec, ServiceStatus } from "../../../../src/api/generated/core-v1.ts";
import type { Endpoint } from "../../../../src/api/generated/discovery-v1.ts";
import { eventually } from "../../../support/eventually.ts";
import { joinByVeth, NetworkNamespace, requireNetworkTools } from "../support/netns.ts";
import { Peer } from "../support/peer.ts";
import type { ProxyMessage } from "./proxy-node.ts";

requireNetworkTools();

// A node with two pods on its bridge, a pod of another node behind a router, and a client outside the cluster.
const node = new NetworkNamespace("node");
const web1 = new Peer("web1");
const web2 = new Peer("web2");
const remote = new Peer("remote");
const outside = new Peer("outside");
const onNode = new Peer("node", node);
const proxy: ChildProcess = node.start(new URL("./proxy-node.ts", import.meta.url));
const logged: string[] = [];

const nodeIp = "192.168.78.1";
const outsideIp = "192.168.78.9";
const endpointOf = {
  web1: { addresses: ["10.42.0.2"], nodeName: "node" },
  web2: { addresses: ["10.42.0.3"], nodeName: "node" },
  remote: { addresses: ["10.42.1.2"], nodeName: "other" },
} satisfies Record<string, Endpoint>;

before(async () => {
  node.ip("link add cni0 type bridge");
  node.ip("address add 10.42.0.1/24 dev cni0");
  node.ip("link set cni0 up");
  node.ip("link add k3ts-svc type bridge");
  node.ip("link set k3ts-svc up arp off");
  for (const [peer, address] of [
    [web1, "10.42.0.2/24"],
    [web2, "10.42.0.3/24"],
  ] as const) {
    const device = `v${address.split("/")[0]!.at(-1)}`;
    joinByVeth({ namespace: peer.namespace, device: "eth0", address }, { namespace: node, device });
    node.ip(`link set ${device} master cni0`);
    node.exec("bridge", ["link", "set", "dev", device, "hairpin", "on"]);
    peer.namespace.ip("route add default via 10.42.0.1");
  }
  joinByVeth(
    { namespace: node, device: "eth0", address: `${nodeIp}/24` },
    { namespace: outside.namespace, device: "eth0", address: `${outsideIp}/24` },
  );
  joinByVeth(
    { namespace: node, device: "net1", address: "192.168.79.1/24" },
    { namespace: remote.namespace, device: "eth0", address: "192.168.79.2/24" },
  );
  remote.namespace.ip("address add 10.42.1.2/32 dev lo");
  remote.namespace.ip("route add default via 192.168.79.1");
  node.ip("route add 10.42.1.0/24 via 192.168.79.2");
  node.ip(`route add 10.43.0.0/16 dev k3ts-svc src ${nodeIp}`);
  outside.namespace.ip(`route add default via ${nodeIp}`);
  node.sysctl("net/ipv4/ip_forward", "1");
  node.sysctl("net/bridge/bridge-nf-call-iptables", "1");
  node.sysctl("net/ipv4/conf/all/route_localnet", "1");

  await Promise.all([web1.serve("web1", 8080), web2.serve("web2", 8080), remote.serve("remote", 8080)]);
  proxy.on("message", ({ line }: { line?: string }) => line && logged.push(line));
  put("web", { clusterIP: "10.43.0.20", ports: [{ name: "http", port: 80, targetPort: 8080 }] }, [
    "web1",
    "web2",
    "remote",
  ]);
  tell({ start: { clusterCidr: "10.42.0.0/16", serviceCidr: "10.43.0.0/16" } });
  await once(proxy, "message");
});

after(async () => {
  for (const { namespace } of [web1, web2, remote, outside]) await namespace.remove();
  await node.remove();
});

function tell(message: ProxyMessage): void {
  proxy.send(message);
}

type Endpoints = readonly (keyof typeof endpointOf)[];

/** A Service in "default" with its slice; `status` for load balancers. */
function put(name: string, spec: ServiceSpec, endpoints: Endpoints, status: ServiceStatus = {}): void {
  const metadata = { name, namespace: "default" };
  tell({ service: { metadata, spec, status } });
  tell({
    slice: {
      metadata: { name: `${name}-x`, namespace: "default", labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      endpoints: endpoints.map((endpoint) => endpointOf[endpoint]),
      ports: (spec.ports ?? []).map((port) => ({
        name: port.name ?? "",
        port: 8080,
        protocol: port.protocol ?? "TCP",
      })),
    },
  });
}

const handles = () => node.exec("nft", ["--handle", "list", "table", "ip", "k3ts"]);
const names = (seen: Map<string, number>) => [...seen.keys()];
const http = (nodePort?: number) => [{ name: "http", port: 80, ...(nodePort ? { nodePort } : {}) }];

test("a pod reaches every endpoint of a ClusterIP, itself included, and is seen with its own address by others", async () => {
  const seen = await web1.sample(60, "10.43.0.20", 80);
  // Itself it would answer on the short way, past the translation: so it sees its node there.
  assert.deepEqual(names(seen), ["remote 10.42.0.2", "web1 10.42.0.1", "web2 10.42.0.2"]);
  for (const [who, times] of seen) assert.ok(times >= 5, `${who} got ${times} of 60`);
});

test("the node itself reaches a ClusterIP", async () => {
  const seen = await onNode.sample(40, "10.43.0.20", 80);
  assert.deepEqual(names(seen), ["remote 192.168.79.1", "web1 10.42.0.1", "web2 10.42.0.1"]);
});

test("addresses and ports of the service range that nobody serves are refused at once", async () => {
  for (const from of [web1, onNode, outside]) {
    await assert.rejects(from.tcp("10.43.0.20", 81), { message: "ECONNREFUSED" });
    await assert.rejects(from.tcp("10.43.99.99", 80), { message: "ECONNREFUSED" });
  }
});

test("a Service without endpoints refuses, on its ClusterIP and its node port, until it gets one", async () => {
  put("empty", { type: "NodePort", clusterIP: "10.43.0.21", ports: http(30021) }, []);
  await eventually(() => assert.match(handles(), /tcp . 30021 : goto reject-it/));
  for (const from of [web1, onNode]) await assert.rejects(from.tcp("10.43.0.21", 80), { message: "ECONNREFUSED" });
  for (const from of [outside, onNode]) await assert.rejects(from.tcp(nodeIp, 30021), { message: "ECONNREFUSED" });
  put("empty", { type: "NodePort", clusterIP: "10.43.0.21", ports: http(30021) }, ["web2"]);
  await eventually(async () => assert.equal(await outside.tcp(nodeIp, 30021), "web2 10.42.0.1"));
});

test("a node port answers on every address of the node, from outside, from the node and from pods", async () => {
  put("np", { type: "NodePort", clusterIP: "10.43.0.22", ports: http(30022) }, ["web2", "remote"]);
  await eventually(() => outside.tcp(nodeIp, 30022));
  assert.deepEqual(names(await outside.sample(30, nodeIp, 30022)), ["remote 192.168.79.1", "web2 10.42.0.1"]);
  assert.deepEqual(names(await outside.sample(30, "10.42.0.1", 30022)), ["remote 192.168.79.1", "web2 10.42.0.1"]);
  assert.equal((await onNode.sample(30, nodeIp, 30022)).size, 2);
  assert.equal((await onNode.sample(30, "127.0.0.1", 30022)).size, 2);
  assert.equal((await web1.sample(30, nodeIp, 30022)).size, 2);
});

test("externalTrafficPolicy Local: only this node's endpoints, with the client's address; nothing when there is none", async () => {
  const spec = { type: "NodePort", externalTrafficPolicy: "Local", clusterIP: "10.43.0.23", ports: http(30023) };
  put("local", spec, ["web2", "remote"]);
  await eventually(() => outside.tcp(nodeIp, 30023));
  assert.deepEqual(names(await outside.sample(20, nodeIp, 30023)), [`web2 ${outsideIp}`]);
  assert.equal((await web1.sample(30, nodeIp, 30023)).size, 2, "pods reach all endpoints");
  assert.equal((await onNode.sample(30, nodeIp, 30023)).size, 2, "the node reaches all endpoints");
  put("local", spec, ["remote"]);
  await eventually(() => assert.match(handles(), /tcp . 30023 : drop/));
  await assert.rejects(outside.tcp(nodeIp, 30023, 1000), { message: "ETIMEDOUT" });
  assert.equal(await web1.tcp(nodeIp, 30023), "remote 10.42.0.2");
});

test("internalTrafficPolicy Local: only this node's endpoints", async () => {
  put("inner", { internalTrafficPolicy: "Local", clusterIP: "10.43.0.24", ports: http() }, ["web2", "remote"]);
  await eventually(() => web1.tcp("10.43.0.24", 80));
  assert.deepEqual(names(await web1.sample(20, "10.43.0.24", 80)), ["web2 10.42.0.2"]);
});

test("client affinity holds for all of a client's connections, through changes of other Services", async () => {
  const spec = { sessionAffinity: "ClientIP", clusterIP: "10.43.0.25", ports: http() };
  put("sticky", spec, ["web1", "web2", "remote"]);
  await eventually(() => web1.tcp("10.43.0.25", 80));
  const [[answer] = [""]] = await web1.sample(10, "10.43.0.25", 80);
  put("other", { clusterIP: "10.43.0.26", ports: http() }, ["web1"]);
  await eventually(() => web2.tcp("10.43.0.26", 80));
  assert.deepEqual(names(await web1.sample(20, "10.43.0.25", 80)), [answer]);
  put("sticky", { clusterIP: "10.43.0.25", ports: http() }, ["web1", "web2", "remote"]);
  await eventually(async () => assert.equal((await web1.sample(30, "10.43.0.25", 80)).size, 3));
});

test("external and load balancer addresses are served, the latter only to the source ranges", async () => {
  const spec = { type: "LoadBalancer", clusterIP: "10.43.0.27", ports: http(), externalIPs: ["203.0.113.1"] };
  const status = { loadBalancer: { ingress: [{ ip: "203.0.113.2" }] } };
  put("lb", spec, ["web2"], status);
  await eventually(async () => assert.equal(await outside.tcp("203.0.113.2", 80), "web2 10.42.0.1"));
  assert.equal(await outside.tcp("203.0.113.1", 80), "web2 10.42.0.1");
  put("lb", { ...spec, loadBalancerSourceRanges: ["10.42.0.0/16"] }, ["web2"], status);
  await eventually(() => assert.rejects(outside.tcp("203.0.113.2", 80, 1000), { message: "ETIMEDOUT" }));
  assert.equal(await outside.tcp("203.0.113.1", 80), "web2 10.42.0.1");
  assert.match(await web1.tcp("203.0.113.2", 80), /^web2 /);
});

test("host ports lead to their pod, on all addresses or on one, the loopback address included", async () => {
  const target = { protocol: "tcp" as const, podIp: "10.42.0.3", podPort: 8080 };
  tell({
    hostPorts: [
      { ...target, port: 8081 },
      { ...target, port: 8082, hostIp: "127.0.0.1" },
      { ...target, protocol: "udp", port: 8082, hostIp: nodeIp },
    ],
  });
  await eventually(async () => assert.equal(await outside.tcp(nodeIp, 8081), `web2 ${outsideIp}`));
  assert.equal(await web1.tcp(nodeIp, 8081), "web2 10.42.0.2");
  assert.equal(await web2.tcp(nodeIp, 8081), "web2 10.42.0.1");
  assert.equal(await onNode.tcp("127.0.0.1", 8081), "web2 10.42.0.1");
  assert.equal(await onNode.tcp("127.0.0.1", 8082), "web2 10.42.0.1");
  await eventually(async () => assert.equal(await outside.udp(nodeIp, 8082), `web2 ${outsideIp}`));
  await assert.rejects(outside.tcp(nodeIp, 8082), { message: "ECONNREFUSED" });
  tell({ hostPorts: [] });
  await eventually(() => assert.rejects(outside.tcp(nodeIp, 8081), { message: "ECONNREFUSED" }));
});

test("a UDP flow moves on when its endpoint goes away, and when the first endpoint comes", async () => {
  const spec = { clusterIP: "10.43.0.28", ports: [{ name: "dns", port: 53, protocol: "UDP" }] };
  put("udp", spec, []);
  await eventually(() => assert.match(handles(), /10.43.0.28 . udp . 53 : goto reject-it/));
  await assert.rejects(web1.udp("10.43.0.28", 53, 4000), { message: /ECONNREFUSED|ETIMEDOUT/ });
  put("udp", spec, ["web2"]);
  await eventually(async () => assert.equal(await web1.udp("10.43.0.28", 53, 4000), "web2 10.42.0.2"));
  put("udp", spec, ["remote"]);
  await eventually(async () => assert.equal(await web1.udp("10.43.0.28", 53, 4000), "remote 10.42.0.2"));
});

test("an address of the service range that the node has itself is left to the program that serves it", async () => {
  node.ip("address add 10.43.0.10/32 dev k3ts-svc");
  put("kube-dns", { clusterIP: "10.43.0.10", ports: [{ name: "dns-tcp", port: 5300 }] }, []);
  await eventually(() => assert.match(handles(), /10.43.0.10 . tcp . 5300/));
  await onNode.serve("here", 5300);
  assert.equal(await web1.tcp("10.43.0.10", 5300), "here 10.42.0.2");
  assert.match(await onNode.tcp("10.43.0.10", 5300), /^here /);
});

test("what changes nothing touches nothing", async () => {
  const before = handles();
  put("web", { clusterIP: "10.43.0.20", ports: [{ name: "http", port: 80, targetPort: 8080 }] }, [
    "remote",
    "web2",
    "web1",
  ]);
  put("headless", { clusterIP: "None", ports: http() }, ["web1"]);
  // A change that does show is behind the ones that must not.
  put("marker", { clusterIP: "10.43.0.29", ports: http() }, []);
  await eventually(() => assert.match(handles(), /10.43.0.29 /));
  const chain = (text: string) => /chain svc\/default\/web\/tcp\/http \{[^}]*\}/.exec(text)?.[0];
  assert.ok(chain(before));
  assert.equal(chain(handles()), chain(before));
  assert.ok(!handles().includes("headless"));
});

test("a table that somebody removed is written again whole", async () => {
  node.nft("delete table ip k3ts");
  put("again", { clusterIP: "10.43.0.30", ports: http() }, ["web2"]);
  await eventually(async () => assert.equal(await web1.tcp("10.43.0.30", 80), "web2 10.42.0.2"));
  assert.equal((await web1.sample(40, "10.43.0.20", 80)).size, 3);
  const line = "Service rules are not what was written last; the whole table is written";
  await eventually(() => assert.deepEqual(logged, [line]));
});

test("a deleted Service leaves nothing behind", async () => {
  for (const name of [
    "web",
    "empty",
    "np",
    "local",
    "inner",
    "sticky",
    "other",
    "lb",
    "udp",
    "kube-dns",
    "marker",
    "again",
  ]) {
    tell({ remove: `default/${name}` });
  }
  await eventually(() => assert.doesNotMatch(handles(), /default/));
  await assert.rejects(web1.tcp("10.43.0.20", 80), { message: "ECONNREFUSED" });
});
