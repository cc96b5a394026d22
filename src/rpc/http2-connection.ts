import type { Socket } from "node:net";
import { type Field, HeaderWriter, readHeaders } from "./hpack.ts";
import {
  contentOf,
  defaultFrameBytes,
  defaultWindowBytes,
  frameFlag,
  frameType,
  Http2FrameReader,
  numberPayload,
  preface,
  readNumber,
  readSettings,
  resetCode,
  setting,
  settingsPayload,
  writeFrame,
} from "./http2-frames.ts";
import { type Http2Stream, StreamError, type StreamReader } from "./http2-stream.ts";

interface OpenStream {
  readonly id: number;
  readonly reader: StreamReader;
  /** What the server takes of it at the moment, in bytes. */
  window: number;
  /** What waits to be sent. */
  readonly waiting: Buffer[];
  /** Nothing follows what waits. */
  ended: boolean;
  /** Everything was sent. */
  sent: boolean;
  /** What was received and not yet allowed again. */
  received: number;
  paused: boolean;
}

interface HeaderBlock {
  readonly id: number;
  readonly flags: number;
  readonly pieces: Buffer[];
  bytes: number;
}

/** What may be under way to us unread, a stream and in all: the 64 KB of HTTP/2 slow down whatever is not next door. */
const streamWindowBytes = 4 * 1024 * 1024;
const connectionWindowBytes = 16 * 1024 * 1024;
const largestHeaderBytes = 256 * 1024;
/** A server that asks and does not read the answers must not take all memory. */
const mostUnreadBytes = 64 * 1024 * 1024;
const lastStreamId = 2 ** 31 - 1;
const nothing = Buffer.alloc(0);

/**
 * The client's end of an HTTP/2 connection, for many short calls: a stream is a few fields and not a Duplex, and all that
 * is sent in one turn of the loop goes out in one write. With node:http2 a write on etcd takes twice the processor.
 */
export class Http2Connection {
  readonly #socket: Socket;
  readonly #frames = new Http2FrameReader();
  readonly #headers = new HeaderWriter();
  readonly #streams = new Map<number, OpenStream>();
  /** Streams whose data waits for the server to take more. */
  readonly #blocked = new Set<OpenStream>();
  #nextId = 1;
  #outgoing: Buffer[] = [];
  #window = defaultWindowBytes;
  #received = 0;
  /** What the server said of itself. */
  #greeted = false;
  #mostStreams = Number.POSITIVE_INFINITY;
  #streamWindow = defaultWindowBytes;
  #frameBytes = defaultFrameBytes;
  /** Headers that come in several frames. */
  #block: HeaderBlock | undefined;
  #error: Error | undefined;
  #closed = false;
  #leaving = false;
  readonly #events: { readonly onRoom: () => void; readonly onPong: () => void; readonly onClose: () => void };

  /**
   * @param socket need not be connected yet
   * @param events.onRoom called when streams can be opened, or more of them; `onClose` once, after all readers
   */
  constructor(socket: Socket, events: { onRoom: () => void; onPong: () => void; onClose: () => void }) {
    this.#socket = socket;
    this.#events = events;
    socket.setNoDelay(true);
    const settings = settingsPayload([
      [setting.headerTableBytes, 0],
      [setting.enablePush, 0],
      [setting.streamWindowBytes, streamWindowBytes],
    ]);
    this.#write(preface, writeFrame(frameType.settings, 0, 0, settings));
    this.#allow(0, connectionWindowBytes - defaultWindowBytes);
    socket.on("data", (piece: Buffer) => {
      try {
        this.#frames.push(piece, (type, flags, id, payload) => this.#take(type, flags, id, payload));
      } catch (error) {
        this.destroy(error as Error);
      }
    });
    socket.on("error", (error) => {
      this.#error ??= error;
    });
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#onClose());
  }

  /** Whether streams may be opened here, now or when there is room. */
  get usable(): boolean {
    return !this.#closed && !this.#leaving && this.#nextId <= lastStreamId;
  }

  /** Whether a stream can be opened now: the server has said its first word, and takes one more. */
  get hasRoom(): boolean {
    return this.#greeted && this.usable && this.#streams.size < this.#mostStreams;
  }

  /** Streams that are open. */
  get size(): number {
    return this.#streams.size;
  }

