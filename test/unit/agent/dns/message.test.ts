import assert from "node:assert/strict";
import { test } from "node:test";
import packet from "dns-packet";
import fc from "fast-check";
import { type DnsQuery, readQuery, timesToLive, writeAnswer } from "../../../../src/agent/dns/message.ts";
import type { DnsAnswer, DnsRecord } from "../../../../src/agent/dns/record.ts";

function query(name: string, type: packet.RecordType = "A", udpPayloadSize?: number): Buffer {
  const opt = { type: "OPT", name: ".", udpPayloadSize, extendedRcode: 0, ednsVersion: 0, flags: 0, options: [] };
  const additionals = udpPayloadSize ? ([opt] as unknown as packet.Answer[]) : [];
  return packet.encode({
    type: "query",
    id: 77,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name, type }],
    additionals,
  });
}

function read(bytes: Buffer): DnsQuery {
  const found = readQuery(bytes);
  assert.ok(typeof found === "object", `${found}`);
  return found;
}

function answer(answers: DnsRecord[], overrides: Partial<DnsAnswer> = {}): DnsAnswer {
  return { code: "NOERROR", authoritative: true, answers, authorities: [], additionals: [], ...overrides };
}

const a = (name: string, data: string): DnsRecord => ({ name, type: "A", ttl: 5, data });

test("a question is read, its name in lower case", () => {
  const { id, name, type, recursionDesired, edns, udpBytes } = read(query("Web.Shop.svc.cluster.LOCAL"));
  assert.deepEqual(
    [id, name, type, recursionDesired, edns, udpBytes],
    [77, "web.shop.svc.cluster.local", "A", true, false, 512],
  );
});

test("EDNS says how large an answer may be; more than what passes every network is not used", () => {
  assert.equal(read(query("x", "A", 1000)).udpBytes, 1000);
  assert.equal(read(query("x", "A", 65_000)).udpBytes, 1232);
  assert.equal(read(query("x", "A", 100)).udpBytes, 512);
});

test("answers are ignored, other operations refused, broken packets are format errors", () => {
  assert.equal(readQuery(packet.encode({ type: "response", id: 1, questions: [{ name: "x", type: "A" }] })), "ignore");
  assert.equal(readQuery(Buffer.from("short")), "ignore");
  const update = query("x");
  update[2] = 5 << 3;
  assert.equal(readQuery(update), "NOTIMP");
  assert.equal(readQuery(query("x").subarray(0, 14)), "FORMERR");
  assert.equal(readQuery(packet.encode({ type: "query", id: 1, questions: [] })), "FORMERR");
});

test("no packet makes the reader throw or hang", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (array, asQuery) => {
      const bytes = Buffer.from(array);
      // Make it look like a question often enough to come past the first checks.
      if (asQuery && bytes.length >= 12) Buffer.from([0, 1, 1, 0, 0, 1]).copy(bytes);
      readQuery(bytes);
    }),
  );
});

test("an answer repeats id and question, and other programs can read it", () => {
  const asked = read(query("Web.Shop", "A", 1232));
  const written = writeAnswer(asked, answer([a("web.shop", "10.43.0.7")]), 1232);
  const decoded = packet.decode(written);
  assert.equal(decoded.id, 77);
  assert.equal(decoded.questions![0]!.name, "Web.Shop");
  assert.equal(decoded.flag_aa && decoded.flag_rd && decoded.flag_ra && !decoded.flag_tc, true);
  // The name is a pointer to the question's, so the client gets it as it asked for it.
  assert.deepEqual(
    decoded.answers!.map((r) => [r.name, r.type === "A" && r.data]),
    [["Web.Shop", "10.43.0.7"]],
  );
  assert.equal(decoded.additionals![0]!.type, "OPT");
});

test("what does not fit is left out and marked; additional records are left out without a mark", () => {
  const asked = read(query("web"));
  const many = Array.from({ length: 100 }, (_, i) => a("web", `10.42.0.${i + 1}`));
  const cut = writeAnswer(asked, answer(many), 512);
  assert.ok(cut.length <= 512);
  const decoded = packet.decode(cut);
  assert.equal(decoded.flag_tc, true);
  assert.equal(decoded.answers!.length, Math.floor((512 - 12 - 9) / 16));

  const fits = writeAnswer(asked, answer(many.slice(0, 3), { additionals: many }), 512);
  assert.equal(packet.decode(fits).flag_tc, false);
  assert.equal(packet.decode(fits).answers!.length, 3);
});

test("the shortest time to live is found; a negative answer's is in its SOA; EDNS has none", () => {
  const soa = { mname: "a", rname: "b", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 7 };
  const asked = read(query("web", "A", 1232));
  const written = writeAnswer(
    asked,
    answer([
      { ...a("web", "10.0.0.1"), ttl: 60 },
      { ...a("web", "10.0.0.2"), ttl: 30 },
    ]),
    1232,
  );
  assert.equal(timesToLive(written).shortest, 30);
  assert.equal(timesToLive(written).offsets.length, 2);
  const negative = answer([], { code: "NXDOMAIN", authorities: [{ name: "x", type: "SOA", ttl: 100, data: soa }] });
  assert.equal(timesToLive(writeAnswer(asked, negative, 1232)).shortest, 7);
  assert.equal(timesToLive(writeAnswer(asked, answer([]), 1232)).shortest, undefined);
});
