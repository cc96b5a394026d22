import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { decodeMessage, encodeMessage, message, string } from "../../../src/machinery/protobuf.ts";
import { GrpcClient, GrpcError } from "../../../src/rpc/grpc-client.ts";
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
    await use({ client, clock, hanging: hanging.promise, cancelled, sessions: () => sessions });
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
