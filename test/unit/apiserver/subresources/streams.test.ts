import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttpServer, request as httpRequest, type IncomingMessage } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { Duplex, type Writable } from "node:stream";
import { type TestContext, test } from "node:test";
import type { TLSSocket } from "node:tls";
import { gzipSync } from "node:zlib";
import * as ws from "ws";
import { nodes, type Pod, pods } from "../../../../src/api/generated/core-v1.ts";
import type { RequestInfo, ServerContext, StreamSubresource } from "../../../../src/apiserver/request.ts";
import { streamSubresources } from "../../../../src/apiserver/subresources/stream-subresources.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { SpdySession, type SpdyStream } from "../../../../src/machinery/spdy.ts";
import { StatusError } from "../../../../src/machinery/status.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { makeCertificate } from "../certificates.ts";
import { MemoryClient } from "../memory-client.ts";

const { WebSocket } = ws;
/** The framing of ws, which its types leave out. */
const { Receiver, Sender } = ws as unknown as {
  Receiver: new (options: { isServer: boolean }) => Writable;
  Sender: new (socket: Duplex) => { send(data: Buffer, options: object, done: () => void): void };
};

const authority = await makeCertificate({ subject: "CN=ca" });
const serving = await makeCertificate({ subject: "CN=n1", issuer: authority, dnsNames: ["n1"], usage: "server" });
const own = await makeCertificate({ subject: "CN=system:apiserver", issuer: authority, usage: "client" });

interface Kubelet {
  handle?(request: IncomingMessage, response: import("node:http").ServerResponse): void;
  upgrade?(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** An API server's door that runs one subresource, in front of a kubelet behind TLS. */
async function start(t: TestContext, name: string, kubelet: Kubelet, podSpec?: Partial<NonNullable<Pod["spec"]>>) {
  const sockets = new Set<Duplex>();
  const https = createHttpsServer({
    cert: serving.certificate,
    key: serving.key,
    ca: authority.certificate,
    requestCert: true,
    rejectUnauthorized: true,
  });
  https.on("connection", (socket: Duplex) => sockets.add(socket));
  https.on("request", (request, response) => kubelet.handle?.(request, response));
  https.on("upgrade", (request, socket, head) => kubelet.upgrade?.(request, socket, head));
  https.listen(0, "127.0.0.1");
  await once(https, "listening");
  const kubeletPort = (https.address() as AddressInfo).port;

  const client = new MemoryClient();
  client.put(nodes, {
    metadata: { name: "n1" },
    status: { daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } } },
  });
  const spec = { nodeName: "n1", containers: [{ name: "c", ports: [{ containerPort: kubeletPort }] }], ...podSpec };
  client.put(pods, { metadata: { name: "p", namespace: "a" }, spec, status: { podIP: "127.0.0.1" } });
  const clock = new FakeClock();
  const dialled: string[] = [];
  const context: ServerContext = {
    client,
    clusterClock: clock,
    ioClock: clock,
    logger: silentLogger,
    authorize: async (attributes) => ({ allowed: attributes.user.name !== "reader", reason: "" }),
    dialNode: async (node, target) => {
      dialled.push(`${node} ${target}`);
      if (node === "n3") throw new StatusError(503, "ServiceUnavailable", "no tunnel");
      const socket = connect(Number(target.split(":").at(-1)), "127.0.0.1");
      sockets.add(socket);
      return socket;
    },
    rewrite: () => Promise.reject(new Error("not used here")),
  };
  const credentials = { ca: authority.certificate, cert: own.certificate, key: own.key };
  const run = streamSubresources(credentials)[name] as StreamSubresource;
  const [, resource, subresource] = name.split("/") as [string, string, string];

