import packet from "dns-packet";
import type { DnsAnswer, DnsRecord, ResponseCode } from "./record.ts";

/** A question as it came in. */
export interface DnsQuery {
  readonly id: number;
  /** Lower case, without the final dot; "" is the root. */
  readonly name: string;
  /** "A", "SRV", …; "UNKNOWN_65" for types that have no name here. */
  readonly type: string;
  /** "IN" for all that is answered. */
  readonly class: string;
  readonly recursionDesired: boolean;
  readonly query: boolean;
  /** Largest answer over UDP that the client takes, in bytes. */
  readonly udpBytes: number;
  readonly edns: boolean;
  /** The bytes of the question section, which every answer repeats. */
  readonly question: Buffer;
}

/** Why a packet is no question that can be answered. */
export type DnsQueryError = "ignore" | "FORMERR" | "NOTIMP";

export const headerBytes = 12;
const classicUdpBytes = 512;
/** What passes every network without being cut into fragments (DNS flag day 2020). */
const safeUdpBytes = 1232;
/** Points to the name of the question, which stands right behind the header. */
const questionPointer = Buffer.from([0xc0, headerBytes]);

/** dns-packet's encoder of one record, which its types leave out. */
const recordEncoder = (packet as unknown as { answer: { encode(record: DnsRecord): Buffer } }).answer;

const codes: Record<ResponseCode, number> = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 };

/** Reads a packet; a word instead of a query says what is wrong with it. */
export function readQuery(bytes: Buffer): DnsQuery | DnsQueryError {
  // Answering an answer could go on for ever between two servers.
  if (bytes.length < headerBytes || (bytes[2]! & 0x80) !== 0) return "ignore";
  if ((bytes[2]! & 0x78) !== 0) return "NOTIMP";
  if (bytes.readUInt16BE(4) !== 1) return "FORMERR";
  try {
    const end = skipName(bytes, headerBytes) + 4;
    if (end > bytes.length) return "FORMERR";
    const { questions, additionals, id } = packet.decode(bytes);
    const question = questions?.[0];
    if (!question) return "FORMERR";
    const opt = additionals?.find((record) => record.type === "OPT") as { udpPayloadSize?: number } | undefined;
    const name = question.name.toLowerCase();
    return {
      id: id ?? 0,
      name: name === "." ? "" : name,
      type: question.type,
      class: question.class ?? "IN",
      recursionDesired: (bytes[2]! & 1) !== 0,
      query: true,
      edns: opt !== undefined,
      udpBytes: Math.max(classicUdpBytes, Math.min(opt?.udpPayloadSize ?? classicUdpBytes, safeUdpBytes)),
      question: bytes.subarray(headerBytes, end),
    };
  } catch {
    return "FORMERR";
  }
}

/** Offset behind the name at `offset`. Throws RangeError when it runs out of the packet. */
export function skipName(bytes: Buffer, offset: number): number {
  for (let at = offset; ; ) {
    const length = bytes.readUInt8(at);
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > 63) throw new RangeError("DNS name with a label of more than 63 bytes");
    at += length + 1;
  }
}

/**
 * Writes an answer. Over UDP what does not fit is left out and marked, so that the client asks again over TCP.
 * @param maxBytes the most that may be written
 */
export function writeAnswer(query: DnsQuery, answer: DnsAnswer, maxBytes: number): Buffer {
  const tail = query.edns ? [optRecord()] : [];
  let left = maxBytes - headerBytes - query.question.length - (tail[0]?.length ?? 0);
  let truncated = false;
  const take = (records: readonly DnsRecord[], needed: boolean): Buffer[] => {
    const taken: Buffer[] = [];
    for (const record of records) {
      const bytes = encodeRecord(record, query.name);
      if (bytes.length > left) {
        if (needed) truncated = true;
        break;
      }
      left -= bytes.length;
      taken.push(bytes);
    }
    return taken;
  };
  const answers = take(answer.answers, true);
  const authorities = take(answer.authorities, true);
  const additionals = [...take(answer.additionals, false), ...tail];

  const header = Buffer.alloc(headerBytes);
  header.writeUInt16BE(query.id, 0);
  header[2] = 0x80 | (answer.authoritative ? 4 : 0) | (truncated ? 2 : 0) | (query.recursionDesired ? 1 : 0);
  header[3] = 0x80 | codes[answer.code];
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(answers.length, 6);
  header.writeUInt16BE(authorities.length, 8);
  header.writeUInt16BE(additionals.length, 10);
  return Buffer.concat([header, query.question, ...answers, ...authorities, ...additionals]);
}

/** An answer without question or records, for packets that could not be read. */
export function writeError(bytes: Buffer, code: ResponseCode): Buffer {
  const header = Buffer.alloc(headerBytes);
  bytes.copy(header, 0, 0, 3);
  header[2] = 0x80 | (header[2]! & 0x79);
  header[3] = 0x80 | codes[code];
  return header;
}

/** A query for a name, for asking upstream on our own account. */
export function writeQuery(id: number, name: string, type: string): Buffer {
  return packet.encode({
    type: "query",
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ name, type: type as packet.RecordType }],
    additionals: [
      {
        type: "OPT",
        name: ".",
        udpPayloadSize: safeUdpBytes,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ],
  });
}

/** The records of an answer that came from upstream, as far as they are of kinds that are answered here. */
export function readAnswers(bytes: Buffer): DnsRecord[] {
  const { answers = [] } = packet.decode(bytes);
  return answers.flatMap((record) =>
    record.type === "A" || record.type === "AAAA" || record.type === "CNAME"
      ? [{ name: record.name, type: record.type, ttl: record.ttl ?? 0, data: record.data }]
      : [],
  );
}

/** Where the times to live stand in an answer, and the shortest of them in seconds; none without records. */
export function timesToLive(bytes: Buffer): { offsets: number[]; shortest: number | undefined } {
  const counts = [6, 8, 10].map((offset) => bytes.readUInt16BE(offset));
  let at = headerBytes;
  for (let i = bytes.readUInt16BE(4); i > 0; i--) at = skipName(bytes, at) + 4;
  const offsets: number[] = [];
  let shortest: number | undefined;
  for (let i = counts.reduce((sum, count) => sum + count, 0); i > 0; i--) {
    at = skipName(bytes, at);
    const type = bytes.readUInt16BE(at);
    const dataBytes = bytes.readUInt16BE(at + 8);
    // The field is something else in an OPT record.
    if (type !== 41) {
      let ttl = bytes.readUInt32BE(at + 4);
      // A negative answer lives as long as the last field of its SOA says (RFC 2308).
      if (type === 6) ttl = Math.min(ttl, bytes.readUInt32BE(at + 10 + dataBytes - 4));
      offsets.push(at + 4);
      shortest = shortest === undefined ? ttl : Math.min(shortest, ttl);
    }
    at += 10 + dataBytes;
  }
  if (at > bytes.length) throw new RangeError("DNS record runs out of its packet");
  return { offsets, shortest };
}

/** A record's bytes; its name shrinks to a pointer where it is the name of the question. */
function encodeRecord(record: DnsRecord, questionName: string): Buffer {
  const bytes = recordEncoder.encode(record);
  if (record.name.toLowerCase() !== questionName || questionName === "") return bytes;
  return Buffer.concat([questionPointer, bytes.subarray(skipName(bytes, 0))]);
}

function optRecord(): Buffer {
  const bytes = Buffer.alloc(11);
  bytes.writeUInt16BE(41, 1);
  bytes.writeUInt16BE(safeUdpBytes, 3);
  return bytes;
}
