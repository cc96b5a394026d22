/**
 * How HTTP/2 writes header fields (HPACK, RFC 7541). What we read was written without a table of earlier fields: we allow
 * the peer none, so that each block can be read by itself.
 */

export type Field = readonly [name: string, value: string];

/** Header fields by their names. */
export type Headers = ReadonlyMap<string, string>;

/** Fields that have a number by themselves: those with values first, and in this order. */
const staticFields: readonly Field[] = [
  ...[":authority", ":method=GET", ":method=POST", ":path=/", ":path=/index.html", ":scheme=http", ":scheme=https"],
  ...["200", "204", "206", "304", "400", "404", "500"].map((code) => `:status=${code}`),
  ...["accept-charset", "accept-encoding=gzip, deflate", "accept-language", "accept-ranges", "accept"],
  ...["access-control-allow-origin", "age", "allow", "authorization", "cache-control", "content-disposition"],
  ...["content-encoding", "content-language", "content-length", "content-location", "content-range", "content-type"],
  ...["cookie", "date", "etag", "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match"],
  ...["if-range", "if-unmodified-since", "last-modified", "link", "location", "max-forwards", "proxy-authenticate"],
  ...["proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie"],
  ...["strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate"],
].map((field) => {
  const [name = "", value = ""] = field.split("=");
  return [name, value] as const;
});

/** What a field takes of a table beyond its letters. */
const fieldBytes = 32;
/** The table that a peer keeps for us unless it says otherwise; a larger one is no use. */
export const defaultTableBytes = 4096;

/**
 * Writes blocks of fields for one peer. A field that comes again takes a byte: the peer remembers it in its table. What
 * does not fit into the table any more is written in full, and nothing ever leaves the table.
 */
export class HeaderWriter {
  readonly #numbers = new Map<string, number>();
  #limit = defaultTableBytes;
  #free = defaultTableBytes;
  #resized = false;

  /** The table that the peer allows from now on; what is in it is forgotten. */
  allowTable(bytes: number): void {
    const limit = Math.min(bytes, defaultTableBytes);
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#free = limit;
    this.#numbers.clear();
    this.#resized = true;
  }

  /** @param once fields that are not worth remembering, after the others */
  write(fields: readonly Field[], once: readonly Field[] = []): Buffer {
    const bytes: number[] = [];
    if (this.#resized) {
      writeInteger(bytes, 0x20, 5, 0);
      writeInteger(bytes, 0x20, 5, this.#limit);
      this.#resized = false;
    }
    for (const [name, value] of fields) {
      const field = `${name}\n${value}`;
      const number = this.#numbers.get(field);
      if (number !== undefined) {
        // The newest one has the lowest number.
        writeInteger(bytes, 0x80, 7, staticFields.length + this.#numbers.size - number);
        continue;
      }
      const size = fieldBytes + Buffer.byteLength(name) + Buffer.byteLength(value);
      if (size <= this.#free) {
        this.#free -= size;
        this.#numbers.set(field, this.#numbers.size);
        bytes.push(0x40);
      } else bytes.push(0);
      writeText(bytes, name);
      writeText(bytes, value);
    }
    for (const [name, value] of once) {
      bytes.push(0);
      writeText(bytes, name);
      writeText(bytes, value);
    }
    return Buffer.from(bytes);
  }
}

/** A number that begins in the lower bits of a byte; `first` is what stands in the others. */
function writeInteger(bytes: number[], first: number, bits: number, value: number): void {
  const most = (1 << bits) - 1;
  if (value < most) {
    bytes.push(first | value);
    return;
  }
  bytes.push(first | most);
  let rest = value - most;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
}

function writeText(bytes: number[], text: string): void {
  const encoded = Buffer.from(text);
  writeInteger(bytes, 0, 7, encoded.length);
  for (const byte of encoded) bytes.push(byte);
}

/** Reads a block that uses no table but the static one. Throws when it is none. */
export function readHeaders(block: Buffer): Headers {
  const headers = new Map<string, string>();
  const reader = new BlockReader(block);
  while (!reader.done) {
    const first = reader.peek();
    if (first & 0x80) {
      const [name, value] = staticField(reader.integer(7));
      headers.set(name, value);
    } else if ((first & 0xe0) === 0x20) {
      // The size of a table, which has none.
      reader.integer(5);
    } else {
      const number = reader.integer(first & 0x40 ? 6 : 4);
      const name = number === 0 ? reader.text() : staticField(number)[0];
      headers.set(name, reader.text());
    }
  }
  return headers;
}

function staticField(number: number): Field {
  const field = staticFields[number - 1];
  if (!field) throw new Error(`the server names header field ${number} of a table that it was not allowed`);
  return field;
}

class BlockReader {
  readonly #block: Buffer;
  #at = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get done(): boolean {
    return this.#at >= this.#block.length;
  }

  peek(): number {
    return this.#block[this.#at]!;
  }

  integer(bits: number): number {
    const most = (1 << bits) - 1;
    let value = this.#byte() & most;
    if (value < most) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      const next = this.#byte();
      value += (next & 0x7f) << shift;
      if (next < 0x80) return value;
    }
    throw new Error("a header of the server has a number that is too long");
  }

  text(): string {
    const packed = this.peek() & 0x80;
    const size = this.integer(7);
    const start = this.#at;
    this.#at += size;
    if (this.#at > this.#block.length) throw new Error("a header of the server ends too early");
    return packed ? unpack(this.#block, start, this.#at) : this.#block.toString("utf8", start, this.#at);
  }

  #byte(): number {
    if (this.done) throw new Error("a header of the server ends too early");
    return this.#block[this.#at++]!;
  }
}

/** How many bits each of the 256 bytes has in Huffman's code, to the base of 36. */
const codeLengths =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6" +
  "f56565666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq";

/** Of one length: the first code, and the bytes that have this one and those that follow. */
interface Codes {
  readonly first: number;
  readonly bytes: readonly number[];
}

let codesByLength: readonly Codes[] | undefined;

/** Shorter codes come first, and codes of a length follow each other in the order of their bytes. */
function makeCodes(): readonly Codes[] {
  const all: Codes[] = [];
  let next = 0;
  for (let length = 0; length <= 30; length++) {
    next *= 2;
    const bytes = Array.from({ length: 256 }, (_, byte) => byte).filter(
      (byte) => Number.parseInt(codeLengths[byte]!, 36) === length,
    );
    all.push({ first: next, bytes });
    next += bytes.length;
  }
  return all;
}

function unpack(block: Buffer, start: number, end: number): string {
  codesByLength ??= makeCodes();
  const bytes: number[] = [];
  let code = 0;
  let length = 0;
  for (let at = start; at < end; at++) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((block[at]! >> bit) & 1);
      const codes = codesByLength[++length];
      if (!codes) throw new Error("a header of the server is packed in a way that nobody knows");
      const byte = codes.bytes[code - codes.first];
      if (byte === undefined) continue;
      bytes.push(byte);
      code = 0;
      length = 0;
    }
  }
  // What is left of the last byte is filled with ones.
  return Buffer.from(bytes).toString();
}
