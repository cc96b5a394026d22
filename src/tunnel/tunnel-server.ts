import type { IncomingMessage } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import type { Duplex } from "node:stream";
import { createWebSocketStream, type WebSocket, WebSocketServer } from "ws";
import type { Clock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import { StatusError, serviceUnavailable } from "../machinery/status.ts";
import { http2Options, maxMessageBytes, watchPeer, windowBytes } from "./tunnel-session.ts";

interface Peer {
  readonly socket: WebSocket;
  readonly session: ClientHttp2Session;
  end(why: string): void;
}

/** How much of a refusal's text is kept, bytes. */
const maxRefusalBytes = 1024;

/**
 * The server's end of all tunnels: one WebSocket a node, an HTTP/2 session on each on which this end is the client
 * (the agent dialled, but it is the server that wants to reach things), one CONNECT stream for each thing reached.
 */
export class TunnelServer {
  readonly #peers = new Map<string, Peer>();
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #upgrader = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    clientTracking: false,
  });
  #closed = false;

  constructor(options: { readonly logger: Logger; readonly clock: Clock }) {
    this.#logger = options.logger;
    this.#clock = options.clock;
  }

  /** Turns an upgrade request of `node` (already authenticated as it) into its tunnel; replaces an older one. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer, node: string): void {
    if (this.#closed) {
      socket.end("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    this.#upgrader.handleUpgrade(request, socket, head, (webSocket) => this.acceptWebSocket(webSocket, node));
  }

  /** The same for a WebSocket that is already open. */
  acceptWebSocket(socket: WebSocket, node: string): void {
    this.#logger.info({ node }, "Handling backend connection request");
    const stream = createWebSocketStream(socket);
    const session = connect("http://tunnel", { ...http2Options, createConnection: () => stream });
    session.once("connect", () => session.setLocalWindowSize(16 * windowBytes));
    let ended = false;
    const end = (why: string) => {
      if (ended) return;
      ended = true;
      stopWatching();
      if (this.#peers.get(node) === peer) this.#peers.delete(node);
      this.#logger.info({ node, why }, "Tunnel disconnected");
      session.destroy();
      socket.terminate();
    };
    const peer: Peer = { socket, session, end };
    const stopWatching = watchPeer(socket, this.#clock, (silentMs) =>
      end(`silent for ${Math.round(silentMs / 1000)} s`),
    );
    session.on("error", (error) => end(error.message));
    session.on("goaway", () => end("the agent is going away"));
    session.on("close", () => end("session closed"));
    stream.on("error", (error) => end(error.message));
    socket.on("close", (code) => end(`closed with code ${code}`));
    socket.on("error", (error) => end(error.message));

    const older = this.#peers.get(node);
    this.#peers.set(node, peer);
    // An agent that restarted comes back before its dead connection is noticed.
    older?.end("replaced by a newer connection");
  }

  /** Is there a tunnel to `node` now? */
  connected(node: string): boolean {
    return this.#peers.has(node);
  }

  /** The nodes that have a tunnel now. */
  nodes(): string[] {
    return [...this.#peers.keys()];
  }

  /**
   * Opens a byte stream to `target` ("host:port") as seen from `node`. `signal` ends the attempt; once it resolved the
   * stream belongs to the caller. Throws 503 when the node has no tunnel, 502 when the agent refuses or cannot reach
   * the target.
   */
  dial(node: string, target: string, signal?: AbortSignal): Promise<Duplex> {
    const peer = this.#peers.get(node);
    if (!peer || peer.session.closed || peer.session.destroyed) {
      return Promise.reject(serviceUnavailable(`error dialing backend: failed to find Session for client ${node}`));
    }
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const stream = peer.session.request(
        { [constants.HTTP2_HEADER_METHOD]: "CONNECT", [constants.HTTP2_HEADER_AUTHORITY]: target },
        { endStream: false },
      );
      const onAbort = () => {
        stream.close(constants.NGHTTP2_CANCEL);
        settle(() => reject(signal?.reason));
      };
      const onError = (error: Error) => settle(() => reject(badGateway(node, target, error.message)));
      const onClose = () => settle(() => reject(badGateway(node, target, "the tunnel was cut")));
      const settle = (act: () => void) => {
        signal?.removeEventListener("abort", onAbort);
        stream.off("error", onError);
        stream.off("close", onClose);
        stream.off("response", onResponse);
        // Whoever owns the stream adds its own listener; an error in between must not end the process.
        stream.on("error", () => {});
        act();
      };
      const onResponse = (headers: { ":status"?: number }) => {
        const status = headers[":status"];
        if (status === 200) return settle(() => resolve(stream));
        settle(
          () => void readRefusal(stream).then((text) => reject(badGateway(node, target, text || `code ${status}`))),
        );
      };
      stream.on("error", onError);
      stream.on("close", onClose);
      stream.on("response", onResponse);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Cuts all tunnels and accepts no more. */
  close(): void {
    this.#closed = true;
    for (const peer of [...this.#peers.values()]) peer.end("the server is stopping");
  }
}

async function readRefusal(stream: ClientHttp2Stream): Promise<string> {
  let text = "";
  try {
    stream.setEncoding("utf8");
    for await (const chunk of stream) {
      text += chunk;
      if (text.length >= maxRefusalBytes) break;
    }
  } catch {
    // What came so far is all that there is to say.
  }
  stream.close();
  return text.slice(0, maxRefusalBytes);
}

function badGateway(node: string, target: string, why: string): StatusError {
  return new StatusError(502, "InternalError", `error dialing backend: ${why}`, {
    causes: [{ message: `dialing ${target} through the tunnel of node ${node}: ${why}` }],
  });
}
