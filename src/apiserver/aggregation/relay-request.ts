/** Passing a client's request on to the server of an APIService, and the answer back. */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "../../machinery/clock.ts";
import { StatusError } from "../../machinery/status.ts";
import type { Incoming, Outgoing } from "../http/messages.ts";
import { endWith, isOpen } from "../http/reply.ts";
import type { UserInfo } from "../request.ts";
import { forwardedHeaders, join, relayResponse, writeSwitchingHead } from "../subresources/http-relay.ts";
import { identityHeaders } from "./identity-headers.ts";
import { pathOf } from "./remote-api.ts";
import type { ServiceBackend } from "./service-backend.ts";

/** Every client asks for discovery first: a server that hangs must not hold them up longer. */
const discoveryMs = 5000;

/** A request that was authenticated and authorized; `response` for plain ones, `upgrade` for the others. */
export interface RelayedRequest {
  readonly request: Incoming;
  readonly url: URL;
  readonly user: UserInfo;
  readonly response?: Outgoing;
  readonly upgrade?: { readonly socket: Duplex; readonly head: Buffer };
}

/** Answers a request with what the service says, or with the plain text that Kubernetes' aggregator writes. */
export async function relayRequest(
  backend: ServiceBackend,
  relayed: RelayedRequest,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const { request, url, user, response, upgrade } = relayed;
  const gone = new AbortController();
  const abort = () => gone.abort(new Error("the connection was closed"));
  const connection = response ?? upgrade!.socket;
  connection.once("close", abort);
  options.signal.addEventListener("abort", abort, { once: true });
  const deadline = url.pathname.replace(/\/$/, "") === pathOf(backend.api) ? discoveryMs : undefined;
  const late = () => gone.abort(new Error("context deadline exceeded"));
  const timer = deadline === undefined ? undefined : options.clock.after(deadline, late);
  try {
    if (!backend.api.available) return refuse(relayed, 503, "service unavailable");
    const target = await backend.target().catch(() => undefined);
    if (!target) return refuse(relayed, 503, "service unavailable");
    const { method = "GET", headers } = request;
    const forwarded = forwardedHeaders(headers);
    delete forwarded["expect"];
    if (upgrade) Object.assign(forwarded, { connection: "Upgrade", upgrade: headers.upgrade });
    const bodyless = upgrade !== undefined || method === "GET" || method === "HEAD";
    // A body of unknown length has to be sent in chunks.
    if (!bodyless && headers["content-length"] === undefined) forwarded["transfer-encoding"] = "chunked";
    const reply = await backend.send(
      {
        method,
        path: `${url.pathname}${url.search}`,
        headers: { ...forwarded, "X-Forwarded-Uri": url.pathname, ...identityHeaders(user) },
        ...(bodyless ? {} : { body: request }),
        signal: gone.signal,
      },
      target,
    );
    if (reply.upgraded) {
      if (!upgrade) return void reply.upgraded.socket.destroy();
      writeSwitchingHead(upgrade.socket, reply.response);
      if (reply.upgraded.head.length > 0) upgrade.socket.write(reply.upgraded.head);
      if (upgrade.head.length > 0) reply.upgraded.socket.write(upgrade.head);
      join(upgrade.socket, reply.upgraded.socket);
      return;
    }
    const { statusCode = 502, headers: answered } = reply.response;
    if (statusCode >= 300 && statusCode < 400 && answered.location) {
      reply.response.destroy();
      return refuse(relayed, 502, "the backend attempted to redirect this request, which is not permitted");
    }
    if (response) return await relayResponse(reply.response, response, gone.signal);
    await answerUpgrade(upgrade!.socket, reply.response);
  } catch (error) {
    refuse(relayed, 503, `error trying to reach service: ${reasonOf(error)}`);
  } finally {
    timer?.cancel();
    connection.removeListener("close", abort);
    options.signal.removeEventListener("abort", abort);
  }
}

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return error instanceof StatusError ? text.replace(/^error dialing backend: /, "") : text;
}

/** Go's http.Error: a line of text. */
function refuse({ response, upgrade }: RelayedRequest, code: number, text: string): void {
  const body = `${text}\n`;
  const type = "text/plain; charset=utf-8";
  if (upgrade) {
    const head = `HTTP/1.1 ${code} ${STATUS_CODES[code]}\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
    upgrade.socket.end(head + body);
    return;
  }
  if (!response || !isOpen(response)) {
    response?.destroy();
    return;
  }
  response.statusCode = code;
  response.setHeader("content-type", type);
  response.setHeader("x-content-type-options", "nosniff");
  endWith(response, body);
}

/** The answer of a server that did not switch, on a connection that has no response object. */
async function answerUpgrade(socket: Duplex, answer: import("node:http").IncomingMessage): Promise<void> {
  const { statusCode = 502, statusMessage = "" } = answer;
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
  const type = answer.headers["content-type"];
  if (type) lines.push(`Content-Type: ${type}`);
  socket.write(`${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`);
  for await (const chunk of answer) socket.write(chunk as Buffer);
  socket.end();
}
