import { connect, type TLSSocket } from "node:tls";
import type { RawConnection, RawReply, RawRequest, RawTarget } from "./raw-connection.ts";

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const type = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const flag = { ack: 1, endStream: 1, endHeaders: 4 } as const;
const headerBytes = 9;
const windowMax = 2 ** 31 - 1;
const windowDefault = 65_535;
/** Received bytes after which the connection's window is opened again. */
const windowStep = 2 ** 29;

/** HTTP/2 with any number of streams. Rejects when the server cannot be reached. */
export function connectHttp2(target: RawTarget, onError: (error: Error) => void): Promise<RawConnection> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...target, ALPNProtocols: ["h2"] }, () => {
      socket.off("error", reject);
      resolve(new RawHttp2(socket, `${target.host}:${target.port}`, onError));
    });
    socket.once("error", reject);
  });
}

interface Stream {
  readonly reply: RawReply;
  ok: boolean;
  open: boolean;
}

class RawHttp2 implements RawConnection {
  readonly #socket: TLSSocket;
  readonly #authority: string;
  readonly #streams = new Map<number, Stream>();
  #nextId = 1;
  #outgoing: Buffer[] = [];
  /** What the connection may send; streams are short enough for theirs. */
  #window = windowDefault;
  readonly #waiting: (() => void)[] = [];
  #received = 0;
  #closed = false;

  /** The frame that is being read. */
  readonly #header = Buffer.alloc(headerBytes);
  #headerLength = 0;
  #left = 0;
  #payload: Buffer[] = [];