  /** Why it broke, as far as that was told. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Sends a request; there has to be room. @param once fields that another request will hardly have */
  open(fields: readonly Field[], once: readonly Field[], reader: StreamReader): Http2Stream {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream: OpenStream = {
      ...{ id, reader, window: this.#streamWindow, waiting: [], ended: false, sent: false },
      ...{ received: 0, paused: false },
    };
    this.#streams.set(id, stream);
    this.#writeHeaders(id, this.#headers.write(fields, once));
    return {
      send: (bytes, end) => {
        stream.waiting.push(bytes);
        stream.ended ||= end;
        if (this.#streams.has(id)) this.#send(stream);
      },
      pause: () => {
        stream.paused = true;
      },
      resume: () => {
        stream.paused = false;
        this.#allowMore(stream);
      },
      cancel: () => {
        if (this.#streams.has(id)) this.#cancel(stream);
      },
    };
  }

  /** Asks the server for a sign of life. */
  ping(): void {
    this.#write(writeFrame(frameType.ping, 0, 0, Buffer.alloc(8)));
  }

  /** Ends it and all its streams, soon. */
  destroy(error?: Error): void {
    this.#error ??= error;
    this.#closed = true;
    this.#socket.destroy();
  }

  #onClose(): void {
    this.#closed = true;
    const error = this.#error;
    for (const stream of this.#streams.values())
      stream.reader.onClose(new StreamError(error?.message ?? "the connection was closed", { cause: error }));
    this.#streams.clear();
    this.#blocked.clear();
    this.#events.onClose();
  }

  /** Joins what one turn of the loop sends. */
  #write(...frames: Buffer[]): void {
    if (this.#outgoing.length === 0) setImmediate(() => this.#flush());
    this.#outgoing.push(...frames);
  }

  #flush(): void {
    const frames = this.#outgoing;
    this.#outgoing = [];
    if (!this.#socket.destroyed) this.#socket.write(Buffer.concat(frames));
  }

  #writeHeaders(id: number, block: Buffer): void {
    for (let at = 0; at === 0 || at < block.length; at += this.#frameBytes) {
      const isLast = at + this.#frameBytes >= block.length;
      const type = at === 0 ? frameType.headers : frameType.continuation;
      const piece = block.subarray(at, at + this.#frameBytes);
      this.#write(writeFrame(type, isLast ? frameFlag.endHeaders : 0, id, piece));
    }
  }

  /** Sends of a stream what the server takes now. */
  #send(stream: OpenStream): void {
    const { id, waiting } = stream;
    while (waiting.length > 0) {
      const [bytes] = waiting as [Buffer];
      const size = Math.max(0, Math.min(bytes.length, stream.window, this.#window, this.#frameBytes));
      // A frame without data, which may say that it is the last, needs no window.
      if (size === 0 && bytes.length > 0) {
        this.#blocked.add(stream);
        return;
      }
      if (size === bytes.length) waiting.shift();
      else waiting[0] = bytes.subarray(size);
      stream.sent = stream.ended && waiting.length === 0;
      stream.window -= size;
      this.#window -= size;
      this.#write(writeFrame(frameType.data, stream.sent ? frameFlag.endStream : 0, id, bytes.subarray(0, size)));
    }
    this.#blocked.delete(stream);
  }

  #cancel(stream: OpenStream): void {
    this.#write(writeFrame(frameType.reset, 0, stream.id, numberPayload(resetCode.cancel)));
    this.#remove(stream);
  }

  #remove(stream: OpenStream): void {
    this.#streams.delete(stream.id);
    this.#blocked.delete(stream);
    if (this.#streams.size === 0 && !this.usable) this.#socket.destroySoon();
    else if (this.#streams.size < this.#mostStreams) this.#events.onRoom();
  }

  #close(stream: OpenStream, error?: StreamError): void {
    // The server has said all, and need not hear the rest.
    if (!error && !stream.sent) this.#cancel(stream);
    else this.#remove(stream);
    stream.reader.onClose(error);
  }

  /** Lets the server send so much more. */
  #allow(id: number, bytes: number): void {
    this.#write(writeFrame(frameType.windowUpdate, 0, id, numberPayload(bytes)));
  }

  #allowMore(stream: OpenStream): void {
    if (stream.paused || stream.received < streamWindowBytes / 2 || !this.#streams.has(stream.id)) return;
    this.#allow(stream.id, stream.received);
    stream.received = 0;
  }

  #take(type: number, flags: number, id: number, payload: Buffer): void {
    if (this.#closed) return;
    if (!this.#greeted && type !== frameType.settings) throw new Error("the server does not speak HTTP/2");
    if (this.#block && (type !== frameType.continuation || id !== this.#block.id))
      throw new Error("the server cut its headers off");
    if (type === frameType.data) this.#onData(flags, id, payload);
    else if (type === frameType.headers)
      this.#onBlock({ id, flags, pieces: [], bytes: 0 }, flags, contentOf(flags, payload));
    else if (type === frameType.continuation) this.#onContinuation(flags, payload);
    else if (type === frameType.reset) this.#onReset(id, payload.readUInt32BE(0));
    else if (type === frameType.settings) this.#onSettings(flags, payload);
    else if (type === frameType.ping) this.#onPing(flags, payload);
    else if (type === frameType.goAway) this.#onGoAway(readNumber(payload), payload.readUInt32BE(4));
    else if (type === frameType.windowUpdate) this.#onWindow(id, readNumber(payload));
    else if (type === frameType.pushPromise) throw new Error("the server pushes, which it was not allowed");
  }

  #onPing(flags: number, payload: Buffer): void {
    if (flags & frameFlag.ack) this.#events.onPong();
    else this.#acknowledge(frameType.ping, payload);
  }

  #acknowledge(type: number, payload: Buffer): void {
    if (this.#socket.writableLength > mostUnreadBytes) throw new Error("the server does not read what it is sent");
    this.#write(writeFrame(type, frameFlag.ack, 0, payload));
  }

  #onReset(id: number, code: number): void {
    const stream = this.#streams.get(id);
    const unsent = code === resetCode.refused;
    if (stream) this.#close(stream, new StreamError(`the server ended the call (HTTP/2 code ${code})`, { unsent }));
  }

  #onContinuation(flags: number, payload: Buffer): void {
    if (!this.#block) throw new Error("the server goes on with headers that it did not begin");
    this.#onBlock(this.#block, flags, payload);
  }

  #onData(flags: number, id: number, payload: Buffer): void {
    // A slow reader holds up its own stream only.
    this.#received += payload.length;
    if (this.#received >= connectionWindowBytes / 2) {
      this.#allow(0, this.#received);
      this.#received = 0;
    }
    const stream = this.#streams.get(id);
    if (!stream) return;
    stream.received += payload.length;
    if (stream.received > streamWindowBytes) throw new Error("the server sends more than it was allowed");
    stream.reader.onData(contentOf(flags & ~frameFlag.priority, payload));
    if (flags & frameFlag.endStream) this.#onEnd(id);
    else this.#allowMore(stream);
  }

  #onBlock(block: HeaderBlock, flags: number, piece: Buffer): void {
    const complete = (flags & frameFlag.endHeaders) !== 0;
    this.#block = complete ? undefined : block;
    block.bytes += piece.length;
    if (block.bytes > largestHeaderBytes) throw new Error(`the server's headers are larger than ${largestHeaderBytes}`);
    block.pieces.push(complete ? piece : Buffer.from(piece));
    if (!complete) return;
    const { id } = block;
    const bytes = block.pieces.length === 1 ? piece : Buffer.concat(block.pieces);
    this.#streams.get(id)?.reader.onHeaders(readHeaders(bytes));
    if (block.flags & frameFlag.endStream) this.#onEnd(id);
  }

