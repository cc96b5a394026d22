import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type Http2Server, type ServerHttp2Stream, type ServerOptions } from "node:http2";
import { type AddressInfo, connect, createServer as createNetServer, type Socket } from "node:net";
import { test } from "node:test";
import type { Headers } from "../../../src/rpc/hpack.ts";
import { Http2Connection } from "../../../src/rpc/http2-connection.ts";
import {
  frameFlag,
  frameType,
  Http2FrameReader,
  numberPayload,
  settingsPayload,
  writeFrame,
} from "../../../src/rpc/http2-frames.ts";
import type { StreamError, StreamReader } from "../../../src/rpc/http2-stream.ts";

const nothing = Buffer.alloc(0);
const fields = (path: string, more: readonly (readonly [string, string])[] = []) => [
  [":method", "POST"] as const,
  [":scheme", "http"] as const,
  [":authority", "test"] as const,
  [":path", path] as const,
  ...more,
];

/** Takes a reply whole. */
class Reply implements StreamReader {
  readonly blocks: Headers[] = [];
  readonly pieces: Buffer[] = [];
  readonly closed = Promise.withResolvers<StreamError | undefined>();
  bytes = 0;

  onHeaders(headers: Headers): void {
    this.blocks.push(headers);
  }

  onData(piece: Buffer): void {
    this.bytes += piece.length;
    this.pieces.push(Buffer.from(piece));
  }

  onClose(error: StreamError | undefined): void {
    this.closed.resolve(error);
  }

  async text(): Promise<string> {
    const error = await this.closed.promise;
    if (error) throw error;
    return Buffer.concat(this.pieces).toString();
  }
}

async function connected(port: number): Promise<Http2Connection> {
  const ready = Promise.withResolvers<void>();
  const connection = new Http2Connection(connect(port, "127.0.0.1"), {
    onRoom: ready.resolve,
    onPong: () => {},
    onClose: ready.resolve,
  });
  await ready.promise;
  return connection;
}

