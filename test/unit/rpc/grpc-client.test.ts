import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer as createNetServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { decodeMessage, encodeMessage, message, string } from "../../../src/machinery/protobuf.ts";
import { GrpcClient, GrpcError } from "../../../src/rpc/grpc-client.ts";
import { HeaderWriter } from "../../../src/rpc/hpack.ts";
import {
  frameFlag,
  frameType,
  Http2FrameReader,
  preface,
  setting,
  settingsPayload,
  writeFrame,
} from "../../../src/rpc/http2-frames.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const text = message("Text", { text: string(1) });
const method = (name: string) => ({ path: `/test.Echo/${name}`, request: text, response: text });
const directory = mkdtempSync(join(tmpdir(), "grpc-"));
after(() => rmSync(directory, { recursive: true }));

function frame(value: string): Buffer {
  const body = encodeMessage(text, { text: value });
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

function answer(stream: ServerHttp2Stream, replies: string[], status = "0", statusText = ""): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status, "grpc-message": statusText }));
  for (const reply of replies) stream.write(frame(reply));
  stream.end();
}

interface Rig {
  client: GrpcClient;
  socketPath: string;
  clock: FakeClock;
  /** The server has a call that it will not answer. */
  hanging: Promise<void>;
  cancelled: Promise<number>;
  sessions: () => number;
}

