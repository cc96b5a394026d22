import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import type { Endpoint } from "../../../../src/api/generated/discovery-v1.ts";
import { eventually } from "../../../support/eventually.ts";
import { joinByVeth, NetworkNamespace, requireNetworkTools } from "../support/netns.ts";
import { Peer } from "../support/peer.ts";
import type { DnsMessage } from "./dns-node.ts";

requireNetworkTools();

const node = new NetworkNamespace("dns");
const pod = new Peer("dnspod");
const onNode = new Peer("dnsnode", node);
const dns: ChildProcess = node.start(new URL("./dns-node.ts", import.meta.url));
const server = "10.43.0.10";

before(() => {
  joinByVeth(
    { namespace: node, device: "veth0", address: "10.42.0.1/24" },
    { namespace: pod.namespace, device: "eth0", address: "10.42.0.2/24" },
  );
  pod.namespace.ip("route add default via 10.42.0.1");
});
after(async () => {
  await pod.namespace.remove();
  await node.remove();
});

function tell(message: DnsMessage): void {
  dns.send(message);
}

function putWeb(clusterIP: string, endpoints: Endpoint[] = []): void {
  const ports = [{ name: "http", port: 80 }];
  tell({ service: { metadata: { name: "web", namespace: "shop" }, spec: { clusterIP, ports } } });
  const metadata = { name: "web-1", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } };
  tell({ slice: { metadata, addressType: "IPv4", endpoints, ports: [{ name: "http", port: 8080, protocol: "TCP" }] } });
}

test("questions that come before the cluster is known wait for it instead of hearing that nothing exists", async () => {
  tell({ start: true });
  await eventually(() => assert.match(node.ip("address show dev k3ts-dns"), /10.43.0.10\/32/));
  await eventually(() => assert.match(node.exec("cat", ["/proc/net/udp"]), /0A002B0A:0035/, "it listens"));
  // "Not now", which comes before a client gives up, is no answer either: clients ask again.
  const ask = (): Promise<unknown> =>
    pod.dns(server, "web.shop.svc.cluster.local", "A").catch((error: Error) => {
      if (error.message !== "ESERVFAIL") throw error;
      return ask();
    });
  const early = ask();
  putWeb("10.43.0.7");
  tell({
    node: { metadata: { name: "node-1" }, status: { addresses: [{ type: "InternalIP", address: "172.18.0.3" }] } },
  });
  const started = once(dns, "message");
  tell({ open: true });
  assert.deepEqual(await early, ["10.43.0.7"]);
  assert.deepEqual((await started)[0], { started: true });
});

test("pods and the node find Services, nodes and what the node's name servers know", async () => {
  for (const from of [pod, onNode]) {
    assert.deepEqual(await from.dns(server, "web.shop.svc.cluster.local", "A"), ["10.43.0.7"]);
    assert.deepEqual(await from.dns(server, "node-1", "A"), ["172.18.0.3"]);
    assert.deepEqual(await from.dns(server, "www.example.org", "A"), ["192.0.2.80"]);
  }
  assert.deepEqual(await pod.dns(server, "10.43.0.7", "PTR"), ["web.shop.svc.cluster.local"]);
  assert.deepEqual(await pod.dns(server, "_http._tcp.web.shop.svc.cluster.local", "SRV"), [
    { name: "web.shop.svc.cluster.local", port: 80, priority: 0, weight: 100, type: "SRV" },
  ]);
});

test("names that are not there are not found, whoever would know them", async () => {
  await assert.rejects(pod.dns(server, "none.shop.svc.cluster.local", "A"), { message: "ENOTFOUND" });
  await assert.rejects(pod.dns(server, "web.shop.svc.cluster.local", "AAAA"), { message: "ENODATA" });
  await assert.rejects(pod.dns(server, "nobody.example.org", "A"), { message: "ENOTFOUND" });
});

test("a change is seen at once, in spite of kept answers", async () => {
  putWeb("10.43.0.9");
  await eventually(async () =>
    assert.deepEqual(await pod.dns(server, "web.shop.svc.cluster.local", "A"), ["10.43.0.9"]),
  );
});

test("an ExternalName is followed to the end, through the node's name servers", async () => {
  const metadata = { name: "ext", namespace: "shop" };
  tell({ service: { metadata, spec: { type: "ExternalName", externalName: "www.example.org" } } });
  await eventually(async () =>
    assert.deepEqual(await pod.dns(server, "ext.shop.svc.cluster.local", "A"), ["192.0.2.80"]),
  );
  assert.deepEqual(await pod.dns(server, "ext.shop.svc.cluster.local", "CNAME"), ["www.example.org"]);
});

test("a headless Service gives its endpoints in turns, and all of hundreds over TCP", async () => {
  putWeb(
    "None",
    [1, 2, 3].map((i) => ({ addresses: [`10.42.1.${i}`] })),
  );
  const all = ["10.42.1.1", "10.42.1.2", "10.42.1.3"];
  await eventually(async () => {
    assert.deepEqual(((await pod.dns(server, "web.shop.svc.cluster.local", "A")) as string[]).sort(), all);
  });
  const firsts = new Set<string>();
  for (let i = 0; i < 6; i++) firsts.add(((await pod.dns(server, "web.shop.svc.cluster.local", "A")) as string[])[0]!);
  assert.deepEqual([...firsts].sort(), all);

  putWeb(
    "None",
    Array.from({ length: 300 }, (_, i) => ({ addresses: [`10.42.${2 + (i >> 8)}.${i & 255}`] })),
  );
  await eventually(async () => {
    const found = (await pod.dns(server, "web.shop.svc.cluster.local", "A")) as string[];
    assert.equal(new Set(found).size, 300);
  });
});

test("a second server on the same address is refused with its name and address", async () => {
  const second = node.start(new URL("./dns-node.ts", import.meta.url));
  second.send({ open: true } satisfies DnsMessage);
  second.send({ start: true } satisfies DnsMessage);
  const [message] = await once(second, "message", { signal: AbortSignal.timeout(60_000) });
  const failed = 'serve the cluster\'s DNS at "10.43.0.10:53": another program listens there';
  assert.deepEqual(message, { failed });
});