  constructor(socket: TLSSocket, authority: string, onError: (error: Error) => void) {
    this.#socket = socket;
    this.#authority = authority;
    socket.setNoDelay(true);
    const settings = Buffer.alloc(18);
    // Without a table of headers, replies can be read without state.
    settings.writeUInt16BE(1, 0);
    settings.writeUInt32BE(0, 2);
    settings.writeUInt16BE(2, 6);
    settings.writeUInt32BE(0, 8);
    settings.writeUInt16BE(4, 12);
    settings.writeUInt32BE(windowMax, 14);
    this.#write(Buffer.from(preface), frame(type.settings, 0, 0, settings));
    this.#openWindow(windowMax - windowDefault);
    socket.on("data", (bytes: Buffer) => {
      try {
        this.#take(bytes);
      } catch (error) {
        this.#closed = true;
        onError(error as Error);
        socket.destroy();
      }
    });
    socket.on("error", (error) => this.#closed || onError(error));
    socket.on("close", () => this.#closed || onError(new Error("the server closed an HTTP/2 connection")));
  }

  send(request: RawRequest, reply: RawReply): void {
    const body = request.body === undefined ? undefined : Buffer.from(request.body);
    if (body && body.length > this.#window) {
      this.#waiting.push(() => this.send(request, reply));
      return;
    }
    const id = this.#nextId;
    this.#nextId += 2;
    this.#streams.set(id, { reply, ok: false, open: false });
    const flags = flag.endHeaders | (body ? 0 : flag.endStream);
    const block = requestHeaders(request, this.#authority);
    if (!body) this.#write(frame(type.headers, flags, id, block));
    else {
      this.#window -= body.length;
      this.#write(frame(type.headers, flags, id, block), frame(type.data, flag.endStream, id, body));
    }
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  /** Joins what one turn of the loop sends. */
  #write(...pieces: Buffer[]): void {
    if (this.#outgoing.length === 0) {
      process.nextTick(() => {
        const all = this.#outgoing;
        this.#outgoing = [];
        this.#socket.write(all.length === 1 ? all[0]! : Buffer.concat(all));
      });
    }
    this.#outgoing.push(...pieces);
  }

  #openWindow(bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(bytes);
    this.#write(frame(type.windowUpdate, 0, 0, payload));
  }

  #take(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#headerLength < headerBytes) {
        const copied = bytes.copy(this.#header, this.#headerLength, at, at + headerBytes - this.#headerLength);
        this.#headerLength += copied;
        at += copied;
        if (this.#headerLength < headerBytes) return;
        this.#left = this.#header.readUIntBE(0, 3);
      }
      const piece = bytes.subarray(at, at + this.#left);
      at += piece.length;
      this.#left -= piece.length;
      if (this.#header[3] === type.data) {
        this.#received += piece.length;
        if (piece.length > 0) this.#streams.get(this.#streamId())?.reply.data?.(piece);
      } else if (this.#left > 0 || this.#payload.length > 0) this.#payload.push(piece);
      if (this.#left > 0) return;
      const payload = this.#payload.length > 0 ? Buffer.concat(this.#payload) : piece;
      this.#payload = [];
      this.#headerLength = 0;
      this.#frame(payload);
    }
    if (this.#received < windowStep) return;
    this.#openWindow(this.#received);
    this.#received = 0;
  }

  #streamId(): number {
    return this.#header.readUInt32BE(5) & windowMax;
  }

  #frame(payload: Buffer): void {
    const id = this.#streamId();
    const flags = this.#header[4]!;
    switch (this.#header[3]) {
      case type.headers: {
        const stream = this.#streams.get(id);
        if (!stream) break;
        if (!(flags & flag.endHeaders)) throw new Error("headers in more than one frame");
        // Trailers have no status.
        if (!stream.open) {
          stream.open = true;
          stream.ok = isOk(payload);
          stream.reply.open?.(stream.ok);
        }
        break;
      }
      case type.settings:
        if (!(flags & flag.ack)) this.#write(frame(type.settings, flag.ack, 0, Buffer.alloc(0)));
        break;
      case type.ping:
        if (!(flags & flag.ack)) this.#write(frame(type.ping, flag.ack, 0, Buffer.from(payload)));
        break;
      case type.windowUpdate:
        if (id !== 0) break;
        this.#window += payload.readUInt32BE(0);
        for (const send of this.#waiting.splice(0)) send();
        break;
      case type.reset:
      case type.goAway:
        throw new Error(`the server ended ${id === 0 ? "a connection" : "a stream"}: ${payload.toString("hex")}`);
    }
    const ends = this.#header[3] === type.data || this.#header[3] === type.headers;
    if (!ends || !(flags & flag.endStream)) return;
    const stream = this.#streams.get(id);
    this.#streams.delete(id);
    stream?.reply.end(stream.ok);
  }
}

function frame(kind: number, flags: number, id: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = kind;
  bytes[4] = flags;
  bytes.writeUInt32BE(id, 5);
  payload.copy(bytes, headerBytes);
  return bytes;
}

/** A header field without a place in the table: `name` is its number in HPACK's static one. */
function field(name: number, value: string): string {
  const code = name < 15 ? String.fromCharCode(name) : String.fromCharCode(15, name - 15);
  const { length } = value;
  const size = length < 127 ? String.fromCharCode(length) : String.fromCharCode(127, (length - 127) | 0);
  if (length - 127 > 127) throw new Error("a header is too long for this client");
  return code + size + value;
}

const methods = { GET: "\x82", POST: "\x83", PUT: field(2, "PUT") } as const;

function requestHeaders({ method, path, body }: RawRequest, authority: string): Buffer {
  const contentType = body === undefined ? "" : field(31, "application/json");
  const more = field(1, authority) + field(19, "application/json") + field(58, "bench") + contentType;
  return Buffer.from(`${methods[method]}\x87${field(4, path)}${more}`, "latin1");
}

/** Whether a block of reply headers begins with a status of 2xx. */
function isOk(block: Buffer): boolean {
  let at = 0;
  // Changes of the table's size come first.
  while ((block[at]! & 0xe0) === 0x20) at++;
  const first = block[at]!;
  if (first & 0x80) return first >= 0x88 && first <= 0x8a;
  const length = block[at + 1]!;
  // "2" as it is, or in Huffman's code: the five bits 00010.
  return length & 0x80 ? block[at + 2]! >> 3 === 2 : block[at + 2] === 0x32;
}
