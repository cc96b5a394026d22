import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, get } from "node:https";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { after, before, describe, it, type TestContext } from "node:test";
import { checkServerIdentity } from "../../../src/agent/bootstrap/server-identity.ts";
import type { Supervisor } from "../../../src/agent/bootstrap/supervisor-client.ts";
import { ClusterServers } from "../../../src/agent/cluster-servers.ts";
import { followApiEndpoints } from "../../../src/agent/proxy/service-informers.ts";
import { type EndpointSlice, endpointSlices } from "../../../src/api/generated/discovery-v1.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { keyOf } from "../../../src/machinery/object.ts";
import { prepareCertificates, type ServerCertificates } from "../../../src/server/certificates.ts";
import { TunnelServer } from "../../../src/tunnel/tunnel-server.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";
import { FakeClient } from "./support/fake-client.ts";

/** Longer than changes of the list are gathered, and than a tunnel waits before it connects again. */
const aWhileMs = 1_000;

const waitMs = 60_000;

function sliceOf(address: string): EndpointSlice {
  const [host = "", port = ""] = address.split(":");
  return {
    metadata: {
      namespace: "default",
      name: `kubernetes-${port}`,
      labels: { "kubernetes.io/service-name": "kubernetes" },
    },
    addressType: "IPv4",
    endpoints: [{ addresses: [host] }],
    ports: [{ name: "https", port: Number(port), protocol: "TCP" }],
  };
}

