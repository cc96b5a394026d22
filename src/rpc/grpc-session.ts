import { createConnection, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { Clock, Timer } from "../machinery/clock.ts";
import type { Field } from "./hpack.ts";
import { Http2Connection } from "./http2-connection.ts";
import type { Http2Stream, StreamReader } from "./http2-stream.ts";

/** Where the server is: a unix socket, or an address with TLS (or without, for tests on loopback). */
export type GrpcTarget =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number; readonly tls?: ConnectionOptions };

export interface SessionOptions {
  /** A connection that does not come about in this time is given up. Absent: the system decides, after minutes. */
  readonly connectTimeoutMs?: number;
  /**
   * While calls are open the server is asked for a sign of life this often, and has as long to give it; a connection that
   * says nothing is closed, and its calls fail. gRPC servers refuse to be asked more than once in 5 s.
   */
  readonly keepAliveMs?: number;
}

/** One HTTP/2 connection to a gRPC server. */
export class GrpcSession {
  readonly #connection: Http2Connection;
  readonly #clock: Clock;
  readonly #keepAliveMs: number | undefined;
  /** The same for every call. */
  readonly #fields: readonly Field[];
  readonly #late: Timer | undefined;
  #interval: Timer | undefined;
  /** Runs while a sign of life is awaited. */
  #silence: Timer | undefined;
  #greeted = false;
  /** Calls that wait for the server's first word, or for others to end. */
  #waiting: { readonly begin: () => void; readonly fail: (error: Error | undefined) => void }[] = [];

  constructor(target: GrpcTarget, clock: Clock, options: SessionOptions) {
    this.#clock = clock;
    this.#keepAliveMs = options.keepAliveMs;
    this.#fields = [
      [":method", "POST"],
      [":scheme", "tls" in target && target.tls ? "https" : "http"],
      [":authority", authorityOf(target)],
      ["content-type", "application/grpc"],
      ["te", "trailers"],
    ];
    this.#connection = new Http2Connection(connectTo(target), {
      onRoom: () => this.#onRoom(),
      onPong: () => this.#onPong(),
      onClose: () => this.#onClose(),
    });
    const { connectTimeoutMs } = options;
    if (connectTimeoutMs !== undefined)
      this.#late = clock.after(connectTimeoutMs, () => this.destroy(`no connection after ${connectTimeoutMs} ms`));
  }

  /** Whether calls can begin here. */
  get usable(): boolean {
    return this.#connection.usable;
  }

  /**
   * Calls `begin`, in which a request can be made, when the server has said its first word: what is sent before may reach
   * nobody, a proxy for example, and would count as sent. Calls `fail` when that does not come.
   */
  whenReady(begin: () => void, fail: (error: Error | undefined) => void): void {
    if (this.#waiting.length === 0 && this.#connection.hasRoom) begin();
    else this.#waiting.push({ begin, fail });
  }

  /** Sends the headers of a call. @param once fields that another call will hardly have */
  request(path: string, metadata: readonly Field[], once: readonly Field[], reader: StreamReader): Http2Stream {
    // Those with a colon come first.
    const stream = this.#connection.open([[":path", path], ...this.#fields, ...metadata], once, reader);
    this.#keepAlive();
    return stream;
  }

  /** Ends the connection and every call on it. */
  destroy(reason?: string): void {
    this.#connection.destroy(reason === undefined ? undefined : new Error(reason));
  }

  /** Asks for a sign of life, and ends the connection when there is none in this time. One question at a time. */
  probe(patienceMs: number): void {
    if (this.#silence || !this.usable) return;
    this.#interval?.cancel();
    this.#interval = undefined;
    this.#silence = this.#clock.after(patienceMs, () =>
      this.destroy(`the server gave no sign of life for ${patienceMs} ms`),
    );
    this.#connection.ping();
  }

  #keepAlive(): void {
    const everyMs = this.#keepAliveMs;
    if (everyMs === undefined || this.#interval || this.#silence) return;
    this.#interval = this.#clock.after(everyMs, () => {
      this.#interval = undefined;
      if (this.#connection.size > 0) this.probe(everyMs);
    });
  }

  #onRoom(): void {
    if (!this.#greeted) {
      this.#greeted = true;
      this.#late?.cancel();
    }
    // A call that was given up meanwhile takes no room.
    while (this.#connection.hasRoom && this.#waiting.length > 0) this.#waiting.shift()!.begin();
    if (!this.usable) this.#failWaiting();
  }

  #onPong(): void {
    this.#silence?.cancel();
    this.#silence = undefined;
    if (this.#connection.size > 0) this.#keepAlive();
  }

  #onClose(): void {
    for (const timer of [this.#late, this.#interval, this.#silence]) timer?.cancel();
    this.#failWaiting();
  }

  #failWaiting(): void {
    for (const { fail } of this.#waiting.splice(0)) fail(this.#connection.error);
  }
}

function connectTo(target: GrpcTarget): Socket {
  if ("socketPath" in target) return createConnection({ path: target.socketPath });
  const { host, port, tls } = target;
  if (!tls) return createConnection({ host, port });
  // An address cannot be asked for by name in the handshake; it is still checked against the certificate.
  return connectTls({ host, port, ALPNProtocols: ["h2"], ...(isIP(host) ? {} : { servername: host }), ...tls });
}

function authorityOf(target: GrpcTarget): string {
  if ("socketPath" in target) return "localhost";
  const host = target.host.includes(":") ? `[${target.host}]` : target.host;
  return `${host}:${target.port}`;
}
