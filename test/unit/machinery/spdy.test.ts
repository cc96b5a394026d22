import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { constants, createDeflate } from "node:zlib";
import { SpdySession, type SpdyStream } from "../../../src/machinery/spdy.ts";
import { headerDictionary, SpdyDecoder, SpdyEncoder, type SpdyFrame } from "../../../src/machinery/spdy-frames.ts";

function adler32(bytes: Buffer): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return ((b << 16) | a) >>> 0;
}

async function pair(t: TestContext) {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [peer] = await accepted;
  const client = new SpdySession(socket, { role: "client" });
  const far = new SpdySession(peer, { role: "server" });
  t.after(() => {
    client.destroy();
    far.destroy();
    server.close();
  });
  return { client, far, socket };
}

async function readAll(stream: SpdyStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

test("the dictionary is the one of SPDY/3 (its Adler-32 is what Go sends)", () => {
  assert.equal(headerDictionary().length, 1423);
  assert.equal(adler32(headerDictionary()).toString(16), "e3c6a7c2");
});

test("header blocks of a compressing peer are read, one after the other, as Go's zlib writes them", async () => {
  // A peer with one deflate stream for the connection, dictionary and sync flushes: what Go's framer does.
  const deflate = createDeflate({ dictionary: headerDictionary() });
  const chunks: Buffer[] = [];
  deflate.on("data", (chunk: Buffer) => chunks.push(chunk));
  const compress = async (headers: Record<string, string>) => {
    const parts: Buffer[] = [];
    const add = (value: number) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      parts.push(bytes);
    };
    add(Object.keys(headers).length);
    for (const text of Object.entries(headers).flat()) {
      add(text.length);
      parts.push(Buffer.from(text));
    }
    deflate.write(Buffer.concat(parts));
    await new Promise<void>((resolve) => deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()));
    return Buffer.concat(chunks.splice(0));
  };
  const decoder = new SpdyDecoder();
  for (const streamtype of ["error", "stdin", "stdout", "error"]) {
    const block = await compress({ streamtype, host: "example", "x-long": "y".repeat(3000) });
    const head = Buffer.alloc(18);
    head.writeUInt16BE(0x8003, 0);
    head.writeUInt16BE(1, 2);
    head.writeUInt32BE(10 + block.length, 4);
    head.writeUInt32BE(7, 8);
    const frames: SpdyFrame[] = [];
    // Byte by byte: frames do not come in one piece.
    for (const byte of Buffer.concat([head, block])) frames.push(...decoder.push(Buffer.from([byte])));
    assert.equal(frames.length, 1);
    assert.equal(frames[0]!.type, "syn-stream");
    assert.equal(frames[0]!.type === "syn-stream" && frames[0]!.headers["streamtype"], streamtype);
  }
  deflate.destroy();
});

test("streams carry bytes both ways and each direction ends on its own", async (t) => {
  const { client, far } = await pair(t);
  far.on("stream", async (stream) => {
    stream.reply({});
    const heard = await readAll(stream);
    stream.end(`${stream.headers["streamtype"]} ${heard.length}`);
  });
  const streams = ["stdin", "stdout", "error"].map((streamtype) => client.open({ streamtype }));
  await Promise.all(
    streams.map(async (stream, n) => {
      await stream.replied;
      stream.end(Buffer.alloc(100_000 * (n + 1)));
      assert.equal((await readAll(stream)).toString(), `${stream.headers["streamtype"]} ${100_000 * (n + 1)}`);
    }),
  );
});

test("a reset breaks one stream and no other", async (t) => {
  const { client, far } = await pair(t);
  far.on("stream", (stream) => {
    stream.on("error", () => {});
    if (stream.headers["kind"] === "bad") stream.destroy();
    else {
      stream.reply({});
      stream.pipe(stream);
    }
  });
  const bad = client.open({ kind: "bad" });
  bad.on("error", () => {});
  await assert.rejects(bad.replied, /reset with status 5/);
  const good = client.open({ kind: "good" });
  good.end("still here");
  assert.equal((await readAll(good)).toString(), "still here");
});

test("what came before the peer cancelled an accepted stream stays readable, as Go's error streams end that way", async (t) => {
  const { client, far } = await pair(t);
  far.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.reply({});
    stream.write("the status", () => stream.destroy());
  });
  const stream = client.open({ streamtype: "error" });
  await stream.replied;
  assert.equal((await readAll(stream)).toString(), "the status");
});

test("a reader that does not read holds the sender up instead of filling memory", async (t) => {
  const { client, far, socket } = await pair(t);
  let sent = 0;
  far.on("stream", (stream) => {
    stream.reply({});
    stream.on("error", () => {});
    const chunk = Buffer.alloc(64 * 1024);
    const push = () => {
      while (sent < 100_000_000) {
        sent += chunk.length;
        if (!stream.write(chunk)) return void stream.once("drain", push);
      }
      stream.end();
    };
    push();
  });
  const stream = client.open({});
  await stream.replied;
  while (!socket.isPaused()) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(sent < 50_000_000, `${sent} bytes were sent to nobody`);
  assert.equal((await readAll(stream)).length, sent);
  assert.ok(sent >= 100_000_000);
});

test("what arrived before the connection ended can still be read; what did not come ends", async (t) => {
  const { client, far } = await pair(t);
  far.on("stream", (stream) => {
    stream.reply({});
    stream.write("last words");
    far.end();
  });
  const stream = client.open({});
  assert.equal((await readAll(stream)).toString(), "last words");
  assert.throws(() => client.open({}), /the connection is closed/);
});

test("what is no SPDY ends the connection with an error", async (t) => {
  const { client, socket, far } = await pair(t);
  const closed = once(far, "close");
  socket.write("\x90garbage that is no frame");
  const [error] = await closed;
  assert.match(String(error), /not a frame of version 3/);
  client.destroy();
});

test("a ping of the peer comes back", async (t) => {
  const { socket, client } = await pair(t);
  assert.equal(client.closed, false);
  const decoder = new SpdyDecoder();
  const back = new Promise<SpdyFrame>((resolve) => {
    socket.on("data", (piece: Buffer) => {
      for (const frame of decoder.push(piece)) resolve(frame);
    });
  });
  socket.write(new SpdyEncoder().ping(77));
  assert.deepEqual(await back, { type: "ping", id: 77 });
});
