import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";

/** A watch's connection when a browser asks for it: one message an event, text or binary. */
export interface WatchSocket {
  send(message: string | Buffer): void;
  close(): void;
  onClose(listener: () => void): void;
  /** Bytes that the client has not taken yet. */
  buffered(): number;
}

/** Accepts the upgrade of a watch (RFC 6455, no extensions). Resolves when the handshake is sent. */
export function acceptWatchSocket(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<WatchSocket> {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: 1024,
    // Clients may name a protocol that carries their token; none is spoken.
    handleProtocols: () => false,
  });
  return new Promise((resolve) => {
    server.handleUpgrade(request, socket, head, (connection) => {
      connection.on("error", () => connection.terminate());
      resolve({
        send: (message) => connection.send(message),
        close: () => connection.close(1000),
        onClose: (listener) => connection.once("close", listener),
        buffered: () => connection.bufferedAmount,
      });
    });
  });
}
