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
 * How long a dial waits for a node that has no tunnel, milliseconds: agents dial again after a second, and hear of a
 * new server a second after it appeared.
 */
export const arrivalLimitMs = 5_000;

/**
 * The server's end of all tunnels: a WebSocket from a node, an HTTP/2 session on each on which this end is the client
 * (the agent dialled, but it is the server that wants to reach things), one CONNECT stream for each thing reached.
 */
export class TunnelServer {
  /** By node, the newest last. One is the rule; a second while an agent connects anew, or by another address of this server. */
  readonly #peers = new Map<string, Peer[]>();
  /** Dials that wait for a node's tunnel. Called with nothing: there will be none. */
  readonly #waiting = new Map<string, Set<(peer?: Peer) => void>>();
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

  /** Turns an upgrade request of `node` (already authenticated as it) into its tunnel. */
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
    session.once("connect", () => {
      // Node tells of a connection also when it was ended in the same moment.
      if (!session.destroyed) session.setLocalWindowSize(16 * windowBytes);
    });
    let ended = false;
    const end = (why: string) => {
      if (ended) return;
      ended = true;
      stopWatching();
      this.#remove(node, peer);
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

    // An older one is left to find out for itself that it is dead: two addresses may lead an agent to the same server,
    // and its two tunnels would put each other out for ever.
    this.#peers.set(node, [...(this.#peers.get(node) ?? []), peer]);
    for (const arrive of [...(this.#waiting.get(node) ?? [])]) arrive(peer);
  }

  #remove(node: string, peer: Peer): void {
    const left = (this.#peers.get(node) ?? []).filter((other) => other !== peer);
    if (left.length > 0) this.#peers.set(node, left);
    else this.#peers.delete(node);
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
   * stream belongs to the caller. Throws 503 when the node has no tunnel and makes none within {@link arrivalLimitMs},
   * 502 when the agent refuses or cannot reach the target.
   */
  async dial(node: string, target: string, signal?: AbortSignal): Promise<Duplex> {
    signal?.throwIfAborted();
    const usable = this.#peers.get(node)?.findLast(({ session }) => !session.closed && !session.destroyed);
    const peer = usable ?? (await this.#arrival(node, signal));
    if (!peer) throw serviceUnavailable(`error dialing backend: failed to find Session for client ${node}`);
    return this.#connect(peer, node, target, signal);
  }

  /** The next tunnel of `node`, or nothing when there is none in time. Rejects with the signal's reason. */
  #arrival(node: string, signal?: AbortSignal): Promise<Peer | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(node) ?? new Set();
      const settle = (act: () => void) => {
        limit.cancel();
        signal?.removeEventListener("abort", onAbort);
        waiting.delete(arrive);
        if (waiting.size === 0) this.#waiting.delete(node);
        act();
      };
      const arrive = (peer?: Peer) => settle(() => resolve(peer));
      const onAbort = () => settle(() => reject(signal?.reason));
      const limit = this.#clock.after(arrivalLimitMs, arrive);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiting.set(node, waiting.add(arrive));
    });
  }

  #connect(peer: Peer, node: string, target: string, signal?: AbortSignal): Promise<Duplex> {
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
    for (const peer of [...this.#peers.values()].flat()) peer.end("the server is stopping");
    for (const arrive of [...this.#waiting.values()].flatMap((waiting) => [...waiting])) arrive();
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
