import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { after, test } from "node:test";
import type { FdbEntry, Link, Neighbour, Route } from "../../../../src/agent/host/ip.ts";
import { NetworkNamespace, requireNetworkTools } from "../support/netns.ts";

requireNetworkTools();
const namespace = new NetworkNamespace("ip");
after(() => namespace.remove());
namespace.ip("link add d0 mtu 1450 address 02:00:00:00:00:01 type bridge");
namespace.ip("address add 10.99.0.1/24 dev d0");
namespace.ip("link set d0 up");
namespace.ip("link add x0 type vxlan id 1 local 10.99.0.1 dev d0 dstport 8472 nolearning");
namespace.ip("link set x0 up");

const worker: ChildProcess = namespace.start(new URL("../support/call-worker.ts", import.meta.url));
async function call<T>(name: string, ...args: unknown[]): Promise<T> {
  worker.send({ module: "host/ip.ts", name, args });
  const [{ result, error }] = await once(worker, "message");
  if (error) throw new Error(error);
  return result;
}

test("links come with kind, address and what a vxlan device is made of", async () => {
  const links = await call<Link[]>("listLinks");
  assert.deepEqual(
    links.map((link) => link.name),
    ["lo", "d0", "x0"],
  );
  const dummy = await call<Link>("getLink", "d0");
  assert.equal(dummy.mac, "02:00:00:00:00:01");
  assert.equal(dummy.mtu, 1450);
  assert.equal(dummy.up, true);
  assert.equal(dummy.addresses[0]?.address, "10.99.0.1");
  const { kind, data } = await call<Link>("getLink", "x0");
  assert.equal(kind, "vxlan");
  assert.deepEqual([data["id"], data["port"], data["local"], data["link"]], [1, 8472, "10.99.0.1", "d0"]);
  assert.equal(await call("getLink", "nope"), undefined);
});

test("batches add routes, neighbours and forwarding entries, which are listed again", async () => {
  await call("ipBatch", [
    "route replace unreachable 10.42.0.0/16 proto 107",
    "route replace 10.42.7.0/24 via 10.42.7.0 dev x0 onlink proto 107",
    "neigh replace 10.42.7.0 lladdr 02:00:00:00:00:07 dev x0 nud permanent",
  ]);
  await call("bridgeBatch", ["fdb replace 02:00:00:00:00:07 dev x0 dst 10.99.0.7 self permanent"]);
  assert.deepEqual(await call<Route[]>("listRoutes", 107), [
    { destination: "10.42.0.0/16", type: "unreachable", protocol: 107 },
    { destination: "10.42.7.0/24", type: "unicast", gateway: "10.42.7.0", device: "x0", protocol: 107 },
  ]);
  assert.deepEqual(await call<Neighbour[]>("listNeighbours", "x0"), [
    { address: "10.42.7.0", mac: "02:00:00:00:00:07", permanent: true },
  ]);
  assert.deepEqual(await call<FdbEntry[]>("listFdb", "x0"), [{ mac: "02:00:00:00:00:07", destination: "10.99.0.7" }]);
});

test("a wrong line in a batch is an error that shows it", async () => {
  await assert.rejects(call("ipBatch", ["route add nonsense"]), /run "ip -batch -": exit code 1: .*nonsense/s);
});