async function withServer(name: string, use: (rig: Rig) => Promise<void>): Promise<void> {
  const socketPath = join(directory, `${name}.sock`);
  const server = createServer();
  const open = new Set<{ destroy(): void }>();
  let sessions = 0;
  server.on("session", (session) => {
    sessions++;
    open.add(session);
    session.on("error", () => {});
    session.on("close", () => open.delete(session));
  });
  const hanging = Promise.withResolvers<void>();
  let onCancel: (code: number) => void = () => {};
  const cancelled = new Promise<number>((resolve) => {
    onCancel = resolve;
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    const chunks: Buffer[] = [];
    const call = String(headers[":path"]).split("/").pop();
    if (call === "Hang") stream.on("close", () => onCancel(stream.rstCode));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      if (call === "Hang") return hanging.resolve();
      const asked = decodeMessage(text, Buffer.concat(chunks).subarray(5)).text;
      if (call === "Unary") answer(stream, [`${asked}!`]);
      else if (call === "Many") answer(stream, ["1", "2", "3"]);
      else if (call === "Fail") answer(stream, [], "5", encodeURIComponent("no such thing: ü"));
      else if (call === "Refuse")
        stream.respond({ ":status": 200, "grpc-status": "12", "grpc-message": "not known" }, { endStream: true });
      else if (call === "Cut") stream.session?.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const clock = new FakeClock();
  const client = new GrpcClient({ socketPath }, { clock });
  try {
    await use({ client, socketPath, clock, hanging: hanging.promise, cancelled, sessions: () => sessions });
  } finally {
    client.close();
    for (const session of open) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

test("a unary call gives its reply; calls share one connection", () =>
  withServer("unary", async ({ client, sessions }) => {
    const replies = await Promise.all(["a", "b"].map((value) => client.unary(method("Unary"), { text: value })));
    assert.deepEqual(replies, [{ text: "a!" }, { text: "b!" }]);
    assert.equal(sessions(), 1);
  }));

test("a stream gives its replies in order and ends", () =>
  withServer("many", async ({ client }) => {
    const seen: string[] = [];
    for await (const reply of client.stream(method("Many"), {})) seen.push(reply.text);
    assert.deepEqual(seen, ["1", "2", "3"]);
  }));

test("a status other than OK is an error with its name and text, in trailers or alone", () =>
  withServer("fail", async ({ client }) => {
    await assert.rejects(client.unary(method("Fail"), {}), (error: GrpcError) => {
      assert.ok(error instanceof GrpcError);
      assert.deepEqual([error.code, error.message], ["NOT_FOUND", "no such thing: ü"]);
      return true;
    });
    await assert.rejects(client.unary(method("Refuse"), {}), { code: "UNIMPLEMENTED", message: "not known" });
  }));

test("a deadline and an aborted signal end the call on both sides", () =>
  withServer("hang", async ({ client, clock, hanging, cancelled }) => {
    const late = assert.rejects(client.unary(method("Hang"), {}, { timeoutMs: 20 }), { code: "DEADLINE_EXCEEDED" });
    await hanging;
    await clock.advance(20);
    await late;
    assert.equal(await cancelled, 8);
    const abort = new AbortController();
    const call = client.unary(method("Hang"), {}, { signal: abort.signal });
    abort.abort();
    await assert.rejects(call, { code: "CANCELLED" });
  }));

test("leaving a stream's loop cancels it", () =>
  withServer("leave", async ({ client, cancelled }) => {
    const iterator = client.stream(method("Hang"), {})[Symbol.asyncIterator]();
    void iterator.next();
    await client.unary(method("Unary"), { text: "x" });
    await iterator.return?.();
    assert.equal(await cancelled, 8);
  }));

test("a broken connection fails the call, and the next call connects again", () =>
  withServer("cut", async ({ client, sessions }) => {
    await assert.rejects(client.unary(method("Cut"), { text: "x" }), { code: "UNAVAILABLE" });
    assert.deepEqual(await client.unary(method("Unary"), { text: "again" }), { text: "again!" });
    assert.equal(sessions(), 2);
  }));

test("no server at the socket is UNAVAILABLE and says why", async () => {
  const client = new GrpcClient({ socketPath: join(directory, "nobody.sock") });
  await assert.rejects(client.unary(method("Unary"), {}), (error: GrpcError) => {
    assert.equal(error.code, "UNAVAILABLE");
    assert.match(error.message, /ENOENT/);
    return true;
  });
  client.close();
  await assert.rejects(client.unary(method("Unary"), {}), { code: "UNAVAILABLE" });
});

test("a call that never left says so; one that the server had does not", () =>
  withServer("unsent", async ({ client, clock, hanging }) => {
    await assert.rejects(client.unary(method("Cut"), { text: "x" }), { code: "UNAVAILABLE", unsent: false });
    const late = assert.rejects(client.unary(method("Hang"), {}, { timeoutMs: 20 }), { unsent: false });
    await hanging;
    await clock.advance(20);
    await late;
    const nobody = new GrpcClient({ socketPath: join(directory, "nobody-else.sock") });
    await assert.rejects(nobody.unary(method("Unary"), {}), { code: "UNAVAILABLE", unsent: true });
    nobody.close();
  }));

test("a reply above the limit is RESOURCE_EXHAUSTED", () =>
  withServer("large", async ({ socketPath }) => {
    const client = new GrpcClient({ socketPath }, { largestMessageBytes: 100 });
    const fits = await client.unary(method("Unary"), { text: "x".repeat(90) });
    assert.equal(fits.text.length, 91);
    await assert.rejects(client.unary(method("Unary"), { text: "x".repeat(100) }), { code: "RESOURCE_EXHAUSTED" });
    client.close();
  }));

/** A server that takes connections and says no more than its first words. */
async function withSilentServer(firstWords: Buffer, use: (port: number) => Promise<void>): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createNetServer((socket) => {
    sockets.add(socket);
    socket.write(firstWords);
    socket.on("error", () => {});
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await use((server.address() as AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** A frame of HTTP/2 without content, with which a server begins. */
const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

test("a connection that gives no sign of life is closed, and its calls fail", () =>
  withSilentServer(emptySettings, async (port) => {
    const clock = new FakeClock();
    const client = new GrpcClient({ host: "127.0.0.1", port }, { clock, keepAliveMs: 10_000 });
    const call = assert.rejects(client.unary(method("Unary"), {}), (error: GrpcError) => {
      assert.equal(error.code, "UNAVAILABLE");
      assert.match(error.message, /no sign of life for 10000 ms/);
      return true;
    });
    await eventually(() => assert.equal(clock.pending, 1));
    await clock.advance(10_000);
    await clock.advance(10_000);
    await call;
    client.close();
  }));

test("an answered ping keeps a call open for as long as it takes", () =>
  withServer("alive", async ({ socketPath, cancelled }) => {
    const clock = new FakeClock();
    const client = new GrpcClient({ socketPath }, { clock, keepAliveMs: 10_000 });
    const abort = new AbortController();
    const call = client.unary(method("Hang"), {}, { signal: abort.signal });
    await client.unary(method("Unary"), { text: "connected" });
    for (let round = 0; round < 3; round++) {
      await clock.advance(10_000);
      // The ping went out before this call, so its answer is there before this one's; the next interval runs.
      await client.unary(method("Unary"), { text: "x" });
      assert.equal(clock.pending, 1);
    }
    abort.abort();
    await assert.rejects(call, { code: "CANCELLED" });
    assert.equal(await cancelled, 8);
    client.close();
  }));

test("a connection that does not come about is given up in time", () =>
  withSilentServer(Buffer.alloc(0), async (port) => {
    // The handshake of TLS, or the greeting of HTTP/2, is never answered.
    for (const more of [{ tls: {} }, {}]) {
      const clock = new FakeClock();
      const client = new GrpcClient({ host: "127.0.0.1", port, ...more }, { clock, connectTimeoutMs: 2000 });
      const call = assert.rejects(client.unary(method("Unary"), {}), { code: "UNAVAILABLE", unsent: true });
      await clock.advance(2000);
      await call;
      client.close();
    }
  }));

test("a connection that ends before the server's first word has carried nothing", async () => {
  const server = createNetServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = new GrpcClient({ host: "127.0.0.1", port: (server.address() as AddressInfo).port });
  await assert.rejects(client.unary(method("Unary"), {}), { code: "UNAVAILABLE", unsent: true });
  client.close();
  await new Promise((resolve) => server.close(resolve));
});

test("a client that is closed at any moment of its connecting ends its calls, and nothing else", () =>
  withServer("early", async ({ socketPath }) => {
    for (let turns = 0; turns < 30; turns++) {
      const client = new GrpcClient({ socketPath });
      const ended = client.unary(method("Unary"), { text: "x" }).then(
        () => "answered",
        ({ code }: GrpcError) => code,
      );
      for (let turn = 0; turn < turns; turn++) {
        await (turns % 2 ? Promise.resolve() : new Promise((resolve) => setImmediate(resolve)));
      }
      client.close();
      assert.match(await ended, /^(answered|UNAVAILABLE|CANCELLED)$/);
    }
  }));

test("calls beyond what the server takes at once wait for others to end, and may be given up before", async () => {
  const headers = new HeaderWriter();
  headers.allowTable(0);
  const asked: { readonly id: number; readonly socket: Socket }[] = [];
  const server = createNetServer((socket) => {
    const frames = new Http2FrameReader();
    // Two streams at once.
    socket.write(writeFrame(frameType.settings, 0, 0, settingsPayload([[setting.mostStreams, 2]])));
    socket.on("data", (piece) => {
      // The greeting is no frame.
      const bytes = piece.subarray(0, preface.length).equals(preface) ? piece.subarray(preface.length) : piece;
      frames.push(bytes, (type, _, id) => void (type === frameType.headers && asked.push({ id, socket })));
    });
  });
  const answerOne = () => {
    const { id, socket } = asked.shift()!;
    socket.write(writeFrame(frameType.headers, frameFlag.endHeaders, id, headers.write([[":status", "200"]])));
    socket.write(writeFrame(frameType.data, 0, id, frame(`${id}`)));
    const flags = frameFlag.endHeaders | frameFlag.endStream;
    socket.write(writeFrame(frameType.headers, flags, id, headers.write([["grpc-status", "0"]])));
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const clock = new FakeClock();
  const client = new GrpcClient({ host: "127.0.0.1", port: (server.address() as AddressInfo).port }, { clock });
  const calls = [1, 2, 3].map((value) => client.unary(method("Unary"), { text: `${value}` }));
  const late = client.unary(method("Unary"), {}, { timeoutMs: 20 });
  const given = assert.rejects(late, { code: "DEADLINE_EXCEEDED", unsent: true });
  const last = client.unary(method("Unary"), { text: "last" });
  await eventually(() => assert.equal(asked.length, 2), 60_000);
  await clock.advance(20);
  await given;
  for (const [answered, open] of [
    [0, 2],
    [1, 2],
    [2, 1],
  ] as const) {
    answerOne();
    await calls[answered];
    await eventually(() => assert.equal(asked.length, open), 60_000);
  }
  answerOne();
  assert.deepEqual(
    await Promise.all([...calls, last]),
    ["1", "3", "5", "7"].map((text) => ({ text })),
  );
  client.close();
  await new Promise((resolve) => server.close(resolve));
});
