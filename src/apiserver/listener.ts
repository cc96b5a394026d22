import type { IncomingMessage } from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, ioClock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import type { Incoming, Outgoing } from "./http/messages.ts";

export interface ListenerOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly tls: {
    readonly cert: string | Buffer;
    readonly key: string | Buffer;
    /** Authorities named to clients when their certificate is asked for. It is checked by the authenticators. */
    readonly ca?: string | Buffer;
  };
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly handle: (request: Incoming, response: Outgoing) => void;
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

export interface Listener {
  readonly port: number;
  /** New connections get this certificate. */
  renew(tls: ListenerOptions["tls"]): void;
  /** Takes no new requests, ends idle connections at once and the others after a moment. */
  close(): Promise<void>;
}

/** Ten times Node's default: a client that cancels a thousand watches is no attacker. */
const sessionMemoryMb = 100;
const streamsPerConnection = 1000;
/** What requests under way get to finish in; watches and idle connections are cut then. */
const closeGraceMs = 100;
const headersMaxBytes = 64 * 1024;

/** One TLS port for HTTP/1.1, HTTP/2 and upgrades. Rejects when it cannot listen, naming the address. */
export function listen(options: ListenerOptions): Promise<Listener> {
  const { host, port, tls, logger, clock = ioClock } = options;
  const server = http2.createSecureServer({
    ...tls,
    allowHTTP1: true,
    ALPNProtocols: ["h2", "http/1.1"],
    // Whoever shows no certificate may have a token.
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: "TLSv1.2",
    maxSessionMemory: sessionMemoryMb,
    streamResetBurst: 10_000,
    streamResetRate: 1_000,
    settings: { maxConcurrentStreams: streamsPerConnection, initialWindowSize: 1024 * 1024, enablePush: false },
    maxHeaderSize: headersMaxBytes,
  } as http2.SecureServerOptions);
  // Watches are quiet for minutes; requests end by their own rules.
  Object.assign(server, { requestTimeout: 0, headersTimeout: 30_000, keepAliveTimeout: 180_000 });
  server.setTimeout(0);

  const sockets = new Set<import("node:net").Socket>();
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("connection", (socket: import("node:net").Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    // A client that goes away in the middle is not our error.
    session.on("error", () => {});
  });
  // Clients that go away in the middle of a request or reply.
  const ignore = () => {};
  server.on("request", (request: Incoming, response: Outgoing) => {
    request.on("error", ignore);
    response.on("error", ignore);
    options.handle(request, response);
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => {});
    options.upgrade(request, socket, head);
  });
  server.on("tlsClientError", (error: Error) => logger.debug({ err: error }, "TLS handshake failed"));
  server.on("sessionError", () => {});

  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "another program listens there" : error.message;
      reject(new Error(`cannot listen on ${host}:${port}: ${why}`, { cause: error }));
    });
    server.listen({ host, port }, () => {
      server.on("error", (error) => logger.error({ err: error }, "The API's listener failed"));
      resolve({
        port: (server.address() as AddressInfo).port,
        renew: (next) => server.setSecureContext(next),
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            for (const session of sessions) session.close();
            clock.after(closeGraceMs, () => {
              for (const socket of sockets) socket.destroy();
            });
          }),
      });
    });
  });
}