  const http = createHttpServer();
  http.on("connection", (socket) => sockets.add(socket));
  const call = async (
    request: IncomingMessage,
    rest: Partial<Parameters<StreamSubresource>[1]>,
    fail: (error: StatusError) => void,
  ) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    const info: RequestInfo = {
      isResource: true,
      path: url.pathname,
      verb: request.method === "POST" ? "create" : "get",
      group: "",
      version: "v1",
      namespace: "a",
      resource,
      subresource,
      name: url.searchParams.get("test-name") ?? "p",
    };
    const user = { name: request.headers["x-test-user"] === "reader" ? "reader" : "jane", groups: [] };
    const stop = new AbortController();
    try {
      const method = request.method ?? "GET";
      await run(context, {
        info,
        user,
        url,
        method,
        headers: request.headers,
        incoming: request,
        signal: stop.signal,
        ...rest,
      });
    } catch (error) {
      fail(error as StatusError);
    }
  };
  http.on("request", (request, response) => {
    void call(request, { response }, (error) => {
      response.writeHead(error.code ?? 500, { "content-type": "application/json" });
      response.end(JSON.stringify({ message: error.message }));
    });
  });
  http.on("upgrade", (request, socket, head) => {
    sockets.add(socket);
    void call(request, { upgrade: { socket, head } }, (error) => {
      const body = JSON.stringify({ message: error.message });
      socket.end(
        `HTTP/1.1 ${error.code ?? 500} x\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
    });
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  t.after(() => {
    http.close();
    https.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (http.address() as AddressInfo).port, client, dialled, kubeletPort };
}

/** The far end of exec: collects the streams that a client opens, then lets the test play the container. */
function spdyEnd(
  count: number,
  play: (streams: Record<string, SpdyStream>, request: IncomingMessage) => void | Promise<void>,
) {
  return (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const protocol = String(request.headers["x-stream-protocol-version"]).split(",")[0];
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
    );
    const session = new SpdySession(socket, { role: "server", head });
    const streams: Record<string, SpdyStream> = {};
    session.on("stream", (stream) => {
      stream.on("error", () => {});
      stream.reply({});
      streams[stream.headers["streamtype"] ?? ""] = stream;
      if (Object.keys(streams).length === count) void play(streams, request);
    });
  };
}

/** Messages of a channel WebSocket, by channel. */
async function collect(socket: ws.WebSocket) {
  const byChannel: Record<number, Buffer[]> = {};
  socket.on("message", (data: Buffer) => {
    const list = byChannel[data[0]!] ?? [];
    byChannel[data[0]!] = list;
    list.push(data.subarray(1));
  });
  const [code] = await once(socket, "close");
  const text = (channel: number) => Buffer.concat(byChannel[channel] ?? []).toString();
  return { code, text };
}

async function get(port: number, path: string, headers: Record<string, string> = {}) {
  const request = httpRequest({ host: "127.0.0.1", port, path, headers });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() };
}

const success = JSON.stringify({ metadata: {}, status: "Success" });

test("exec over a v5 WebSocket carries stdin, its end, stdout, stderr and the exit status", async (t) => {
  let path = "";
  const { port, dialled, kubeletPort } = await start(t, "/pods/exec", {
    upgrade: spdyEnd(4, async ({ stdin, stdout, stderr, error }, request) => {
      path = request.url ?? "";
      const heard: Buffer[] = [];
      for await (const chunk of stdin!) heard.push(chunk as Buffer);
      stdout!.end(Buffer.concat(heard));
      stderr!.end("oops");
      error!.end(success);
    }),
  });
  const query = "command=cat&command=-&stdin=true&stdout=true&stderr=true";
  const socket = new WebSocket(`ws://127.0.0.1:${port}/exec?${query}`, ["v5.channel.k8s.io", "v4.channel.k8s.io"]);
  const done = collect(socket);
  await once(socket, "open");
  assert.equal(socket.protocol, "v5.channel.k8s.io");
  const big = Buffer.alloc(300_000, "x");
  socket.send(Buffer.concat([Buffer.from([0]), big]));
  socket.send(Buffer.from([255, 0]));
  const { code, text } = await done;
  assert.equal(code, 1000);
  assert.equal(text(1).length, big.length);
  assert.equal(text(2), "oops");
  assert.deepEqual(JSON.parse(text(3)), { metadata: {}, status: "Success" });
  assert.equal(path, "/exec/a/p/c?input=1&output=1&error=1&command=cat&command=-");
  assert.deepEqual(dialled, [`n1 127.0.0.1:${kubeletPort}`]);
});

test("a terminal has a resize channel and no stderr, and its failure status comes as it was said", async (t) => {
  const failure = {
    status: "Failure",
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: "3" }] },
  };
  const { port } = await start(t, "/pods/exec", {
    upgrade: spdyEnd(4, ({ stdout, resize, error, stderr }) => {
      assert.equal(stderr, undefined);
      resize!.once("data", (chunk: Buffer) => {
        stdout!.end(chunk);
        error!.end(JSON.stringify(failure));
      });
    }),
  });
  const socket = new WebSocket(`ws://127.0.0.1:${port}/exec?command=sh&stdin=true&stdout=true&stderr=true&tty=true`, [
    "v4.channel.k8s.io",
  ]);
  const done = collect(socket);
  await once(socket, "open");
  socket.send(Buffer.from(`\u0004{"Width":80,"Height":24}`));
  const { text } = await done;
  assert.equal(text(1), '{"Width":80,"Height":24}');
  assert.deepEqual(JSON.parse(text(3)), failure);
});

