import assert from "node:assert/strict";
import { after, test } from "node:test";
import { renderMasquerade } from "../../../../src/agent/network/masquerade.ts";
import { joinByVeth, NetworkNamespace, requireNetworkTools } from "../support/netns.ts";

requireNetworkTools();
const node = new NetworkNamespace("lonode");
const neighbour = new NetworkNamespace("loother");
after(async () => {
  await node.remove();
  await neighbour.remove();
});

test("a neighbour cannot use a node's loopback addresses, though the kernel would route them", () => {
  joinByVeth(
    { namespace: node, device: "eth0", address: "192.168.77.1/24" },
    { namespace: neighbour, device: "eth0", address: "192.168.77.2/24" },
  );
  for (const namespace of [node, neighbour]) namespace.sysctl("net/ipv4/conf/all/route_localnet", "1");
  // The neighbour takes 127.0.0.9 for an address of the node.
  neighbour.ip("route del local 127.0.0.0/8 dev lo table local");
  neighbour.ip("route add 127.0.0.9/32 via 192.168.77.1 dev eth0");
  const reach = (seconds: number) =>
    neighbour.exec("ping", ["-c", "1", "-W", `${seconds}`, "-I", "192.168.77.2", "127.0.0.9"]);

  node.nft(renderMasquerade({ clusterCidr: "10.42.0.0/16", podCidr: "10.42.0.0/24" }));
  assert.throws(() => reach(1), /100% packet loss/);
  assert.match(node.exec("ping", ["-c", "1", "-W", "30", "127.0.0.9"]), / 0% packet loss/);
  node.nft("flush chain ip k3ts-network loopback");
  assert.match(reach(30), / 0% packet loss/, "it was the rule that kept the neighbour out");
});