describe("the servers that an agent lives with", () => {
  let directory: string;
  let certificates: ServerCertificates;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "k3ts-test-"));
    certificates = await prepareCertificates(join(directory, "tls"), ["kubernetes"]);
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  /** A server of the cluster: it answers with its name, and takes tunnels. */
  async function startServer(t: TestContext, name: string, port = 0) {
    const tunnels = new TunnelServer({ logger: silentLogger, clock: new FakeClock() });
    const { certificate: cert, key } = certificates.serving;
    const sockets = new Set<Duplex>();
    const server = createServer({ cert, key }, (_request, response) => response.end(name));
    server.on("connection", (socket) => sockets.add(socket.once("close", () => sockets.delete(socket))));
    server.on("upgrade", (request, socket, head) => tunnels.accept(request, socket, head, "n1"));
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const kill = async () => {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      tunnels.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    };
    t.after(kill);
    /** What the node answers to this server, through the tunnel. */
    const reachNode = async (target: string) => {
      let text = "";
      for await (const chunk of await tunnels.dial("n1", target)) text += chunk;
      return text;
    };
    const hasTunnel = () => tunnels.connected("n1");
    return { name, address, port: Number(address.split(":")[1]), kill, reachNode, hasTunnel };
  }

  async function startNode(
    t: TestContext,
    options: { server: string; told?: string[]; own?: string; directory?: string; loadBalancer?: boolean },
  ) {
    const stop = new AbortController();
    t.after(() => stop.abort(new Error("test over")));
    const clock = new FakeClock();
    const api = new FakeClient();
    const servers = new ClusterServers({
      server: `https://${options.server}`,
      own: options.own,
      loadBalancerPort: options.loadBalancer === false ? undefined : 0,
      directory: options.directory ?? temporaryDirectory(t),
      clock,
      logger: silentLogger,
      signal: stop.signal,
    });
    await servers.start();
    await servers.learn({
      get: async () => {
        if (!options.told) throw new Error("the server answered 404");
        return Buffer.from(JSON.stringify(options.told));
      },
    } as unknown as Supervisor);
    servers.openTunnels({ tls: { ca: certificates.serverCaBundle, checkServerIdentity }, allow: () => true });
    servers.follow(followApiEndpoints({ client: api.client, clock, logger: silentLogger, signal: stop.signal }));

    let listed: string[] = [];
    /** The cluster's Service has these servers now, each in a slice of its own, since their ports differ. */
    const list = async (...addresses: string[]) => {
      for (const address of addresses) api.put<EndpointSlice>(endpointSlices, sliceOf(address));
      for (const address of listed) {
        if (!addresses.includes(address)) api.remove(endpointSlices, keyOf(sliceOf(address)));
      }
      listed = addresses;
      // The informer takes the events in turns of the loop, and the list is taken a while after the last.
      await eventually(async () => {
        for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
        await clock.advance(aWhileMs);
        const known = servers.joinUrls.slice(1).map((url) => url.replace("https://", ""));
        if (listed.length > 0) assert.deepEqual(known, [...listed].sort());
      }, waitMs);
    };
    const ask = () =>
      new Promise<string>((resolve, reject) => {
        const request = get(servers.url, { agent: false, ca: certificates.serverCaBundle, checkServerIdentity });
        request.on("error", reject).on("response", (response) => response.on("data", (data) => resolve(String(data))));
      });
    return { servers, clock, list, ask, stop };
  }

  /** What listens on the node: "hello". */
  async function kubelet(t: TestContext): Promise<string> {
    const server = createTcpServer((socket) => socket.end("hello"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it("are one where the node knows no more than the server that it joins", async (t) => {
    const a = await startServer(t, "a");
    const { ask } = await startNode(t, { server: a.address });
    assert.equal(await ask(), "a");
    const target = await kubelet(t);
    assert.equal(await a.reachNode(target), "hello");
  });

  it("are all that the server tells: each reaches the node through a tunnel of its own", async (t) => {
    const all = [await startServer(t, "a"), await startServer(t, "b"), await startServer(t, "c")];
    const { ask } = await startNode(t, { server: all[0]!.address, told: all.map(({ address }) => address) });
    const target = await kubelet(t);
    for (const server of all) assert.equal(await server.reachNode(target), "hello", server.name);
    const first = await ask();
    for (let round = 0; round < 3; round++) assert.equal(await ask(), first, "it stays with one");
  });

  it("follow the Service of the cluster: one that comes gets a tunnel, one that leaves loses it", async (t) => {
    const [a, b] = [await startServer(t, "a"), await startServer(t, "b")];
    const { ask, list } = await startNode(t, { server: a.address, told: [a.address] });
    const target = await kubelet(t);
    assert.equal(await a.reachNode(target), "hello");
    assert.equal(await ask(), "a");
    await list(a.address, b.address);
    assert.equal(await b.reachNode(target), "hello");
    assert.equal(await ask(), "a");
    await list(b.address);
    await eventually(() => assert.equal(a.hasTunnel(), false), waitMs);
    assert.ok(b.hasTunnel());
    await eventually(async () => assert.equal(await ask(), "b"), waitMs);
  });

  it("stay as they are when the list becomes empty, or is no list", async (t) => {
    const a = await startServer(t, "a");
    const { ask, list, servers } = await startNode(t, { server: a.address, told: [a.address] });
    await list(a.address);
    await list();
    await servers.learn({ get: async () => Buffer.from("{}") } as unknown as Supervisor);
    await servers.learn({ get: async () => Buffer.from("[]") } as unknown as Supervisor);
    assert.equal(await a.reachNode(await kubelet(t)), "hello");
    assert.equal(await ask(), "a");
    assert.deepEqual(servers.joinUrls, [`https://${a.address}`, `https://${a.address}`]);
  });

  it("stand in for one that dies, which gets its tunnel again when it is back", async (t) => {
    const [a, b] = [await startServer(t, "a"), await startServer(t, "b")];
    const { ask, clock } = await startNode(t, { server: a.address, told: [a.address, b.address] });
    const target = await kubelet(t);
    assert.equal(await a.reachNode(target), "hello");
    assert.equal(await b.reachNode(target), "hello");
    const first = (await ask()) === "a" ? a : b;
    const other = first === a ? b : a;
    await first.kill();
    assert.equal(await ask(), other.name);
    const back = await startServer(t, "back", first.port);
    await eventually(async () => {
      await clock.advance(aWhileMs);
      assert.ok(back.hasTunnel());
    }, waitMs);
    assert.equal(await back.reachNode(target), "hello");
    assert.equal(await ask(), other.name, "it stays with the one that works");
  });

  it("are remembered: the node starts again when the one that it joined by is gone", async (t) => {
    const directory = temporaryDirectory(t);
    const [a, b] = [await startServer(t, "a"), await startServer(t, "b")];
    const before = await startNode(t, { server: a.address, told: [b.address], directory });
    const file = join(directory, "etc", "k3s-agent-load-balancer.json");
    await eventually(() => assert.ok(existsSync(file)), waitMs);
    before.stop.abort(new Error("the node stops"));
    await a.kill();
    const again = await startNode(t, { server: a.address, directory });
    assert.deepEqual(again.servers.joinUrls, [`https://${a.address}`, `https://${b.address}`]);
    assert.equal(await again.ask(), "b");
    assert.equal(await b.reachNode(await kubelet(t)), "hello");
  });

  it("are, for a server's own node, that server without a detour, and the others", async (t) => {
    const [own, other] = [await startServer(t, "own"), await startServer(t, "other")];
    const advertised = "192.0.2.1:6443";
    const { ask, list, servers } = await startNode(t, { server: own.address, own: advertised, loadBalancer: false });
    assert.equal(servers.url, `https://${own.address}`);
    const target = await kubelet(t);
    assert.equal(await own.reachNode(target), "hello");
    await list(advertised, other.address);
    assert.equal(await other.reachNode(target), "hello");
    assert.ok(own.hasTunnel());
    assert.equal(await ask(), "own");
  });
});