/** Node's own HTTP/2 as the server. */
async function withServer(
  options: ServerOptions,
  answer: (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void,
  use: (connection: Http2Connection) => Promise<void>,
): Promise<void> {
  // Node gives a connection up on which more than this many megabytes wait.
  const server: Http2Server = createServer({ maxSessionMemory: 1000, ...options });
  server.on("sessionError", () => {});
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    answer(stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const connection = await connected((server.address() as AddressInfo).port);
  try {
    await use(connection);
  } finally {
    connection.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** A server that says what it is told to, frame by frame, when it has read the client's first request. */
async function withFrames(
  frames: readonly Buffer[],
  use: (connection: Http2Connection) => Promise<void>,
): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createNetServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.write(writeFrame(frameType.settings, 0, 0, nothing));
    // The first piece is the greeting.
    let pieces = 0;
    socket.on("data", (piece) => {
      if (pieces++ > 0 && piece.includes("test")) for (const frame of frames) socket.write(frame);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const connection = await connected((server.address() as AddressInfo).port);
  try {
    await use(connection);
  } finally {
    connection.destroy();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

test("frames come out whole however their bytes are cut", () => {
  const frames = [nothing, Buffer.from("abc"), Buffer.alloc(3000, "x")];
  const bytes = Buffer.concat(frames.map((payload, index) => writeFrame(index, 0, index, payload)));
  for (const size of [1, 8, 9, 10, 1000, bytes.length]) {
    const reader = new Http2FrameReader();
    const seen: string[] = [];
    for (let at = 0; at < bytes.length; at += size)
      reader.push(bytes.subarray(at, at + size), (type, _, id, payload) => seen.push(`${type} ${id} ${payload}`));
    assert.deepEqual(
      seen,
      frames.map((payload, index) => `${index} ${index} ${payload}`),
      `in pieces of ${size}`,
    );
  }
  assert.throws(() => new Http2FrameReader().push(Buffer.from("HTTP/1.1 400 Bad Request"), () => {}), /HTTP\/2/);
});

for (const headerTableSize of [4096, 100, 0])
  test(`headers arrive as they were sent, with a table of ${headerTableSize} bytes at the server`, () =>
    withServer(
      { settings: { headerTableSize } },
      (stream, headers) => {
        stream.respond({ ":status": 200 });
        stream.end(JSON.stringify(headers));
      },
      async (connection) => {
        for (let round = 0; round < 60; round++) {
          const own = { te: "trailers", a: `${round % 3}`, [`field-${round % 40}`]: "x".repeat(100), once: `${round}` };
          const reply = new Reply();
          const { once: last, ...often } = own;
          connection.open(fields(`/${round}`, Object.entries(often)), [["once", last]], reply).send(nothing, true);
          const { ":path": path, ":method": method, ...rest } = JSON.parse(await reply.text());
          assert.deepEqual([path, method], [`/${round}`, "POST"]);
          for (const [name, value] of Object.entries(own)) assert.equal(rest[name], value);
        }
      },
    ));

test("what a server sends of any letters, packed, and in several frames, is read", () => {
  const letters = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("");
  return withServer(
    { maxSendHeaderBlockLength: 100_000 },
    (stream) =>
      stream.respond({ ":status": 204, letters: `a${letters}a`, long: "0".repeat(50_000) }, { endStream: true }),
    async (connection) => {
      const reply = new Reply();
      connection.open(fields("/"), [], reply).send(nothing, true);
      assert.equal(await reply.text(), "");
      const [headers] = reply.blocks;
      assert.deepEqual(
        ["letters", "long", ":status"].map((name) => headers!.get(name)),
        [`a${letters}a`, "0".repeat(50_000), "204"],
      );
    },
  );
});

test("data larger than every window goes both ways as the other side takes it, of several streams at once", () => {
  const sizes = [0, 1, 70_000, 3_000_000];
  const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
  return withServer(
    { settings: { initialWindowSize: 2000 } },
    (stream, headers) => {
      const pieces: Buffer[] = [];
      stream.on("data", (piece: Buffer) => pieces.push(piece));
      stream.on("end", () => {
        stream.respond({ ":status": 200, hash: hash(Buffer.concat(pieces)) });
        stream.end(Buffer.alloc(Number(headers.wanted), "y"));
      });
    },
    async (connection) => {
      const wanted = 5_000_000;
      await Promise.all(
        sizes.map(async (size, index) => {
          const body = Buffer.alloc(size, `${index}`);
          const reply = new Reply();
          const stream = connection.open(fields("/", [["wanted", `${wanted + index}`]]), [], reply);
          stream.send(body.subarray(0, size / 2), false);
          stream.send(body.subarray(size / 2), true);
          assert.equal(await reply.closed.promise, undefined);
          assert.equal(reply.bytes, wanted + index);
          assert.equal(reply.blocks[0]!.get("hash"), hash(body));
        }),
      );
    },
  );
});

test("a reader that pauses holds up its own stream, and goes on", () => {
  const size = 12_000_000;
  return withServer(
    {},
    (stream) => {
      stream.respond({ ":status": 200 });
      stream.end(Buffer.alloc(size));
    },
    async (connection) => {
      const slow = new Reply();
      const held = connection.open(fields("/slow"), [], slow);
      held.pause();
      held.send(nothing, true);
      for (let round = 0; round < 3; round++) {
        const other = new Reply();
        connection.open(fields("/other"), [], other).send(nothing, true);
        assert.equal((await other.text()).length, size);
      }
      assert.ok(slow.bytes <= 4 * 1024 * 1024, `${slow.bytes} of a paused stream`);
      held.resume();
      assert.equal((await slow.text()).length, size);
    },
  );
});

test("streams that the server has not looked at when it leaves are told apart from those that it had", () => {
  const leave = Buffer.concat([numberPayload(1), numberPayload(0)]);
  const ended = writeFrame(frameType.headers, frameFlag.endHeaders | frameFlag.endStream, 1, Buffer.from([0x88]));
  return withFrames([writeFrame(frameType.goAway, 0, 0, leave), ended], async (connection) => {
    const [first, second] = [new Reply(), new Reply()];
    for (const reply of [first, second]) connection.open(fields("/"), [], reply).send(nothing, true);
    assert.equal((await second.closed.promise)?.unsent, true);
    assert.equal(await first.closed.promise, undefined);
    assert.equal(first.blocks[0]!.get(":status"), "200");
    assert.equal(connection.usable, false);
  });
});

test("a stream that the server refused was not begun; one that it reset, or lost with its connection, may have been", async () => {
  for (const [code, unsent] of [
    [7, true],
    [2, false],
  ] as const)
    await withFrames([writeFrame(frameType.reset, 0, 1, numberPayload(code))], async (connection) => {
      const reply = new Reply();
      connection.open(fields("/"), [], reply).send(nothing, true);
      assert.equal((await reply.closed.promise)?.unsent, unsent);
    });
  await withFrames([writeFrame(frameType.pushPromise, 0, 1, nothing)], async (connection) => {
    const reply = new Reply();
    connection.open(fields("/"), [], reply).send(nothing, true);
    const error = await reply.closed.promise;
    assert.deepEqual([error?.unsent, /pushes/.test(error!.message)], [false, true]);
  });
});

test("no more streams than the server takes have room, and filling is no data", () => {
  const filled = Buffer.concat([Buffer.from([3]), Buffer.from("abc"), Buffer.alloc(3)]);
  const frames = [
    writeFrame(frameType.settings, 0, 0, settingsPayload([[3, 1]])),
    writeFrame(frameType.data, frameFlag.padded | frameFlag.endStream, 1, filled),
  ];
  return withFrames(frames, async (connection) => {
    assert.ok(connection.hasRoom);
    const [first, second] = [new Reply(), new Reply()];
    connection.open(fields("/"), [], first).send(nothing, true);
    connection.open(fields("/"), [], second).send(nothing, true);
    assert.equal(await first.text(), "abc");
    assert.equal(connection.size, 1);
    assert.ok(!connection.hasRoom);
  });
});

test("a server that sends more than it was allowed is left, and one that takes frames of no size is not waited for", async () => {
  const piece = writeFrame(frameType.data, 0, 1, Buffer.alloc(16_384));
  await withFrames(new Array<Buffer>(257).fill(piece), async (connection) => {
    const reply = new Reply();
    const stream = connection.open(fields("/"), [], reply);
    stream.pause();
    stream.send(nothing, true);
    assert.match((await reply.closed.promise)!.message, /more than it was allowed/);
    assert.equal(connection.usable, false);
  });
  const ended = writeFrame(frameType.headers, frameFlag.endHeaders | frameFlag.endStream, 1, Buffer.from([0x88]));
  await withFrames([writeFrame(frameType.settings, 0, 0, settingsPayload([[5, 0]])), ended], async (connection) => {
    const first = new Reply();
    connection.open(fields("/"), [], first).send(nothing, true);
    assert.equal(await first.text(), "");
    connection.open(fields("/"), [], new Reply()).send(Buffer.from("x"), true);
    assert.equal(connection.size, 1);
  });
});
