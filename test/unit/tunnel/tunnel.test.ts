import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer, type Server } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type TestContext, test } from "node:test";
import { silentLogger } from "../../../src/machinery/log.ts";
import { StatusError } from "../../../src/machinery/status.ts";
import { connectTunnel, reconnectDelayMs } from "../../../src/tunnel/tunnel-client.ts";
import { arrivalLimitMs, TunnelServer } from "../../../src/tunnel/tunnel-server.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeClock } from "../../support/fake-clock.ts";

async function listen(server: Server | ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** A tunnel server on loopback, with its clock, and one agent "n1" connected to it, with its own. */
async function makeTunnel(t: TestContext, options: { allow?: (target: string) => boolean } = {}) {
  const serverClock = new FakeClock();
  const tunnels = new TunnelServer({ logger: silentLogger, clock: serverClock });
  const sockets = new Set<Duplex>();
  const http = createHttpServer();
  http.on("upgrade", (request, socket, head) => {
    sockets.add(socket);
    tunnels.accept(request, socket, head, "n1");
  });
  const port = await listen(http);
  const stop = new AbortController();
  const clock = new FakeClock();
  const states: string[] = [];
  const waiters: (() => void)[] = [];
  const done = connectTunnel({
    url: `ws://127.0.0.1:${port}/v1-k3s/connect`,
    tls: {},
    allow: options.allow ?? (() => true),
    logger: silentLogger,
    clock,
    onState: (state) => {
      states.push(state);
      for (const wake of waiters.splice(0)) wake();
    },
    signal: stop.signal,
  });
  const reach = async (state: string, count = 1) => {
    while (states.filter((seen) => seen === state).length < count)
      await new Promise<void>((wake) => waiters.push(wake));
    while (state === "connected" && !tunnels.connected("n1")) await new Promise((wake) => setImmediate(wake));
  };
  t.after(async () => {
    stop.abort(new Error("test over"));
    await done;
    tunnels.close();
    http.close();
    for (const socket of sockets) socket.destroy();
  });
  await reach("connected");
  return { tunnels, sockets, clock, serverClock, states, reach, stop, port };
}

async function echoServer(t: TestContext): Promise<{ target: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  const port = await listen(server);
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { target: `127.0.0.1:${port}`, sockets };
}

/** Resolves when a socket is closed, be it with an error. */
const closing = (socket: Duplex) => new Promise<void>((resolve) => socket.once("close", () => resolve()));

async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

test("bytes go both ways and an end of one direction leaves the other open", async (t) => {
  const { tunnels } = await makeTunnel(t);
  const server = createServer({ allowHalfOpen: true }, async (socket) => {
    const heard = await readAll(socket);
    socket.end(`after your end: ${heard.length}`);
  });
  const port = await listen(server);
  t.after(() => server.close());
  const stream = await tunnels.dial("n1", `127.0.0.1:${port}`);
  stream.end(Buffer.alloc(3_000_000, 1));
  assert.equal((await readAll(stream)).toString(), "after your end: 3000000");
});

test("a hundred streams carry their own bytes in parallel", async (t) => {
  const { tunnels } = await makeTunnel(t);
  const { target } = await echoServer(t);
  await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const stream = await tunnels.dial("n1", target);
      const sent = Buffer.alloc(50_000, n);
      stream.end(sent);
      assert.deepEqual(await readAll(stream), sent);
    }),
  );
});

