import http2 from "node:http2";
import https from "node:https";
import type { ServerProcess } from "../support/server-process.ts";
import { type FuzzRequest, urlOf } from "./requests.ts";

export interface FuzzReply {
  readonly code: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** The body was cut here, since it would go on: a watch, a stream. */
  readonly cut: boolean;
}

type Server = Pick<ServerProcess, "url" | "credentials">;

/** Without an end by then a reply is a stream. */
const streamAfterMs = 400;

function isStream(request: FuzzRequest): boolean {
  const asked = request.query.some(([name]) => name === "watch" || name === "follow");
  return asked || request.path.includes("/watch/") || /\/(exec|attach|portforward|proxy|log)/.test(request.path);
}

/** A refusal has an end, however late a busy machine brings it. */
function isRefusal(code = 0): boolean {
  return code >= 300;
}

/** Sends requests over both protocols, on connections that are kept. */
export class Connection {
  readonly #server: Server;
  readonly #agent: https.Agent;
  readonly #timeoutMs: number;
  #session: http2.ClientHttp2Session | undefined;

  constructor(server: Server, timeoutMs: number) {
    this.#server = server;
    this.#timeoutMs = timeoutMs;
    this.#agent = new https.Agent({ keepAlive: true, maxSockets: 4, ...server.credentials });
  }

  /** Rejects when there is no whole answer. */
  send(request: FuzzRequest): Promise<FuzzReply> {
    return request.http === "2" ? this.#sendHttp2(request) : this.#sendHttp1(request);
  }

  close(): void {
    this.#agent.destroy();
    this.#session?.destroy();
  }

  #sendHttp1(request: FuzzRequest): Promise<FuzzReply> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(this.#server.url);
      // Said always: Node leaves it out for the methods that seldom have a body.
      const headers = { ...request.headers, ...(request.body ? { "content-length": request.body.length } : {}) };
      const outgoing = https.request(
        { hostname, port, path: urlOf(request), method: request.method, headers, agent: this.#agent },
        (response) => {
          const chunks: Buffer[] = [];
          const reply = (cut: boolean) => {
            clearTimeout(streamTimer);
            clearTimeout(timer);
            resolve({ code: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks), cut });
          };
          const streamTimer = setTimeout(() => {
            if (!isStream(request) || isRefusal(response.statusCode)) return;
            reply(true);
            response.destroy();
          }, streamAfterMs);
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () => reply(false));
          response.on("error", reject);
        },
      );
      const timer = setTimeout(() => {
        reject(new Error(`no answer within ${this.#timeoutMs} ms`));
        outgoing.destroy();
      }, this.#timeoutMs);
      outgoing.on("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
      outgoing.end(request.body);
    });
  }

  #sendHttp2(request: FuzzRequest): Promise<FuzzReply> {
    if (!this.#session || this.#session.closed || this.#session.destroyed) {
      this.#session = http2.connect(this.#server.url, this.#server.credentials);
      // Each stream reports it, too.
      this.#session.on("error", () => {});
    }
    const session = this.#session;
    return new Promise((resolve, reject) => {
      const { method, headers, body } = request;
      const stream = session.request(
        { ":method": method, ":path": urlOf(request), ...headers },
        { endStream: body === undefined },
      );
      let code = 0;
      let received: FuzzReply["headers"] = {};
      const chunks: Buffer[] = [];
      let streamTimer: NodeJS.Timeout | undefined;
      const reply = (cut: boolean) => {
        clearTimeout(streamTimer);
        clearTimeout(timer);
        resolve({ code, headers: received, body: Buffer.concat(chunks), cut });
      };
      const timer = setTimeout(() => {
        reject(new Error(`no answer within ${this.#timeoutMs} ms`));
        stream.close(http2.constants.NGHTTP2_CANCEL);
      }, this.#timeoutMs);
      stream.on("response", ({ ":status": status, ...rest }) => {
        code = Number(status);
        received = rest as FuzzReply["headers"];
        streamTimer = setTimeout(() => {
          if (!isStream(request) || isRefusal(code)) return;
          reply(true);
          stream.close(http2.constants.NGHTTP2_CANCEL);
        }, streamAfterMs);
      });
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
      stream.on("end", () => (code === 0 ? reject(new Error("the stream ended without an answer")) : reply(false)));
      stream.end(body);
    });
  }
}
