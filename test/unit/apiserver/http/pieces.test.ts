import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { chunkBytes, chunksOf, joinPieces, Pace } from "../../../../src/apiserver/http/pieces.ts";
import { sendPieces } from "../../../../src/apiserver/http/reply.ts";
import { ioClock } from "../../../../src/machinery/clock.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const json = { type: "json" } as const;

/** Many small pieces, some larger than a chunk, text that is not ASCII. */
function* mixed(count: number): Generator<Buffer | string> {
  for (let index = 0; index < count; index++) {
    yield `${index}:ä€𝄞,`;
    yield Buffer.alloc((index * 7919) % 3000, 97 + (index % 26));
    if (index % 500 === 0) yield Buffer.alloc(chunkBytes * 2 + 1, 0x7a);
    if (index % 700 === 0) yield "ü".repeat(chunkBytes);
  }
}

const whole = (pieces: Iterable<Buffer | string>) => Buffer.concat([...pieces].map((piece) => Buffer.from(piece)));

/** Answers every request with these pieces; gives the reply to one. */
async function ask(
  t: TestContext,
  pieces: () => Iterable<Buffer | string>,
  request: { length?: number; headers?: Record<string, string>; method?: string } = {},
): Promise<{ reply: IncomingMessage; body: Buffer }> {
  const known = request.length === undefined ? {} : { length: request.length };
  const server = createServer((incoming, outgoing) => {
    void sendPieces(incoming, outgoing, 200, json, { ...known, pieces: pieces() }, ioClock);
  });
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const { headers = {}, method = "GET" } = request;
  const sent = get({ host: "127.0.0.1", port, headers, method, agent: false });
  const [reply] = (await once(sent, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of reply) chunks.push(chunk as Buffer);
  return { reply, body: Buffer.concat(chunks) };
}

test("chunks are the pieces in their order, none larger than it has to be", async () => {
  const chunks = [...chunksOf(mixed(2000))];
  assert.ok(Buffer.concat(chunks).equals(whole(mixed(2000))));
  for (const chunk of chunks) assert.ok(chunk.length <= chunkBytes * 2 + 1);
  assert.ok(chunks.filter((chunk) => chunk.length < chunkBytes / 2).length < 30, "small pieces go together");
  assert.ok((await joinPieces({ pieces: mixed(100) }, ioClock)).equals(whole(mixed(100))));
  assert.equal((await joinPieces({ pieces: [] }, ioClock)).length, 0);
});

test("a long body comes as it was made, with its length where that is known", async (t) => {
  const expected = whole(mixed(3000));
  const known = await ask(t, () => mixed(3000), { length: expected.length });
  assert.ok(known.body.equals(expected));
  assert.equal(known.reply.headers["content-length"], String(expected.length));
  const unknown = await ask(t, () => mixed(3000));
  assert.ok(unknown.body.equals(expected));
  assert.equal(unknown.reply.headers["content-length"], undefined);
});

test("a long body is compressed for those who take that, a short one never", async (t) => {
  const headers = { "accept-encoding": "gzip" };
  const long = await ask(t, () => mixed(3000), { headers, length: whole(mixed(3000)).length });
  assert.equal(long.reply.headers["content-encoding"], "gzip");
  assert.equal(long.reply.headers["vary"], "Accept-Encoding");
  assert.ok(gunzipSync(long.body).equals(whole(mixed(3000))));
  const short = await ask(t, () => ["[", "]"], { headers });
  assert.equal(short.reply.headers["content-encoding"], undefined);
  assert.deepEqual([short.body.toString(), short.reply.headers["content-length"]], ["[]", "2"]);
});

test("HEAD is answered without a body", async (t) => {
  const { reply, body } = await ask(t, () => mixed(3000), { method: "HEAD", length: 5_000_000 });
  assert.deepEqual([reply.statusCode, body.length, reply.headers["content-length"]], [200, 0, "5000000"]);
});

test("a client that reads nothing is waited for, and one that goes ends the work", { timeout: 60_000 }, async (t) => {
  let made = 0;
  function* endless() {
    for (; ; made++) yield Buffer.alloc(chunkBytes, 0x61);
  }
  const ended = Promise.withResolvers<void>();
  const server = createServer((incoming, outgoing) => {
    sendPieces(incoming, outgoing, 200, json, { pieces: endless() }, ioClock).then(ended.resolve, ended.reject);
  });
  t.after(() => server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const sent = get({ host: "127.0.0.1", port: (server.address() as AddressInfo).port, agent: false });
  const [reply] = (await once(sent, "response")) as [IncomingMessage];
  reply.pause();
  // Until what the kernel and the buffers hold is full.
  let before = -1;
  while (before !== made) {
    before = made;
    await ioClock.sleep(300);
  }
  assert.ok(made < 2_000, `${made} chunks were made for nobody`);
  sent.on("error", () => {});
  reply.destroy();
  await ended.promise;
});

test("a turn is over when its milliseconds are, and begins anew after a pause", async () => {
  const clock = new FakeClock();
  const pace = new Pace(clock);
  assert.equal(pace.overNow, false);
  await clock.advance(4);
  assert.equal(pace.overNow, true);
  let steps = 1;
  while (!pace.over) steps++;
  assert.ok(steps <= 32, "it looks at the clock at least every 32 steps");
  await pace.pause();
  assert.equal(pace.overNow, false);
});