test("a stream that nobody reads holds up its sender and no other stream", async (t) => {
  const { tunnels } = await makeTunnel(t);
  let sent = 0;
  const server = createServer((socket) => {
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
  const port = await listen(server);
  t.after(() => server.close());
  const stalled = await tunnels.dial("n1", `127.0.0.1:${port}`);
  const { target } = await echoServer(t);
  const lively = await tunnels.dial("n1", target);
  const bytes = Buffer.alloc(5_000_000, 7);
  lively.end(bytes);
  assert.equal((await readAll(lively)).length, bytes.length);
  assert.ok(sent < 60_000_000, `the sender was not held up: ${sent} bytes`);
  stalled.destroy();
});

test("destroying a stream closes the connection behind the agent", async (t) => {
  const { tunnels } = await makeTunnel(t);
  const { target, sockets } = await echoServer(t);
  const stream = await tunnels.dial("n1", target);
  stream.write("x");
  await once(stream, "data");
  const closed = closing(sockets[0]!);
  stream.destroy();
  await closed;
});

test("a connection that is reset behind the agent ends the stream", async (t) => {
  const { tunnels } = await makeTunnel(t);
  const { target, sockets } = await echoServer(t);
  const stream = await tunnels.dial("n1", target);
  stream.on("error", () => {});
  stream.write("x");
  await once(stream, "data");
  const closed = closing(stream);
  sockets[0]!.resetAndDestroy();
  await closed;
});

test("dialling says why it failed: refused connection, target not allowed", async (t) => {
  const { tunnels } = await makeTunnel(t, { allow: (target) => !target.startsWith("10.") });
  const rejects = (node: string, target: string, code: number, text: RegExp) =>
    assert.rejects(tunnels.dial(node, target), (error: unknown) => {
      assert.ok(error instanceof StatusError);
      assert.equal(error.code, code);
      assert.match(error.message, text);
      return true;
    });
  // Of the ports that no system gives away: nobody listens there.
  await rejects("n1", "127.0.0.1:1", 502, /error dialing backend: dial tcp .*: connect: connection refused/);
  await rejects("n1", "10.1.2.3:80", 502, /connect to 10\.1\.2\.3:80 not allowed/);
  await rejects("n1", "nonsense", 502, /invalid target "nonsense"/);
});

test("an aborted dial rejects with the signal's reason", async (t) => {
  const { tunnels } = await makeTunnel(t);
  const { target } = await echoServer(t);
  const abort = new AbortController();
  const dialled = tunnels.dial("n1", target, abort.signal);
  abort.abort(new Error("not wanted any more"));
  await assert.rejects(dialled, /not wanted any more/);
});

test("a cut tunnel is connected again after a pause, and open streams end", async (t) => {
  const { tunnels, sockets, clock, states, reach } = await makeTunnel(t);
  const { target } = await echoServer(t);
  const stream = await tunnels.dial("n1", target);
  stream.on("error", () => {});
  const closed = closing(stream);
  for (const socket of sockets) socket.destroy();
  await closed;
  await reach("disconnected");
  assert.deepEqual(states, ["connecting", "connected", "disconnected"]);
  await clock.advance(reconnectDelayMs);
  await reach("connected", 2);
  const again = await tunnels.dial("n1", target);
  again.end("hello");
  assert.equal((await readAll(again)).toString(), "hello");
});

/** One more tunnel of "n1", as from an agent that started again, or that knows the server by another address. */
async function secondTunnel(t: TestContext, port: number, allow: (target: string) => boolean) {
  const stop = new AbortController();
  const connected = Promise.withResolvers<void>();
  const done = connectTunnel({
    url: `ws://127.0.0.1:${port}/v1-k3s/connect`,
    tls: {},
    allow,
    logger: silentLogger,
    clock: new FakeClock(),
    onState: (state) => state === "connected" && connected.resolve(),
    signal: stop.signal,
  });
  const end = async () => {
    stop.abort(new Error("ended"));
    await done;
  };
  t.after(end);
  await connected.promise;
  return { end };
}

test("of two tunnels of a node the newer is used, and the older when that ends", async (t) => {
  const { tunnels, sockets, port, states } = await makeTunnel(t);
  const { target } = await echoServer(t);
  const isRefused = () =>
    tunnels.dial("n1", target).then(throwAway, (error: Error) => /not allowed/.test(error.message));
  const throwAway = (stream: Duplex) => {
    stream.destroy();
    return false;
  };
  const newer = await secondTunnel(t, port, () => false);
  await eventually(async () => assert.equal(await isRefused(), true));
  assert.deepEqual(tunnels.nodes(), ["n1"]);
  await newer.end();
  await eventually(async () => assert.equal(await isRefused(), false));
  assert.deepEqual(states, ["connecting", "connected"], "the older tunnel was never cut");
  assert.equal(sockets.size, 2);
});

test("a dial to a node without a tunnel waits for it, and goes through it", async (t) => {
  const { tunnels, sockets, clock, reach } = await makeTunnel(t);
  const { target } = await echoServer(t);
  for (const socket of sockets) socket.destroy();
  await reach("disconnected");
  while (tunnels.connected("n1")) await new Promise((wake) => setImmediate(wake));
  const dialled = [tunnels.dial("n1", target), tunnels.dial("n1", target)];
  await clock.advance(reconnectDelayMs);
  for (const stream of await Promise.all(dialled)) {
    stream.end("hello");
    assert.equal((await readAll(stream)).toString(), "hello");
  }
});

test("a dial to a node that makes no tunnel fails after a while, or when it is given up", async (t) => {
  const { tunnels, serverClock } = await makeTunnel(t);
  const dialled = tunnels.dial("n2", "127.0.0.1:10250");
  const rejected = assert.rejects(dialled, (error: unknown) => {
    assert.ok(error instanceof StatusError);
    assert.equal(error.code, 503);
    assert.match(error.message, /error dialing backend: failed to find Session for client n2/);
    return true;
  });
  const abort = new AbortController();
  const abandoned = assert.rejects(tunnels.dial("n2", "127.0.0.1:10250", abort.signal), /not wanted any more/);
  const before = serverClock.pending;
  abort.abort(new Error("not wanted any more"));
  await abandoned;
  assert.equal(serverClock.pending, before - 1, "who gave up leaves no timer");
  await serverClock.advance(arrivalLimitMs);
  await rejected;
});

test("a server that stops lets nobody wait for a tunnel", async (t) => {
  const { tunnels } = await makeTunnel(t);
  const waiting = assert.rejects(tunnels.dial("n2", "127.0.0.1:10250"), /failed to find Session for client n2/);
  tunnels.close();
  await waiting;
  await assert.rejects(tunnels.dial("n1", "127.0.0.1:10250"), /failed to find Session for client n1/);
});

test("a server that falls silent is noticed and dialled again", async () => {
  // A server that completes the WebSocket handshake and then never answers a ping.
  const { createHash } = await import("node:crypto");
  const sockets = new Set<Duplex>();
  const http = createHttpServer();
  http.on("upgrade", (request, socket) => {
    sockets.add(socket);
    const accept = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.resume();
  });
  const port = await listen(http);
  const clock = new FakeClock();
  const stop = new AbortController();
  const connected = Promise.withResolvers<void>();
  const cut = Promise.withResolvers<void>();
  const done = connectTunnel({
    url: `ws://127.0.0.1:${port}/`,
    tls: {},
    allow: () => true,
    logger: silentLogger,
    clock,
    onState: (state) => (state === "connected" ? connected.resolve() : state === "disconnected" ? cut.resolve() : {}),
    signal: stop.signal,
  });
  await connected.promise;
  await clock.advance(70_000);
  await cut.promise;
  stop.abort();
  await done;
  http.close();
  for (const socket of sockets) socket.destroy();
});

test("stopping the agent closes its tunnel", async (t) => {
  const { tunnels, stop, sockets } = await makeTunnel(t);
  const closed = Promise.all([...sockets].map(closing));
  stop.abort(new Error("stop"));
  await closed;
  while (tunnels.connected("n1")) await new Promise((wake) => setImmediate(wake));
  assert.equal(tunnels.connected("n1"), false);
});
