import { EventEmitter } from "node:events";
import { Duplex } from "node:stream";
import { SpdyDecoder, SpdyEncoder, type SpdyFrame, type SpdyHeaders } from "./spdy-frames.ts";

/** Largest data frame that is sent, bytes. */
const frameBytes = 32 * 1024;

/**
 * How much of one stream is held for a slow reader before the whole connection waits, bytes. SPDY as Go speaks it has
 * no windows, so a connection is the smallest thing that can be held up.
 */
const heldBytes = 1024 * 1024;

const statusCancel = 5;

interface SessionEvents {
  /** The peer opened a stream; answer with `reply` or `destroy`. */
  stream: [stream: SpdyStream];
  /** The connection is over; all streams are, too. */
  close: [error: Error | undefined];
}

/** A SPDY/3.1 connection over any byte stream, as either end. */
export class SpdySession extends EventEmitter<SessionEvents> {
  readonly #transport: Duplex;
  readonly #encoder = new SpdyEncoder();
  readonly #decoder = new SpdyDecoder();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #full = new Set<SpdyStream>();
  #nextId: number;
  #lastPeerId = 0;
  #closed = false;

  /** `head` is what was read from `transport` behind the upgrade already. */
  constructor(transport: Duplex, options: { readonly role: "client" | "server"; readonly head?: Buffer }) {
    super();
    this.#transport = transport;
    this.#nextId = options.role === "client" ? 1 : 2;
    transport.on("data", (piece: Buffer) => this.#read(piece));
    transport.on("end", () => this.#finish(undefined));
    transport.on("close", () => this.#finish(undefined));
    transport.on("error", (error) => this.#finish(error));
    if (options.head && options.head.length > 0) queueMicrotask(() => this.#read(options.head!));
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Opens a stream. Its `replied` resolves when the peer accepted it. */
  open(headers: SpdyHeaders, options: { readonly fin?: boolean } = {}): SpdyStream {
    if (this.#closed) throw new Error("Opening a SPDY stream: the connection is closed");
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = this.#add(id, headers);
    this._send(this.#encoder.synStream(id, headers, options.fin));
    if (options.fin) stream.end();
    return stream;
  }

  /** Says goodbye and ends the connection once everything written is out. */
  end(): void {
    if (this.#closed) return;
    this._send(this.#encoder.goaway(this.#lastPeerId, 0));
    this.#transport.end();
  }

  /** Cuts the connection. */
  destroy(error?: Error): void {
    this.#finish(error);
  }

  #add(id: number, headers: SpdyHeaders): SpdyStream {
    const stream = new SpdyStream(this, this.#encoder, id, headers);
    this.#streams.set(id, stream);
    stream.once("close", () => {
      this.#streams.delete(id);
      this._hasRoom(stream);
    });
    return stream;
  }

  #read(piece: Buffer): void {
    if (this.#closed) return;
    try {
      for (const frame of this.#decoder.push(piece)) this.#handle(frame);
    } catch (error) {
      this.#finish(error as Error);
    }
  }

  #handle(frame: SpdyFrame): void {
    switch (frame.type) {
      case "syn-stream": {
        this.#lastPeerId = frame.streamId;
        const stream = this.#add(frame.streamId, frame.headers);
        if (frame.fin) stream._receive(undefined, true);
        this.emit("stream", stream);
        return;
      }
      case "syn-reply": {
        const stream = this.#streams.get(frame.streamId);
        stream?._accepted();
        if (frame.fin) stream?._receive(undefined, true);
        return;
      }
      case "data": {
        const stream = this.#streams.get(frame.streamId);
        if (stream && !stream._receive(frame.data, frame.fin)) this.#isFull(stream);
        return;
      }
      case "rst-stream":
        this.#streams.get(frame.streamId)?._reset(frame.status);
        return;
      case "ping":
        // The peer's own pings (its ids have its parity) go back as they came.
        if (frame.id % 2 !== this.#nextId % 2) this._send(this.#encoder.ping(frame.id));
        return;
      default:
        return;
    }
  }

  #isFull(stream: SpdyStream): void {
    this.#full.add(stream);
    this.#transport.pause();
  }

  /** @internal A stream that held the connection up was read. */
  _hasRoom(stream: SpdyStream): void {
    if (this.#full.delete(stream) && this.#full.size === 0 && !this.#closed) this.#transport.resume();
  }

  /** @internal Writes bytes; `done` when the transport took them. */
  _send(bytes: Buffer, done?: (error?: Error | null) => void): void {
    if (this.#closed || this.#transport.destroyed || this.#transport.writableEnded) {
      done?.(new Error("Writing to a SPDY stream: the connection is closed"));
      return;
    }
    this.#transport.write(bytes, (error) => done?.(error ?? null));
  }

  #finish(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const stream of this.#streams.values()) stream._connectionLost(error);
    this.#transport.destroy();
    this.emit("close", error);
  }
}

/** One stream of a connection. */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: SpdyHeaders;
  /** Resolves when the peer accepted the stream, rejects when it refused it or the connection ended first. */
  readonly replied: Promise<void>;
  readonly #session: SpdySession;
  readonly #encoder: SpdyEncoder;
  readonly #reply = Promise.withResolvers<void>();
  #receivedEnd = false;
  #isAccepted = false;
  #reset = false;

  constructor(session: SpdySession, encoder: SpdyEncoder, id: number, headers: SpdyHeaders) {
    super({ allowHalfOpen: true, readableHighWaterMark: heldBytes, writableHighWaterMark: 2 * frameBytes });
    this.#session = session;
    this.#encoder = encoder;
    this.id = id;
    this.headers = headers;
    this.replied = this.#reply.promise;
    this.replied.catch(() => {});
  }

  /** Accepts a stream that the peer opened. */
  reply(headers: SpdyHeaders = {}): void {
    this.#session._send(this.#encoder.synReply(this.id, headers));
  }

  override _read(): void {
    this.#session._hasRoom(this);
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    for (let at = 0; at < chunk.length; at += frameBytes) {
      const piece = chunk.subarray(at, at + frameBytes);
      this.#session._send(this.#encoder.dataHead(this.id, piece.length, false));
      this.#session._send(piece, at + frameBytes >= chunk.length ? done : undefined);
    }
    if (chunk.length === 0) done();
  }

  override _final(done: (error?: Error | null) => void): void {
    // Ending a stream whose connection is gone, or that was reset, is no failure: there is nobody left to tell.
    if (this.#session.closed || this.#reset) done();
    else this.#session._send(this.#encoder.dataHead(this.id, 0, true), () => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const whole = this.#receivedEnd && this.writableFinished;
    if (!whole && !this.#reset && !this.#session.closed) {
      this.#session._send(this.#encoder.rstStream(this.id, statusCancel));
    }
    this.#reply.reject(error ?? new Error("The SPDY stream was closed before it was accepted"));
    done(error);
  }

  /** @internal */
  _accepted(): void {
    this.#isAccepted = true;
    this.#reply.resolve();
  }

  /** @internal False when the stream holds enough. */
  _receive(data: Buffer | undefined, fin: boolean): boolean {
    if (this.#receivedEnd || this.destroyed) return true;
    const room = data && data.length > 0 ? this.push(data) : true;
    if (fin) {
      this.#receivedEnd = true;
      this.push(null);
    }
    return room;
  }

  /** @internal */
  _reset(status: number): void {
    this.#reset = true;
    if (status === statusCancel && this.#isAccepted) {
      // Go's servers end streams this way, also the error stream right after the status of a command was written to it:
      // what came before the cancellation has to stay readable.
      if (!this.#receivedEnd) this.push(null);
      this.#receivedEnd = true;
      this.end();
      return;
    }
    this.#receivedEnd = true;
    // A peer that cancels after its end is done with a stream; one that cancels before breaks it.
    this.destroy(this.readableEnded ? undefined : new Error(`The SPDY stream was reset with status ${status}`));
  }

  /** @internal */
  _connectionLost(error: Error | undefined): void {
    if (this.#receivedEnd) {
      // All that the peer had to say is here: it can still be read.
      this.end();
      return;
    }
    this.#receivedEnd = true;
    if (error) this.destroy(error);
    else {
      this.push(null);
      this.end();
    }
    this.#reply.reject(error ?? new Error("The SPDY connection was closed before the stream was accepted"));
  }
}
