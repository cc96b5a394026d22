import { once } from "node:events";
import {
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
} from "node:http";
import type { Duplex, Readable } from "node:stream";
import { badRequest, internalError, notFound, type Status, StatusError } from "../../machinery/status.ts";
import type { StreamSubresource } from "../request.ts";

/** A reply that is written to, of either HTTP version. */
export type Reply = NonNullable<Parameters<StreamSubresource>[1]["response"]>;

/** Headers that belong to one connection, and those that only the API server may see. */
const ownHeaders = new Set([
  "authorization",
  "connection",
  "cookie",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What of a client's headers goes on to the backend: not what authenticates it here, nor what speaks of the connection. */
export function forwardedHeaders(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const forwarded: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(":") || ownHeaders.has(name)) continue;
    if (name.startsWith("impersonate-") || name.startsWith("x-remote-")) continue;
    forwarded[name] = value;
  }
  return forwarded;
}

export interface BackendRequest {
  /** The open connection to the backend (TLS already done where there is any). */
  readonly connection: Duplex;
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: Readable;
  readonly signal: AbortSignal;
}

/** A plain answer, or a switched connection with what came behind its head. */
export type BackendReply =
  | { readonly response: IncomingMessage; readonly upgraded?: undefined }
  | { readonly response: IncomingMessage; readonly upgraded: { readonly socket: Duplex; readonly head: Buffer } };

/** Sends one HTTP/1.1 request over an open connection; the connection ends with it. */
export function sendToBackend(options: BackendRequest): Promise<BackendReply> {
  const { connection, host, method, path, headers, body, signal } = options;
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => connection,
      method,
      path,
      headers: { ...headers, host },
      setDefaultHeaders: false,
    });
    const onAbort = () => request.destroy(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
    signal.addEventListener("abort", onAbort, { once: true });
    request.once("close", () => signal.removeEventListener("abort", onAbort));
    request.on("error", (error) => {
      connection.destroy();
      reject(badGateway(error));
    });
    request.on("response", (response) => resolve({ response }));
    request.on("upgrade", (response, socket, head) => {
      signal.removeEventListener("abort", onAbort);
      resolve({ response, upgraded: { socket, head } });
    });
    if (signal.aborted) onAbort();
    else if (body) body.pipe(request);
    else request.end();
  });
}

export function badGateway(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new StatusError(502, "InternalError", `error dialing backend: ${text}`);
}

/** What of a backend's answer is passed on. */
export type Relayed = Readable & Pick<IncomingMessage, "statusCode" | "headers">;

/** Passes a backend's answer on, with its status and headers, as fast as the client reads. */
export async function relayResponse(response: Relayed, reply: Reply, signal: AbortSignal): Promise<void> {
  const headers: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined && !ownHeaders.has(name)) headers[name] = value;
  }
  writeHead(reply, response.statusCode ?? 502, headers);
  await pump(response, reply, signal);
}

/** Writes a reply's head at once, so that a client sees that a stream is open before there is anything in it. */
export function writeHead(reply: Reply, status: number, headers: OutgoingHttpHeaders): void {
  // Both kinds take the same arguments; their overloads hide it from the compiler.
  const either = reply as import("node:http").ServerResponse;
  either.writeHead(status, headers);
  either.flushHeaders();
}

/** Copies a body, waiting while the client is slow. When the client goes, the source is destroyed. */
export async function pump(source: Readable, reply: Reply, signal: AbortSignal): Promise<void> {
  const gone = new AbortController();
  const onGone = () => {
    gone.abort();
    source.destroy();
  };
  reply.once("close", onGone);
  signal.addEventListener("abort", onGone, { once: true });
  try {
    for await (const chunk of source) {
      if (gone.signal.aborted) return;
      if (!(reply as import("node:http").ServerResponse).write(chunk))
        await once(reply, "drain", { signal: gone.signal });
    }
    reply.end();
  } catch (error) {
    // A cut body must not look like a whole one; a client that is gone needs nothing.
    if (!gone.signal.aborted) {
      if ("stream" in reply && reply.stream) (reply.stream as Duplex).destroy(error as Error);
      else (reply as import("node:http").ServerResponse).destroy(error as Error);
    }
  } finally {
    reply.off("close", onGone);
    signal.removeEventListener("abort", onGone);
  }
}

/** The error that a backend's refusal stands for: its Status when it sent one, otherwise its text. */
export async function refusalOf(response: IncomingMessage, resource: string, name: string): Promise<StatusError> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > 64 * 1024) break;
  }
  response.destroy();
  const text = Buffer.concat(chunks).toString().trim();
  const code = response.statusCode ?? 502;
  if (response.headers["content-type"]?.includes("json")) {
    try {
      const status = JSON.parse(text) as Partial<Status>;
      if (status.kind === "Status") return StatusError.fromStatus(status, code);
    } catch {
      // Not a Status after all: its text has to do.
    }
  }
  if (code === 400) return badRequest(text || "the server rejected our request for an unknown reason");
  if (code === 404 && text === "") return notFound({ group: "", resource }, name);
  if (code === 404) return new StatusError(404, "NotFound", text);
  if (code === 401 || code === 403) {
    // The API server's own credentials were refused: nothing that the client could repair.
    return internalError(new Error(`the kubelet refused the API server: ${text}`));
  }
  return code >= 500 ? internalError(new Error(text || `code ${code}`)) : new StatusError(code, "Unknown", text);
}

/** Joins two connections until both directions ended; when one is cut, the other goes once its bytes are out. */
export function join(a: Duplex, b: Duplex): void {
  const endWith = (one: Duplex, other: Duplex) => {
    one.on("error", () => {});
    one.on("close", () => {
      if ("destroySoon" in other) (other as import("node:net").Socket).destroySoon();
      else if (other.writableFinished) other.destroy();
      else other.end(() => other.destroy());
    });
  };
  endWith(a, b);
  endWith(b, a);
  a.pipe(b);
  b.pipe(a);
}

/** Tells the client of a switched connection what the backend answered. */
export function writeSwitchingHead(socket: Duplex, response: IncomingMessage): void {
  const lines = ["HTTP/1.1 101 Switching Protocols"];
  for (let at = 0; at + 1 < response.rawHeaders.length; at += 2) {
    lines.push(`${response.rawHeaders[at]}: ${response.rawHeaders[at + 1]}`);
  }
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
}
