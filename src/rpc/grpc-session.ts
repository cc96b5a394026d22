import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from "node:http2";
import { createConnection, isIP } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { Clock, Timer } from "../machinery/clock.ts";

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

/** What may be under way to us unread, a stream and in all: the 64 KB of HTTP/2 slow down whatever is not next door. */
const streamWindowBytes = 4 * 1024 * 1024;
const sessionWindowBytes = 16 * 1024 * 1024;

/** One HTTP/2 connection to a gRPC server. */
export class GrpcSession {
  readonly #session: ClientHttp2Session;
  readonly #clock: Clock;
  readonly #keepAliveMs: number | undefined;
  #open = 0;
  #interval: Timer | undefined;
  /** Runs while a sign of life is awaited. */
  #silence: Timer | undefined;
  #usable = true;
  #ready = false;
  #broken: Error | undefined;
  /** Calls that wait for the server's first word. */
  #waiting: { readonly begin: () => void; readonly fail: (error: Error | undefined) => void }[] = [];

  constructor(target: GrpcTarget, clock: Clock, options: SessionOptions) {
    this.#clock = clock;
    this.#keepAliveMs = options.keepAliveMs;
    const session = connect(authorityOf(target), {
      settings: { enablePush: false, initialWindowSize: streamWindowBytes },
      createConnection: () => {
        if ("socketPath" in target) return createConnection({ path: target.socketPath });
        const { host, port, tls } = target;
        if (!tls) return createConnection({ host, port, noDelay: true });
        // An address cannot be asked for by name in the handshake; it is still checked against the certificate.
        return connectTls({ host, port, ALPNProtocols: ["h2"], ...(isIP(host) ? {} : { servername: host }), ...tls });
      },
    });
    this.#session = session;
    const { connectTimeoutMs } = options;
    const late =
      connectTimeoutMs === undefined
        ? undefined
        : clock.after(connectTimeoutMs, () => this.destroy(`no connection after ${connectTimeoutMs} ms`));
    // The calls on the session report what broke; without a listener the process would end.
    session.on("error", (error) => {
      this.#usable = false;
      this.#broken = error;
    });
    session.on("goaway", () => {
      this.#usable = false;
    });
    session.on("close", () => {
      this.#usable = false;
      for (const timer of [late, this.#interval, this.#silence]) timer?.cancel();
      for (const { fail } of this.#waiting.splice(0)) fail(this.#broken);
    });
    session.once("connect", () => {
      // Node tells of a connection also when it was ended in the same moment.
      if (!session.destroyed) session.setLocalWindowSize(sessionWindowBytes);
    });
    session.once("remoteSettings", () => {
      late?.cancel();
      this.#ready = true;
      for (const { begin } of this.#waiting.splice(0)) begin();
    });
  }

  /** Whether calls can begin here. */
  get usable(): boolean {
    return this.#usable && !this.#session.closed && !this.#session.destroyed;
  }

  /**
   * Calls `begin`, in which requests can be made, when the server has said its first word: what is sent before may reach
   * nobody, a proxy for example, and would count as sent. Calls `fail` when that does not come.
   */
  whenReady(begin: () => void, fail: (error: Error | undefined) => void): void {
    if (this.#ready) begin();
    else this.#waiting.push({ begin, fail });
  }

  request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    const stream = this.#session.request(headers, { endStream: false });
    this.#open++;
    stream.once("close", () => this.#open--);
    this.#keepAlive();
    return stream;
  }

  /** Ends the connection and every call on it. */
  destroy(reason?: string): void {
    this.#session.destroy(reason === undefined ? undefined : new Error(reason));
  }

  /** Asks for a sign of life, and ends the connection when there is none in this time. One question at a time. */
  probe(patienceMs: number): void {
    const session = this.#session;
    if (this.#silence || session.destroyed) return;
    this.#interval?.cancel();
    this.#interval = undefined;
    this.#silence = this.#clock.after(patienceMs, () =>
      this.destroy(`the server gave no sign of life for ${patienceMs} ms`),
    );
    const ask = () =>
      session.ping(() => {
        this.#silence?.cancel();
        this.#silence = undefined;
        if (this.#open > 0) this.#keepAlive();
      });
    if (this.#ready) ask();
    else session.once("remoteSettings", ask);
  }

  #keepAlive(): void {
    const everyMs = this.#keepAliveMs;
    if (everyMs === undefined || this.#interval || this.#silence || this.#session.destroyed) return;
    this.#interval = this.#clock.after(everyMs, () => {
      this.#interval = undefined;
      if (this.#open > 0) this.probe(everyMs);
    });
  }
}

function authorityOf(target: GrpcTarget): string {
  if ("socketPath" in target) return "http://localhost";
  const host = target.host.includes(":") ? `[${target.host}]` : target.host;
  return `${target.tls ? "https" : "http"}://${host}:${target.port}`;
}
