import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { connect as connectTcp } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { type ClientOptions, createWebSocketStream, WebSocket } from "ws";
import type { Clock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import { http2Options, maxMessageBytes, watchPeer, windowBytes } from "./tunnel-session.ts";

/** What the agent presents and trusts; `servername` and `checkServerIdentity` are there for servers whose address moves. */
export type TunnelTls = Pick<
  ConnectionOptions,
  "ca" | "cert" | "key" | "servername" | "checkServerIdentity" | "rejectUnauthorized"
>;

export interface TunnelOptions {
  /** "wss://server:6443/v1-k3s/connect". */
  readonly url: string;
  /** A function is asked before each attempt, so that renewed certificates are used. */
  readonly tls: TunnelTls | (() => TunnelTls | Promise<TunnelTls>);
  /** May the server reach "host:port" through this agent? */
  readonly allow: (target: string) => boolean;
  readonly logger: Logger;
  /** Time of sockets (the io clock). */
  readonly clock: Clock;
  readonly onState?: (state: "connecting" | "connected" | "disconnected") => void;
  /** Ends the tunnel for good. */
  readonly signal: AbortSignal;
}

/** Pause between two attempts, milliseconds (K3s' own). */
export const reconnectDelayMs = 1_000;

/** How long opening the WebSocket may take, milliseconds. */
const handshakeLimitMs = 10_000;

/** How long connecting to a target on this machine may take, milliseconds. */
const dialLimitMs = 30_000;

/**
 * Keeps a tunnel to one server open until `signal` aborts: dials, serves CONNECT streams, and dials again when it was
 * cut, saying so. Never rejects.
 */
export async function connectTunnel(options: TunnelOptions): Promise<void> {
  const { url, logger, clock, signal } = options;
  const log = logger.child({ url });
  let lastFailure = "";
  while (!signal.aborted) {
    // One line an outage, not one a second.
    if (!lastFailure) log.info("Connecting to proxy");
    options.onState?.("connecting");
    try {
      const tls = typeof options.tls === "function" ? await options.tls() : options.tls;
      const why = await serveOnce(options, tls, () => {
        lastFailure = "";
        log.info("Remotedialer connected to proxy");
        options.onState?.("connected");
      });
      if (!signal.aborted) log.warn({ why }, "Tunnel to the server was cut, connecting again");
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (!signal.aborted && why !== lastFailure)
        log.error({ why }, "Failed to connect to proxy, trying again every second");
      lastFailure = why;
    }
    options.onState?.("disconnected");
    await clock.sleep(reconnectDelayMs, signal).catch(() => {});
  }
}

/** One connection's life: rejects when it could not be opened, resolves with the reason when it ended. */
function serveOnce(options: TunnelOptions, tls: TunnelTls, onOpen: () => void): Promise<string> {
  const { url, clock, signal } = options;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, {
      // The types of ws describe another checkServerIdentity than the one of node:tls that it is handed to.
      ...(tls as ClientOptions),
      perMessageDeflate: false,
      handshakeTimeout: handshakeLimitMs,
      maxPayload: maxMessageBytes,
    });
    let session: ServerHttp2Session | undefined;
    let stopWatching = () => {};
    let opened = false;
    let ended = false;
    const end = (why: string) => {
      if (ended) return;
      ended = true;
      stopWatching();
      signal.removeEventListener("abort", onAbort);
      session?.destroy();
      socket.terminate();
      if (opened) resolve(why);
      else reject(new Error(why));
    };
    const onAbort = () => end("stopped");
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) {
      onAbort();
      return;
    }

    socket.on("error", (error) => end(error.message));
    socket.on("close", (code) => end(`closed with code ${code}`));
    socket.on("open", () => {
      if (ended) return;
      opened = true;
      const stream = createWebSocketStream(socket);
      stream.on("error", (error) => end(error.message));
      stopWatching = watchPeer(socket, clock, (silentMs) => end(`silent for ${Math.round(silentMs / 1000)} s`));
      session = performServerHandshake(stream, http2Options);
      session.setLocalWindowSize(16 * windowBytes);
      session.on("error", (error) => end(error.message));
      session.on("close", () => end("session closed"));
      session.on("stream", (connectStream, headers) => {
        const target = String(headers[constants.HTTP2_HEADER_AUTHORITY] ?? "");
        serveConnect(connectStream, String(headers[constants.HTTP2_HEADER_METHOD]), target, options);
      });
      onOpen();
    });
  });
}

function serveConnect(stream: ServerHttp2Stream, method: string, target: string, options: TunnelOptions): void {
  const { clock, logger } = options;
  stream.on("error", (error) => logger.debug({ target, error: error.message }, "Tunnel stream failed"));
  const refuse = (status: number, why: string): void => {
    if (stream.destroyed || stream.headersSent) return;
    stream.respond({ [constants.HTTP2_HEADER_STATUS]: status });
    stream.end(why);
  };
  const address = parseTarget(target);
  if (method !== "CONNECT" || !address) {
    refuse(400, `invalid target ${JSON.stringify(target)}`);
    return;
  }
  if (!options.allow(target)) {
    refuse(403, `connect to ${target} not allowed`);
    return;
  }

  const upstream = connectTcp({ ...address, allowHalfOpen: true, noDelay: true });
  const limit = clock.after(dialLimitMs, () => upstream.destroy(new Error("i/o timeout")));
  upstream.once("connect", () => {
    limit.cancel();
    if (stream.destroyed) {
      upstream.destroy();
      return;
    }
    stream.respond({ [constants.HTTP2_HEADER_STATUS]: 200 });
    // Each direction ends on its own: a client that is done sending still waits for the answer.
    upstream.pipe(stream);
    stream.pipe(upstream);
  });
  upstream.on("error", (error: NodeJS.ErrnoException) => {
    limit.cancel();
    if (stream.headersSent) stream.close(constants.NGHTTP2_CONNECT_ERROR);
    else refuse(502, `dial tcp ${target}: ${dialFailure(error)}`);
  });
  upstream.on("close", () => {
    limit.cancel();
    // A FIN ends the stream through the pipe; what is still open after the socket is gone was cut.
    if (!upstream.readableEnded && stream.headersSent) stream.close(constants.NGHTTP2_CONNECT_ERROR);
  });
  stream.on("aborted", () => upstream.destroy());
  stream.on("close", () => {
    if (!upstream.writableFinished || !upstream.readableEnded) upstream.destroy();
  });
}

/** Splits "host:port" and "[v6]:port". */
function parseTarget(target: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(target);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host && port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

/** The words that Go uses, which people search for. */
function dialFailure(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "ECONNREFUSED":
      return "connect: connection refused";
    case "EHOSTUNREACH":
      return "connect: no route to host";
    case "ENETUNREACH":
      return "connect: network is unreachable";
    case "ETIMEDOUT":
      return "i/o timeout";
    case "ENOTFOUND":
      return "lookup: no such host";
    default:
      return error.message;
  }
}