  /** The server has sent all of a stream, whose reader may have cancelled it. */
  #onEnd(id: number): void {
    const stream = this.#streams.get(id);
    if (stream) this.#close(stream);
  }

  #onSettings(flags: number, payload: Buffer): void {
    if (flags & frameFlag.ack) return;
    for (const [name, value] of readSettings(payload)) {
      if (name === setting.headerTableBytes) this.#headers.allowTable(value);
      else if (name === setting.mostStreams) this.#mostStreams = value;
      else if (name === setting.largestFrameBytes) this.#frameBytes = Math.max(defaultFrameBytes, value);
      else if (name === setting.streamWindowBytes) {
        for (const stream of this.#streams.values()) stream.window += value - this.#streamWindow;
        this.#streamWindow = value;
      }
    }
    this.#acknowledge(frameType.settings, nothing);
    this.#greeted = true;
    for (const stream of [...this.#blocked]) this.#send(stream);
    this.#events.onRoom();
  }

  /** The server takes no more streams, and has not looked at those after the last one that it names. */
  #onGoAway(last: number, code: number): void {
    this.#leaving = true;
    for (const stream of [...this.#streams.values()]) {
      if (stream.id <= last) continue;
      this.#close(stream, new StreamError(`the server takes no more calls (HTTP/2 code ${code})`, { unsent: true }));
    }
    if (this.#streams.size === 0) this.#socket.destroy();
    this.#events.onRoom();
  }

  #onWindow(id: number, bytes: number): void {
    if (id === 0) {
      this.#window += bytes;
      for (const stream of [...this.#blocked]) this.#send(stream);
      return;
    }
    const stream = this.#streams.get(id);
    if (!stream) return;
    stream.window += bytes;
    if (this.#blocked.has(stream)) this.#send(stream);
  }
}