test("clients of the older sub-protocols are understood: base64, failures in words, successes in silence", async (t) => {
  const { port } = await start(t, "/pods/exec", {
    upgrade: spdyEnd(3, async ({ stdin, stdout, error }) => {
      const [chunk] = (await once(stdin!, "data")) as [Buffer];
      stdout!.end(chunk);
      error!.end(chunk.toString() === "good" ? success : JSON.stringify({ status: "Failure", message: "it failed" }));
    }),
  });
  const talk = async (protocol: string | undefined, message: string | Buffer) => {
    const path = `ws://127.0.0.1:${port}/exec?command=sh&stdin=true&stdout=true`;
    const socket = protocol === undefined ? new WebSocket(path) : new WebSocket(path, [protocol]);
    const messages: (string | Buffer)[] = [];
    socket.on("message", (data, isBinary) => messages.push(isBinary ? (data as Buffer) : String(data)));
    await once(socket, "open");
    socket.send(message);
    await once(socket, "close");
    return messages.filter((one) => one.length > 1).map(String);
  };
  assert.deepEqual(await talk("channel.k8s.io", Buffer.from("\u0000good")), ["\u0001good"]);
  assert.deepEqual(await talk(undefined, Buffer.from("\u0000bad")), ["\u0001bad", "\u0003it failed"]);
  const inBase64 = (text: string) => Buffer.from(text).toString("base64");
  assert.deepEqual(await talk("base64.channel.k8s.io", `0${inBase64("bad")}`), [
    `1${inBase64("bad")}`,
    `3${inBase64("it failed")}`,
  ]);
  assert.deepEqual(await talk("v4.base64.channel.k8s.io", `0${inBase64("good")}`), [
    `1${inBase64("good")}`,
    `3${inBase64(success)}`,
  ]);
});

