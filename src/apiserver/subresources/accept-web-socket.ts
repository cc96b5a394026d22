import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";

/** Largest message that is taken from a client, bytes. */
const maxMessageBytes = 32 * 1024 * 1024;

/** The sub-protocols that a client offers, in its order. */
export function offeredProtocols(header: string | undefined): string[] {
  return (header ?? "")
    .split(",")
    .map((text) => text.trim())
    .filter((text) => text !== "");
}

/** Finishes the WebSocket handshake of a request with the sub-protocol that was chosen ("": none was named). */
export function acceptWebSocket(
  request: IncomingMessage,
  { socket, head }: { readonly socket: Duplex; readonly head: Buffer },
  protocol: string,
): Promise<WebSocket> {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
  });
  // Kubernetes' name for tunnelled port-forwards has a slash in it, which ws refuses to read and to choose (RFC 6455
  // wants a token there): the header is answered here.
  const { "sec-websocket-protocol": _offered, ...headers } = request.headers;
  request.headers = headers;
  if (protocol) server.on("headers", (lines) => lines.push(`Sec-WebSocket-Protocol: ${protocol}`));
  return new Promise((resolve, reject) => {
    socket.once("close", () => reject(new Error("the client closed the connection")));
    server.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on("error", () => {});
      resolve(webSocket);
    });
  });
}
