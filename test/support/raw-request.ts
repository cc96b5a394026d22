import http2 from "node:http2";
import https from "node:https";
import type { ServerProcess } from "./server-process.ts";

export interface RawRequest {
  /** Default GET. */
  method?: string;
  headers?: Record<string, string>;
  /** Sent as it is when it is text or bytes, else as JSON. */
  body?: unknown;
  /** Default 1.1. */
  http?: "1.1" | "2";
  /** Default: the administrator by certificate. */
  as?: "admin" | "nobody";
}

export interface RawReply {
  code: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  /** The body, which has to be JSON. */
  json<T>(): T;
}

type Server = Pick<ServerProcess, "url" | "credentials">;

/** One request, sent as it is said here and no other way: no retries, no redirects, no headers of its own. */
export async function rawRequest(server: Server, path: string, request: RawRequest = {}): Promise<RawReply> {
  const { body } = request;
  const isBare = body === undefined || typeof body === "string" || Buffer.isBuffer(body);
  const bytes = isBare ? ((body ?? "") as string | Buffer) : JSON.stringify(body);
  const headers = {
    ...(body !== undefined ? { "content-type": "application/json" } : {}),
    ...request.headers,
  };
  const { ca, cert, key } = server.credentials;
  const tls = request.as === "nobody" ? { ca } : { ca, cert, key };
  const send = request.http === "2" ? sendHttp2 : sendHttp1;
  const reply = await send(server.url, path, request.method ?? "GET", headers, bytes, tls);
  const text = reply.body.toString();
  return { code: reply.code, headers: reply.headers, text, json: () => JSON.parse(text) };
}

type Sender = (
  url: string,
  path: string,
  method: string,
  headers: Record<string, string>,
  body: string | Buffer,
  tls: { ca: string; cert?: string; key?: string },
) => Promise<{ code: number; headers: RawReply["headers"]; body: Buffer }>;

const sendHttp1: Sender = (url, path, method, headers, body, tls) =>
  new Promise((resolve, reject) => {
    const length = Buffer.byteLength(body);
    const request = https.request(
      new URL(path, url),
      { ...tls, method, headers: { ...headers, ...(length ? { "content-length": length } : {}) }, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          resolve({ code: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
        });
      },
    );
    request.on("error", reject);
    request.end(body);
  });

const sendHttp2: Sender = async (url, path, method, headers, body, tls) => {
  const session = http2.connect(url, tls);
  try {
    return await new Promise((resolve, reject) => {
      session.on("error", reject);
      const hasBody = Buffer.byteLength(body) > 0;
      const stream = session.request({ ":method": method, ":path": path, ...headers }, { endStream: !hasBody });
      let code = 0;
      let received: RawReply["headers"] = {};
      const chunks: Buffer[] = [];
      stream.on("response", ({ ":status": status, ...rest }) => {
        code = Number(status);
        received = rest as RawReply["headers"];
      });
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("end", () => resolve({ code, headers: received, body: Buffer.concat(chunks) }));
      if (hasBody) stream.end(body);
    });
  } finally {
    session.close();
  }
};
