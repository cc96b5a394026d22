import { constants, inflateRawSync } from "node:zlib";

/** SPDY/3.1 frames, as far as Kubernetes' streams use them: no settings, no flow control (Go's side has none). */
export type SpdyFrame =
  | { readonly type: "syn-stream"; readonly streamId: number; readonly headers: SpdyHeaders; readonly fin: boolean }
  | { readonly type: "syn-reply"; readonly streamId: number; readonly headers: SpdyHeaders; readonly fin: boolean }
  | { readonly type: "headers"; readonly streamId: number; readonly headers: SpdyHeaders; readonly fin: boolean }
  | { readonly type: "data"; readonly streamId: number; readonly data: Buffer; readonly fin: boolean }
  | { readonly type: "rst-stream"; readonly streamId: number; readonly status: number }
  | { readonly type: "ping"; readonly id: number }
  | { readonly type: "goaway"; readonly lastStreamId: number; readonly status: number };

/** Lower-case names; several values of a name are joined by a NUL, as on the wire. */
export type SpdyHeaders = Readonly<Record<string, string>>;

const controlTypes = { synStream: 1, synReply: 2, rstStream: 3, ping: 6, goaway: 7, headers: 8 };
const finFlag = 1;

/** Largest control frame that is taken, bytes: headers of streams are a few hundred. */
const maxControlBytes = 256 * 1024;

/** How far a header block may refer back, bytes (deflate's window). */
const windowBytes = 32 * 1024;

/** Writes frames. Header blocks are one compressed stream a connection, so an encoder belongs to one connection. */
export class SpdyEncoder {
  #first = true;

  synStream(streamId: number, headers: SpdyHeaders, fin = false): Buffer {
    const head = Buffer.alloc(10);
    head.writeUInt32BE(streamId, 0);
    return this.#control(controlTypes.synStream, fin ? finFlag : 0, head, this.#headerBlock(headers));
  }

  synReply(streamId: number, headers: SpdyHeaders, fin = false): Buffer {
    return this.#control(controlTypes.synReply, fin ? finFlag : 0, uint32(streamId), this.#headerBlock(headers));
  }

  rstStream(streamId: number, status: number): Buffer {
    return this.#control(controlTypes.rstStream, 0, uint32(streamId), uint32(status));
  }

  ping(id: number): Buffer {
    return this.#control(controlTypes.ping, 0, uint32(id));
  }

  goaway(lastStreamId: number, status: number): Buffer {
    return this.#control(controlTypes.goaway, 0, uint32(lastStreamId), uint32(status));
  }

  /** The head of a data frame; its `length` bytes follow on the wire. */
  dataHead(streamId: number, length: number, fin: boolean): Buffer {
    const head = Buffer.allocUnsafe(8);
    head.writeUInt32BE(streamId & 0x7fffffff, 0);
    head.writeUInt32BE(length, 4);
    head[4] = fin ? finFlag : 0;
    return head;
  }

  #control(type: number, flags: number, ...parts: Buffer[]): Buffer {
    const body = Buffer.concat(parts);
    const head = Buffer.allocUnsafe(8);
    head.writeUInt16BE(0x8003, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt32BE(body.length, 4);
    head[4] = flags;
    return Buffer.concat([head, body]);
  }

  #headerBlock(headers: SpdyHeaders): Buffer {
    const entries = Object.entries(headers);
    const parts: Buffer[] = [uint32(entries.length)];
    for (const [name, value] of entries) {
      for (const text of [name.toLowerCase(), value]) {
        const bytes = Buffer.from(text);
        parts.push(uint32(bytes.length), bytes);
      }
    }
    const plain = Buffer.concat(parts);
    // Stored blocks need no dictionary and no state. The empty one at the end is a flush: without it Go's reader waits
    // for more.
    const blocks: Buffer[] = [];
    if (this.#first) blocks.push(Buffer.from([0x78, 0x01]));
    this.#first = false;
    for (let at = 0; at < plain.length; at += 0xffff) {
      const piece = plain.subarray(at, at + 0xffff);
      const head = Buffer.alloc(5);
      head.writeUInt16LE(piece.length, 1);
      head.writeUInt16LE(piece.length ^ 0xffff, 3);
      blocks.push(head, piece);
    }
    blocks.push(Buffer.from([0, 0, 0, 0xff, 0xff]));
    return Buffer.concat(blocks);
  }
}

/** Reads frames from pieces of any size. Throws for what is no SPDY/3.1; a decoder belongs to one connection. */
export class SpdyDecoder {
  #held: Buffer[] = [];
  #heldBytes = 0;
  #window: Buffer | undefined;

