import * as http2 from "node:http2";
import type { Clock, Timer } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import { ConnectionError } from "./connection-error.ts";

/** A value, or where to get its present form at each new connection (rotation). */
export type Source<T> = T | (() => T | Promise<T>);

export interface ConnectionOptions {
  /** "https://host:port". */
  readonly server: string;
  /** PEM of the only authorities that are trusted; absent: the system's. */
  readonly ca?: Source<string | Buffer | undefined>;
  readonly cert?: Source<string | Buffer | undefined>;
  readonly key?: Source<string | Buffer | undefined>;
  /** Name that the server's certificate must carry, when it is not the host of `server`. */
  readonly serverName?: string;
  /** Accept any server certificate. Only for kubeconfigs that ask for it. */
  readonly insecureSkipTlsVerify?: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** As client-go: a connection that is silent this long is asked for a sign of life … */
const pingIntervalMs = 30_000;
/** … and given up when none comes. */
const pingTimeoutMs = 15_000;
const connectTimeoutMs = 30_000;
const windowBytes = 1 << 20;

export async function resolveSource<T>(source: Source<T> | undefined): Promise<T | undefined> {
  return typeof source === "function" ? (source as () => T | Promise<T>)() : source;
}

/**
 * One HTTP/2 connection to a server, made when first needed and again after it is lost. A peer that went away without
 * a word is found by pings, so that watches on it end instead of waiting for ever.
 */
export class Http2Connection {
  readonly #options: ConnectionOptions;
  #session: http2.ClientHttp2Session | undefined;
  #connecting: Promise<http2.ClientHttp2Session> | undefined;
  #closed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Opens a stream. Rejects with {@link ConnectionError} (`notSent`) when no connection can be made. */
  async request(headers: http2.OutgoingHttpHeaders, hasBody: boolean): Promise<http2.ClientHttp2Stream> {
    for (let attempt = 0; ; attempt++) {
      const session = await this.#open();
      try {
        return session.request(headers, { endStream: !hasBody });
      } catch (error) {
        // The session was closed between `#open` and here (GOAWAY): nothing was sent, so a new one may be used.
        this.#forget(session);
        if (attempt >= 2) throw this.#failure(error);
      }
    }
  }

  /** Uses a new connection, and so new credentials, from the next request on; running requests finish on the old one. */
  renew(): void {
    const session = this.#session;
    if (!session) return;
    this.#forget(session);
    session.close();
  }

  close(): void {
    this.#closed = true;
    this.#session?.destroy();
    this.#session = undefined;
  }

  #failure(cause: unknown): ConnectionError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new ConnectionError(`connect to ${this.#options.server}: ${reason}`, { cause, notSent: true });
  }

  #forget(session: http2.ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  #open(): Promise<http2.ClientHttp2Session> {
    if (this.#closed) return Promise.reject(new ConnectionError("the client is closed", { notSent: true }));
    const session = this.#session;
    if (session && !session.closed && !session.destroyed) return Promise.resolve(session);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(): Promise<http2.ClientHttp2Session> {
    const { server, clock, logger, serverName, insecureSkipTlsVerify } = this.#options;
    const [ca, cert, key] = await Promise.all([
      resolveSource(this.#options.ca),
      resolveSource(this.#options.cert),
      resolveSource(this.#options.key),
    ]);
    const session = http2.connect(server, {
      ...(ca ? { ca } : {}),
      ...(cert && key ? { cert, key } : {}),
      ...(serverName ? { servername: serverName } : {}),
      rejectUnauthorized: !insecureSkipTlsVerify,
      ALPNProtocols: ["h2"],
      settings: { enablePush: false, initialWindowSize: windowBytes },
      // A client with many watches keeps more state than Node's default of 10 MB allows.
      maxSessionMemory: 100,
    });
    await new Promise<void>((resolve, reject) => {
      const timer = clock.after(connectTimeoutMs, () => session.destroy(new Error("the connection timed out")));
      const fail = (error: unknown) => {
        timer.cancel();
        reject(this.#failure(error));
      };
      session.once("error", fail);
      session.once("close", () => fail(new Error("the connection was closed")));
      session.once("connect", (_, socket) => {
        timer.cancel();
        // The session only half-closes it, and a server that waits for the other half would keep this process alive.
        session.once("close", () => socket.destroy());
        resolve();
      });
    });
    session.removeAllListeners("error");
    session.on("error", (error) => logger.debug({ server, error: error.message }, "Connection to the server failed"));
    session.on("goaway", () => this.#forget(session));
    if (session.destroyed) throw this.#failure(new Error("the connection was closed"));
    session.setLocalWindowSize(4 * windowBytes);
    const pings = this.#pings(session);
    session.once("close", () => {
      pings.cancel();
      this.#forget(session);
    });
    if (this.#closed) {
      session.destroy();
      throw new ConnectionError("the client is closed", { notSent: true });
    }
    this.#session = session;
    return session;
  }

  #pings(session: http2.ClientHttp2Session): Timer {
    const { clock, logger, server } = this.#options;
    let timer: Timer;
    const arm = () => {
      timer = clock.after(pingIntervalMs, () => {
        if (session.destroyed) return;
        timer = clock.after(pingTimeoutMs, () => {
          logger.warn({ server }, "Server does not answer pings; the connection is given up");
          session.destroy(new Error("the server does not answer pings"));
        });
        try {
          session.ping((error) => {
            timer.cancel();
            if (!error) arm();
          });
        } catch (error) {
          timer.cancel();
          session.destroy(error as Error);
        }
      });
    };
    arm();
    return { cancel: () => timer.cancel() };
  }
}