test("logs come over a WebSocket, too, as they are or in base64", async (t) => {
  const { port } = await start(t, "/pods/log", { handle: (_request, response) => void response.end("hello\n") });
  for (const [protocol, wanted] of [
    ["binary.k8s.io", "hello\n"],
    ["base64.binary.k8s.io", Buffer.from("hello\n").toString("base64")],
  ] as const) {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/log`, [protocol]);
    const [message] = await once(socket, "message");
    assert.equal(String(message), wanted);
    const [code] = await once(socket, "close");
    assert.equal(code, 1000);
  }
});

test("a client that goes away cuts the container's streams", async (t) => {
  const cut = Promise.withResolvers<void>();
  const { port } = await start(t, "/pods/exec", {
    upgrade: spdyEnd(2, ({ stdout }) => {
      stdout!.once("close", () => cut.resolve());
      stdout!.resume();
    }),
  });
  const socket = new WebSocket(`ws://127.0.0.1:${port}/exec?command=sh&stdout=true`, ["v5.channel.k8s.io"]);
  await once(socket, "message");
  socket.terminate();
  await cut.promise;
});

test("a container's end that vanishes is told as an error on the status channel", async (t) => {
  const vanish = await start(t, "/pods/attach", {
    upgrade: (request, socket, head) => {
      spdyEnd(2, () => void socket.destroy())(request, socket, head);
    },
  });
  const socket = new WebSocket(`ws://127.0.0.1:${vanish.port}/attach?stdout=true`, ["v5.channel.k8s.io"]);
  const { code, text } = await collect(socket);
  assert.equal(code, 1011);
  assert.equal(JSON.parse(text(3)).status, "Failure");
});

test("what the kubelet refuses is answered before anything is switched, and so is what cannot be meant", async (t) => {
  const { port } = await start(
    t,
    "/pods/exec",
    {
      upgrade: (_request, socket) => {
        const body = "container c is not running";
        socket.end(`HTTP/1.1 400 Bad Request\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      },
    },
    { containers: [{ name: "c" }, { name: "d" }] },
  );
  const refusal = async (query: string, headers: Record<string, string> = {}) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/exec?${query}`, ["v5.channel.k8s.io"], { headers });
    const [, response] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
    let text = "";
    for await (const chunk of response) text += chunk;
    socket.on("error", () => {});
    socket.terminate();
    return `${response.statusCode} ${JSON.parse(text).message}`;
  };
  assert.equal(await refusal("command=x&stdout=1&container=c"), "400 container c is not running");
  assert.match(
    await refusal("command=x&stdout=1"),
    /a container name must be specified for pod p, choose one of: \[c d\]/,
  );
  assert.match(await refusal("command=x&stdout=1&container=e"), /container e is not valid for pod p/);
  assert.match(await refusal("stdout=1&container=c"), /at least one command/);
  assert.match(await refusal("command=x&container=c"), /at least 1 of stdin, stdout, stderr/);
  assert.match(
    await refusal("command=x&stdout=1&container=c", { "x-test-user": "reader" }),
    /403 pods "p" is forbidden: User "reader" cannot create resource "pods\/exec"/,
  );
});

/** Switches a raw connection to SPDY, as kubectl does without WebSockets. */
async function upgradeRaw(port: number, path: string, protocol: string) {
  const request = httpRequest({
    host: "127.0.0.1",
    port,
    path,
    method: "POST",
    headers: { connection: "Upgrade", upgrade: "SPDY/3.1", "x-stream-protocol-version": protocol },
  });
  request.end();
  const [response, socket, head] = (await once(request, "upgrade")) as [IncomingMessage, Duplex, Buffer];
  return { response, socket, head };
}

test("a client that speaks SPDY is joined with the kubelet byte for byte", async (t) => {
  const { port } = await start(t, "/pods/exec", {
    upgrade: spdyEnd(2, ({ stdout, error }) => {
      stdout!.end("hello");
      error!.end(success);
    }),
  });
  const { response, socket, head } = await upgradeRaw(port, "/exec?command=x&stdout=true", "v4.channel.k8s.io");
  assert.equal(response.headers["x-stream-protocol-version"], "v4.channel.k8s.io");
  const session = new SpdySession(socket, { role: "client", head });
  session.open({ streamtype: "error" }).resume();
  const stdout = session.open({ streamtype: "stdout" });
  let text = "";
  for await (const chunk of stdout) text += chunk;
  assert.equal(text, "hello");
  session.destroy();
});

/**
 * A WebSocket as kubectl opens it for port-forwards: the client of ws refuses the sub-protocol's name, so the handshake
 * is made by hand and only its framing is used.
 */
async function openTunnel(port: number, path: string): Promise<Duplex> {
  const protocol = "SPDY/3.1+portforward.k8s.io";
  const request = httpRequest({
    host: "127.0.0.1",
    port,
    path,
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": Buffer.alloc(16, 1).toString("base64"),
      "sec-websocket-protocol": protocol,
    },
  });
  request.end();
  const [response, socket] = (await once(request, "upgrade")) as [IncomingMessage, Duplex];
  assert.equal(response.headers["sec-websocket-protocol"], protocol);
  const sender = new Sender(socket);
  const receiver = new Receiver({ isServer: false });
  const stream = new Duplex({
    read() {},
    write: (chunk: Buffer, _encoding, done) =>
      sender.send(chunk, { binary: true, fin: true, mask: true, compress: false }, () => done()),
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  receiver.on("message", (data: Buffer) => stream.push(data));
  socket.pipe(receiver);
  socket.on("close", () => stream.push(null));
  return stream;
}

test("port-forward carries SPDY inside a WebSocket", async (t) => {
  const { port } = await start(t, "/pods/portforward", {
    upgrade: (request, socket, head) => {
      assert.equal(request.url, "/portForward/a/p");
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n");
      const session = new SpdySession(socket, { role: "server", head });
      session.on("stream", (stream) => {
        stream.on("error", () => {});
        stream.reply({});
        stream.pipe(stream);
      });
    },
  });
  const session = new SpdySession(await openTunnel(port, "/portforward"), { role: "client" });
  const streams = ["80", "81"].map((port) => session.open({ streamtype: "data", port }));
  for (const stream of streams) {
    stream.end(Buffer.alloc(200_000, stream.headers["port"]));
    let length = 0;
    for await (const chunk of stream) length += (chunk as Buffer).length;
    assert.equal(length, 200_000);
  }
  session.destroy();
});

test("port-forward over channels has two for each port, which begin with its number", async (t) => {
  const { port } = await start(t, "/pods/portforward", {
    upgrade: (_request, socket, head) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n");
      const session = new SpdySession(socket, { role: "server", head });
      session.on("stream", (stream) => {
        stream.on("error", () => {});
        stream.reply({});
        const { streamtype, port: wanted } = stream.headers;
        if (streamtype === "error") stream.end(wanted === "81" ? "nothing listens there" : "");
        else if (wanted === "81") stream.end();
        else stream.once("data", (chunk: Buffer) => stream.end(`80 heard ${chunk}`));
      });
    },
  });
  const socket = new WebSocket(`ws://127.0.0.1:${port}/portforward?ports=80&ports=81`, ["v4.channel.k8s.io"]);
  const done = collect(socket);
  await once(socket, "open");
  socket.send(Buffer.from("\u0000hello"));
  const { code, text } = await done;
  assert.equal(code, 1000);
  assert.deepEqual([0, 1, 2, 3].map(text), [
    "P\u000080 heard hello",
    "P\u0000",
    "Q\u0000",
    "Q\u0000nothing listens there",
  ]);
  const refused = new WebSocket(`ws://127.0.0.1:${port}/portforward?ports=0`, ["v4.channel.k8s.io"]);
  const [, response] = (await once(refused, "unexpected-response")) as [unknown, IncomingMessage];
  assert.equal(response.statusCode, 400);
  refused.on("error", () => {});
  refused.terminate();
});

test("logs are read from the kubelet with the parameters that were asked for, as they come", async (t) => {
  const seen: string[] = [];
  const { port, client } = await start(t, "/pods/log", {
    handle: (request, response) => {
      seen.push(`${(request.socket as TLSSocket).getPeerCertificate().subject.CN} ${request.url}`);
      if (request.url?.includes("previous"))
        return void response.writeHead(400).end("previous terminated container not found");
      response.write("one\n");
      setImmediate(() => response.end("two\n"));
    },
  });
  const { status, text, headers } = await get(port, "/log?follow=true&tailLines=5&timestamps=false");
  assert.deepEqual([status, text, headers["content-type"]], [200, "one\ntwo\n", "text/plain"]);
  assert.deepEqual(seen, ["system:apiserver /containerLogs/a/p/c?follow=true&tailLines=5"]);
  assert.match((await get(port, "/log?previous=true")).text, /previous terminated container not found/);
  assert.match(
    (await get(port, "/log?tailLines=-1")).text,
    /tailLines: Invalid value: -1: must be greater than or equal to 0/,
  );
  assert.match((await get(port, "/log?test-name=nobody")).text, /pods \\"nobody\\" not found/);
  client.put(pods, { metadata: { name: "waits", namespace: "a" }, spec: { containers: [{ name: "c" }] } });
  assert.deepEqual((await get(port, "/log?test-name=waits")).text, "");
});

test("a log that nobody reads holds the kubelet up", async (t) => {
  let sent = 0;
  let waiting = false;
  const { port } = await start(t, "/pods/log", {
    handle: (_request, response) => {
      const chunk = Buffer.alloc(64 * 1024, "x");
      const push = () => {
        while (sent < 200_000_000) {
          sent += chunk.length;
          if (response.write(chunk)) continue;
          waiting = true;
          response.once("drain", () => {
            waiting = false;
            push();
          });
          return;
        }
        response.end();
      };
      push();
    },
  });
  const request = httpRequest({ host: "127.0.0.1", port, path: "/log?follow=true" });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  // Until nothing moves: the same count over many turns while the sender waits.
  for (let still = 0, before = -1; still < 50; ) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    still = waiting && sent === before ? still + 1 : 0;
    before = sent;
  }
  assert.ok(sent < 50_000_000, `${sent} bytes were taken for nobody`);
  response.destroy();
});

test("a kubelet whose certificate is for another node gets nothing", async (t) => {
  let asked = 0;
  const { port, client } = await start(t, "/pods/log", {
    handle: (_request, response) => void response.end(`${++asked}`),
  });
  const { status } = await client.get(nodes, "n1");
  for (const name of ["n2", "n3"]) client.put(nodes, { metadata: { name }, ...(status ? { status } : {}) });
  const pod = await client.get(pods, "p", { namespace: "a" });
  client.put(pods, { ...pod, spec: { ...pod.spec!, nodeName: "n2" } });
  const wrong = await get(port, "/log");
  assert.equal(wrong.status, 502);
  assert.match(wrong.text, /error dialing backend: Hostname\/IP does not match certificate's altnames/);
  assert.equal(asked, 0);
  client.put(pods, { ...pod, spec: { ...pod.spec!, nodeName: "n3" } });
  assert.deepEqual((await get(port, "/log")).status, 503);
});

test("the proxy passes a request on to a pod without the client's credentials", async (t) => {
  const seen: Record<string, unknown>[] = [];
  const { port, kubeletPort } = await start(t, "/nodes/proxy", {
    handle: (request, response) => {
      seen.push({ url: request.url, authorization: request.headers.authorization, method: request.method });
      response.writeHead(418, { "x-answer": "yes" }).end("teapot");
    },
  });
  assert.ok(kubeletPort);
  const path = "/api/v1/nodes/n1/proxy/stats/summary?x=1&test-name=n1";
  const { status, headers, text } = await get(port, path, { authorization: "Bearer secret" });
  assert.deepEqual([status, headers["x-answer"], text], [418, "yes", "teapot"]);
  assert.deepEqual(seen, [{ url: "/stats/summary?x=1&test-name=n1", authorization: undefined, method: "GET" }]);
});

test("links of a page behind the proxy lead back through it; what is no link, or leads elsewhere, stays", async (t) => {
  const page =
    '<html><!-- é --><a class=x href="/rewriteme">test</a><a href="rel?q=1">r</a><img src="//cdn.example/x.png">' +
    '<a href="http://elsewhere.example/">o</a><p title="/no">/text</p><script>var a = "<a href=\\"/no\\">"</script></html>';
  const { port } = await start(t, "/nodes/proxy", {
    handle: (request, response) => {
      if (request.url?.startsWith("/moved")) response.writeHead(302, { location: "/there" }).end();
      else if (request.url?.startsWith("/zipped"))
        response.writeHead(200, { "content-type": "text/html", "content-encoding": "gzip" }).end(gzipSync(page));
      else response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
    },
  });
  const prefix = "/api/v1/nodes/n1/proxy";
  const wanted = page.replace('<a class=x href="/rewriteme">', `<a class="x" href="${prefix}/rewriteme">`);
  for (const path of ["/", "/zipped"]) assert.equal((await get(port, `${prefix}${path}?test-name=n1`)).text, wanted);
  assert.equal((await get(port, `${prefix}/moved?test-name=n1`)).headers["location"], `${prefix}/there`);
});
