import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import { startLoadBalancer } from "../../../../src/agent/load-balancer/load-balancer.ts";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { eventually } from "../../../support/eventually.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

/** A server that says its name, then what it hears, and "bye" after the client's end. */
async function namedServer(t: TestContext, name: string, port = 0) {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    socket.write(`${name} `);
    socket.on("data", (data) => socket.write(data));
    socket.on("end", () => socket.end(" bye"));
  });
  await listen(server, port);
  const address = addressOf(server);
  const stop = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  t.after(stop);
  return { address, sockets, stop };
}

async function listen(server: Server, port = 0): Promise<void> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
}

const addressOf = (server: Server) => `127.0.0.1:${(server.address() as AddressInfo).port}`;

/** An address where nothing listens. */
async function deadAddress(): Promise<string> {
  const server = createServer();
  await listen(server);
  const address = addressOf(server);
  server.close();
  await once(server, "close");
  return address;
}

/** An address that leaves connections unanswered, as a machine does that is gone: nobody empties its full backlog. */
async function silentAddress(t: TestContext): Promise<string> {
  const listener = new Worker(
    `const { createServer } = require("node:net");
     const { parentPort } = require("node:worker_threads");
     const server = createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  t.after(() => listener.terminate());
  const [port] = (await once(listener, "message")) as [number];
  for (let room = 0; room < 2; room++) {
    const socket = connect({ port, host: "127.0.0.1" });
    t.after(() => socket.destroy());
    socket.on("error", () => {});
    await once(socket, "connect");
  }
  return `127.0.0.1:${port}`;
}

async function startBalancer(t: TestContext, fallback: string, addresses: readonly string[] = []) {
  const stop = new AbortController();
  const lines: string[] = [];
  const logger = { ...silentLogger, info: (line: unknown) => void lines.push(String(line)) };
  const clock = new FakeClock();
  let place = 0;
  const balancer = await startLoadBalancer({
    port: 0,
    fallback,
    addresses,
    clock,
    logger,
    random: () => (place += 0.001),
    signal: stop.signal,
  });
  const port = Number(new URL(balancer.url).port);
  t.after(() => stop.abort(new Error("test over")));
  /** A client, with the name of the server that it reached. */
  const open = async () => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    t.after(() => socket.destroy());
    socket.on("error", () => {});
    const ended = new Promise((resolve) => socket.once("end", resolve).once("close", resolve));
    const [data] = await once(socket, "data");
    return { socket, name: String(data).trim(), ended };
  };
  const reached = async () => {
    const { socket, name } = await open();
    socket.destroy();
    return name;
  };
  return { balancer, clock, lines, open, port, reached, stop };
}

async function readAll(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text;
}

describe("the agent's load balancer", () => {
  it("says where it listens and where it leads, in K3s' words, and again when that changes", async (t) => {
    const { balancer, lines, port } = await startBalancer(t, "server:6443", ["10.0.0.1:6443"]);
    balancer.update(["10.0.0.1:6443", "10.0.0.2:6443"]);
    balancer.update([]);
    balancer.update(["10.0.0.2:6443", "10.0.0.1:6443"]);
    assert.deepEqual(lines, [
      `Running load balancer k3s-agent-load-balancer 127.0.0.1:${port} -> [10.0.0.1:6443] [default: server:6443]`,
      "Updated load balancer k3s-agent-load-balancer server addresses -> [10.0.0.1:6443 10.0.0.2:6443] [default: server:6443]",
    ]);
  });

  it("names the flag and the remedy where its port is taken", async (t) => {
    const { port } = await startBalancer(t, "server:6443");
    const clock = new FakeClock();
    const options = { port, fallback: "a:1", addresses: [], clock, logger: silentLogger, random: Math.random };
    await assert.rejects(startLoadBalancer({ ...options, signal: new AbortController().signal }), (error: unknown) => {
      assert.ok(error instanceof ConfigurationError);
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port} \\(EADDRINUSE\\).*--lb-server-port`));
      return true;
    });
  });

  it("passes bytes both ways, and the end of each direction on its own", async (t) => {
    const server = await namedServer(t, "a");
    const { open } = await startBalancer(t, server.address);
    const { socket } = await open();
    socket.end("x".repeat(500_000));
    const text = await readAll(socket);
    assert.equal(text, `${"x".repeat(500_000)} bye`);
    await eventually(() => assert.equal(server.sockets.size, 0));
  });

  it("holds up a sender whose receiver does not read", async (t) => {
    let sent = 0;
    const source = createServer((socket) => {
      socket.on("error", () => {});
      const chunk = Buffer.alloc(64 * 1024);
      const push = () => {
        while (sent < 200_000_000) {
          sent += chunk.length;
          if (!socket.write(chunk)) return void socket.once("drain", push);
        }
      };
      push();
    });
    await listen(source);
    t.after(() => source.close());
    const { port } = await startBalancer(t, addressOf(source));
    const client = connect({ port, host: "127.0.0.1" });
    t.after(() => client.destroy());
    await eventually(() => assert.ok(sent > 0));
    let before = 0;
    await eventually(async () => {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(sent, before, "the sender still sends");
    }, 60_000);
    assert.ok(sent < 60_000_000, `the sender was not held up: ${sent} bytes`);
  });

  it("stays with a server while that works", async (t) => {
    const [a, b] = [await namedServer(t, "a"), await namedServer(t, "b")];
    const { reached } = await startBalancer(t, a.address, [a.address, b.address]);
    for (let round = 0; round < 5; round++) assert.equal(await reached(), "a");
  });

  it("goes to another server when one dies, and its clients notice", async (t) => {
    const [a, b] = [await namedServer(t, "a"), await namedServer(t, "b")];
    const { open, reached } = await startBalancer(t, a.address, [a.address, b.address]);
    const client = await open();
    await a.stop();
    await client.ended;
    assert.equal(await reached(), "b");
    await namedServer(t, "a again", Number(a.address.split(":")[1]));
    assert.equal(await reached(), "b", "it stays with the one that works");
  });

  it("ends connections of a server whose tunnel fell when another's stands", async (t) => {
    const [a, b] = [await namedServer(t, "a"), await namedServer(t, "b")];
    const { balancer, open, reached } = await startBalancer(t, a.address, [a.address, b.address]);
    const client = await open();
    assert.equal(client.name, "a");
    balancer.report(b.address, true);
    balancer.report(a.address, false);
    await client.ended;
    assert.equal(await reached(), "b");
  });

  it("ends connections of a server that leaves the list, and goes to those that come", async (t) => {
    const [a, b] = [await namedServer(t, "a"), await namedServer(t, "b")];
    const { balancer, open, reached } = await startBalancer(t, await deadAddress(), [a.address]);
    const client = await open();
    balancer.update([b.address]);
    await client.ended;
    assert.equal(await reached(), "b");
  });

  it("falls back to the server of --server, and leaves it when one of the list works again", async (t) => {
    const dead = await deadAddress();
    const fallback = await namedServer(t, "fallback");
    const { balancer, open, reached } = await startBalancer(t, fallback.address, [dead]);
    const client = await open();
    assert.equal(client.name, "fallback");
    await namedServer(t, "listed", Number(dead.split(":")[1]));
    balancer.report(dead, true);
    await client.ended;
    assert.equal(await reached(), "listed");
  });

  it("refuses at once when all servers are dead, and works when one is back", async (t) => {
    const [first, second] = [await deadAddress(), await deadAddress()];
    const { clock, port, reached } = await startBalancer(t, first, [first, second]);
    const client = connect({ port, host: "127.0.0.1" });
    client.on("error", () => {});
    await new Promise((resolve) => client.once("close", resolve));
    assert.equal(clock.pending, 0, "no timer is left");
    await namedServer(t, "back", Number(second.split(":")[1]));
    assert.equal(await reached(), "back");
  });

  it("tries the next server beside one that does not answer", async (t) => {
    const silent = await silentAddress(t);
    const b = await namedServer(t, "b");
    const { clock, open } = await startBalancer(t, b.address, [silent, b.address]);
    const opening = open();
    await eventually(() => assert.ok(clock.pending > 0));
    await clock.advance(500);
    assert.equal((await opening).name, "b");
    assert.equal(clock.pending, 0, "the slow dial is given up");
  });

  it("ends its connections and closes its port when the agent stops", async (t) => {
    const a = await namedServer(t, "a");
    const { open, port, stop } = await startBalancer(t, a.address);
    const client = await open();
    stop.abort(new Error("the agent stops"));
    await client.ended;
    await eventually(() => assert.equal(a.sockets.size, 0));
    const late = connect({ port, host: "127.0.0.1" });
    await assert.rejects(once(late, "connect"), { code: "ECONNREFUSED" });
  });
});
