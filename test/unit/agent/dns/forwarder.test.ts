import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import packet from "dns-packet";
import { Forwarder } from "../../../../src/agent/dns/forwarder.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

// Name servers on loopback addresses; what each does with a question is set by the tests.
type Behaviour = (query: packet.Packet & { id?: number }, bytes: Buffer) => Buffer | undefined;
interface NameServer {
  socket: Socket;
  tcp: Server;
  asked: number;
  behaviour: Behaviour;
  /** Whether what it sends, if anything, is no answer: once it has arrived, the time passes that is waited for one. */
  silent: boolean;
}
const servers = new Map<string, NameServer>();
let port = 0;
let clock: FakeClock;
let forwarder: Forwarder;

function reply(query: packet.Packet, address: string, ttl = 20, flags = 0): Buffer {
  const name = query.questions![0]!.name;
  return packet.encode({
    type: "response",
    ...(query.id === undefined ? {} : { id: query.id }),
    flags: packet.RECURSION_AVAILABLE | flags,
    questions: query.questions!,
    answers: address ? [{ name, type: "A", ttl, data: address }] : [],
  });
}

/** Lets the time pass in which a name server answers, after the event loop has seen all that was sent by now. */
async function timeOut(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(1500);
}

async function serve(address: string): Promise<void> {
  const entry: NameServer = {
    socket: createSocket("udp4"),
    tcp: createServer(),
    asked: 0,
    behaviour: () => undefined,
    silent: false,
  };
  const handle = (bytes: Buffer) => {
    entry.asked++;
    return entry.behaviour(packet.decode(bytes), bytes);
  };
  entry.socket.on("message", (bytes, from) => {
    const answer = handle(bytes);
    const sent = () => entry.silent && void timeOut();
    if (answer) entry.socket.send(answer, from.port, from.address, sent);
    else sent();
  });
  entry.tcp.on("connection", (socket) =>
    socket.once("data", (data) => {
      const answer = handle(data.subarray(2));
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer?.length ?? 0);
      // In pieces, as a network may deliver it.
      socket.write(length);
      setImmediate(() => socket.end(answer ?? Buffer.alloc(0)));
    }),
  );
  entry.socket.bind(port, address);
  servers.set(address, entry);
  await once(entry.socket, "listening");
  port = entry.socket.address().port;
  entry.tcp.listen(port, address);
  await once(entry.tcp, "listening");
}

function closeAll(): void {
  for (const { socket, tcp } of servers.values()) {
    socket.close();
    tcp.close();
  }
  servers.clear();
}

const [first, second] = ["127.0.0.61", "127.0.0.62"];
before(async () => {
  // A port that is free for UDP at one address may be somebody's for TCP, or at the other.
  for (let left = 20; ; left--) {
    try {
      await serve(first);
      return await serve(second);
    } catch (error) {
      closeAll();
      port = 0;
      if (left === 0 || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
});
after(closeAll);
beforeEach(() => {
  clock = new FakeClock();
  forwarder = new Forwarder({ upstreams: async () => [first, second], port, clock });
  for (const server of servers.values()) {
    server.asked = 0;
    server.silent = false;
    server.behaviour = (query) => reply(query, "192.0.2.1");
  }
});

const question = (name: string, id = 5) => packet.encode({ type: "query", id, questions: [{ name, type: "A" }] });
const addressIn = (bytes: Buffer) => packet.decode(bytes).answers!.map((answer) => answer.type === "A" && answer.data);

test("the answer of the first name server is passed on under the client's id", async () => {
  const answer = await forwarder.forward(question("example.org", 4711), "udp");
  assert.equal(packet.decode(answer).id, 4711);
  assert.deepEqual(addressIn(answer), ["192.0.2.1"]);
  assert.equal(servers.get(second)!.asked, 0);
});

test("an answer is kept for its time to live, at most 30 s, and its age is taken off", async () => {
  await forwarder.forward(question("example.org", 1), "udp");
  await clock.advance(15_000);
  const aged = packet.decode(await forwarder.forward(question("example.org", 2), "udp"));
  assert.equal(servers.get(first)!.asked, 1);
  assert.equal(aged.id, 2);
  assert.equal((aged.answers![0] as packet.StringAnswer).ttl, 5);
  await clock.advance(5000);
  await forwarder.forward(question("example.org"), "udp");
  assert.equal(servers.get(first)!.asked, 2);

  servers.get(first)!.behaviour = (query) => reply(query, "192.0.2.1", 86_400);
  await forwarder.forward(question("long.example.org"), "udp");
  await clock.advance(30_000);
  await forwarder.forward(question("long.example.org"), "udp");
  assert.equal(servers.get(first)!.asked, 4);
});

test("the same question asked at the same time is passed on once", async () => {
  const answers = await Promise.all([1, 2, 3].map((id) => forwarder.forward(question("example.org", id), "udp")));
  assert.deepEqual(
    answers.map((answer) => packet.decode(answer).id),
    [1, 2, 3],
  );
  assert.equal(servers.get(first)!.asked, 1);
});

test("a name server that says nothing, or fails, is followed by the next", async () => {
  Object.assign(servers.get(first)!, { behaviour: () => undefined, silent: true });
  servers.get(second)!.behaviour = (query) => reply(query, "192.0.2.2");
  assert.deepEqual(addressIn(await forwarder.forward(question("silent.example.org"), "udp")), ["192.0.2.2"]);
  servers.get(first)!.silent = false;
  servers.get(first)!.behaviour = (query) => reply(query, "", 0, 2);
  assert.deepEqual(addressIn(await forwarder.forward(question("failing.example.org"), "udp")), ["192.0.2.2"]);
});

test("when all fail their answer is passed on, and not kept; when all are silent the error names them", async () => {
  for (const server of servers.values()) server.behaviour = (query) => reply(query, "", 0, 2);
  const failed = await forwarder.forward(question("a.example.org"), "udp");
  assert.equal(failed[3]! & 0x0f, 2, "server failure");
  for (const server of servers.values()) Object.assign(server, { behaviour: () => undefined, silent: true });
  await assert.rejects(forwarder.forward(question("a.example.org"), "udp"), {
    name: "ForwardError",
    message: `no answer from name servers ${first}, ${second}: ${second} did not answer`,
  });
});

test("an answer to another question or with another id is not taken", async () => {
  servers.get(first)!.behaviour = (query) =>
    reply({ ...query, questions: [{ name: "evil.example.org", type: "A" }] }, "192.0.2.66");
  servers.get(second)!.behaviour = (query) => reply({ ...query, id: (query.id! + 1) & 0xffff }, "192.0.2.66");
  for (const server of servers.values()) server.silent = true;
  await assert.rejects(forwarder.forward(question("example.org"), "udp"), { name: "ForwardError" });
});

test("a truncated answer is passed on for the client to ask over TCP, which is passed on over TCP", async () => {
  servers.get(first)!.behaviour = (query) => reply(query, "", 0, packet.TRUNCATED_RESPONSE);
  const cut = await forwarder.forward(question("big.example.org"), "udp");
  assert.equal(packet.decode(cut).flag_tc, true);
  servers.get(first)!.behaviour = (query) => reply(query, "192.0.2.3");
  assert.deepEqual(addressIn(await forwarder.forward(question("big.example.org"), "tcp")), ["192.0.2.3"]);
});

test("no name server at all is an error that says where it was looked for", async () => {
  const lost = new Forwarder({ upstreams: async () => [], port, clock });
  await assert.rejects(lost.forward(question("x"), "udp"), { message: "the node's resolv.conf names no name server" });
});