  /** The frames that are whole with this piece. Data of a frame is handed on as it comes, in parts. */
  *push(piece: Buffer): Generator<SpdyFrame> {
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    for (;;) {
      if (this.#rest) {
        // In the middle of a data frame: what is here goes on at once.
        if (this.#heldBytes === 0 && this.#rest.left > 0) return;
        const data = this.#take(Math.min(this.#rest.left, this.#heldBytes));
        this.#rest.left -= data.length;
        const { streamId, fin, left } = this.#rest;
        if (left === 0) this.#rest = undefined;
        yield { type: "data", streamId, data, fin: fin && left === 0 };
        continue;
      }
      if (this.#heldBytes < 8) return;
      const head = this.#peek(8);
      const length = head.readUIntBE(5, 3);
      if ((head[0]! & 0x80) === 0) {
        this.#take(8);
        this.#rest = { streamId: head.readUInt32BE(0), left: length, fin: (head[4]! & finFlag) !== 0 };
        continue;
      }
      if (head.readUInt16BE(0) !== 0x8003) throw new Error("Reading SPDY: not a frame of version 3");
      if (length > maxControlBytes) throw new Error(`Reading SPDY: a control frame of ${length} bytes is too large`);
      if (this.#heldBytes < 8 + length) return;
      this.#take(8);
      const frame = this.#control(head.readUInt16BE(2), head[4]!, this.#take(length));
      if (frame) yield frame;
    }
  }

  #rest: { streamId: number; left: number; fin: boolean } | undefined;

  #control(type: number, flags: number, body: Buffer): SpdyFrame | undefined {
    const fin = (flags & finFlag) !== 0;
    const number = (at: number) => body.readUInt32BE(at);
    switch (type) {
      case controlTypes.synStream:
        return { type: "syn-stream", streamId: number(0) & 0x7fffffff, headers: this.#headers(body.subarray(10)), fin };
      case controlTypes.synReply:
        return { type: "syn-reply", streamId: number(0) & 0x7fffffff, headers: this.#headers(body.subarray(4)), fin };
      case controlTypes.headers:
        return { type: "headers", streamId: number(0) & 0x7fffffff, headers: this.#headers(body.subarray(4)), fin };
      case controlTypes.rstStream:
        return { type: "rst-stream", streamId: number(0) & 0x7fffffff, status: number(4) };
      case controlTypes.ping:
        return { type: "ping", id: number(0) };
      case controlTypes.goaway:
        return { type: "goaway", lastStreamId: number(0) & 0x7fffffff, status: number(4) };
      default:
        // Settings and window updates say nothing to us.
        return undefined;
    }
  }

  #headers(block: Buffer): SpdyHeaders {
    let deflated = block;
    if (!this.#window) {
      this.#window = headerDictionary();
      // Only the first block has zlib's header, with the dictionary's checksum behind it when one is used.
      deflated = block.subarray((block[1] ?? 0) & 0x20 ? 6 : 2);
    }
    // One inflater for the whole connection would do, but only asynchronously; a block that ends with a flush can be
    // read alone when the inflater is told what came before.
    const plain = inflateRawSync(deflated, {
      dictionary: this.#window,
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: maxControlBytes,
    });
    this.#window = Buffer.concat([this.#window, plain]).subarray(-windowBytes);
    const headers: Record<string, string> = Object.create(null);
    let at = 4;
    const text = () => {
      const length = plain.readUInt32BE(at);
      at += 4 + length;
      if (at > plain.length) throw new Error("Reading SPDY: a header block is cut short");
      return plain.toString("utf8", at - length, at);
    };
    for (let left = plain.readUInt32BE(0); left > 0; left--) {
      const name = text();
      headers[name] = text();
    }
    return headers;
  }

  #peek(length: number): Buffer {
    if (this.#held[0]!.length < length) this.#held = [Buffer.concat(this.#held)];
    return this.#held[0]!.subarray(0, length);
  }

  #take(length: number): Buffer {
    this.#heldBytes -= length;
    if (length === 0) return Buffer.alloc(0);
    while (this.#held[0]!.length === 0) this.#held.shift();
    if (this.#held[0]!.length < length) this.#held = [Buffer.concat(this.#held)];
    const first = this.#held[0]!;
    if (first.length === length) this.#held.shift();
    else this.#held[0] = first.subarray(length);
    return first.subarray(0, length);
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

let dictionary: Buffer | undefined;

/** The dictionary that SPDY/3 gives to zlib: words with their lengths before them, then bare text. */
export function headerDictionary(): Buffer {
  if (dictionary) return dictionary;
  const words =
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,accept-ranges,age,allow," +
    "authorization,cache-control,connection,content-base,content-encoding,content-language,content-length," +
    "content-location,content-md5,content-range,content-type,date,etag,expect,expires,from,host,if-match," +
    "if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,max-forwards,pragma," +
    "proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade," +
    "user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,public,set-cookie," +
    "keep-alive,origin";
  const text =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505" +
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized" +
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable" +
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT" +
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain," +
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
  const parts = words.split(",").flatMap((word) => [uint32(word.length), Buffer.from(word)]);
  dictionary = Buffer.concat([...parts, Buffer.from(text)]);
  return dictionary;
}
