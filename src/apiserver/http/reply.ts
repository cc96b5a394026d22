import { promisify } from "node:util";
import { constants, gzip } from "node:zlib";
import { parseJson, stringifyJson } from "../../machinery/json.ts";
import type { StatusError } from "../../machinery/status.ts";
import { encodeKubernetesProtobuf, protobufType } from "./kubernetes-protobuf.ts";
import type { Incoming, Outgoing } from "./messages.ts";
import { type Encoding, negotiate } from "./negotiate.ts";

const gzipAsync = promisify(gzip);

/** Replies above this go out compressed where the client takes it (kube-apiserver's figure). */
const gzipMinBytes = 128 * 1024;
/** Larger replies are written in pieces that respect the client's pace. */
const pieceBytes = 64 * 1024;

const contentTypes = { json: "application/json", yaml: "application/yaml", protobuf: protobufType } as const;

/** True while headers can still be sent. */
export function isOpen(response: Outgoing): boolean {
  return !response.headersSent && !response.writableEnded && !response.destroyed;
}

/** Resolves when the response takes more, or is gone. */
export function drained(response: Outgoing): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.removeListener("drain", done);
      response.removeListener("close", done);
      resolve();
    };
    response.once("drain", done);
    response.once("close", done);
  });
}

/** Sends a whole body, already encoded. */
export async function sendBytes(
  request: Incoming,
  response: Outgoing,
  code: number,
  contentType: string,
  body: Buffer | string,
): Promise<void> {
  if (!isOpen(response)) return;
  let bytes = body;
  if (bytes.length > gzipMinBytes) {
    response.setHeader("vary", "Accept-Encoding");
    if (/\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""))) {
      bytes = await gzipAsync(bytes, { level: constants.Z_BEST_SPEED });
      response.setHeader("content-encoding", "gzip");
    }
  }
  const length = typeof bytes === "string" ? Buffer.byteLength(bytes) : bytes.length;
  if (!isOpen(response)) return;
  response.statusCode = code;
  response.setHeader("content-type", contentType);
  response.setHeader("content-length", length);
  if (request.method === "HEAD" || length <= pieceBytes) {
    endWith(response, request.method === "HEAD" ? "" : bytes);
    return;
  }
  const whole = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
  for (let at = 0; at < whole.length && !response.destroyed; at += pieceBytes) {
    if (!(response.write as (chunk: Buffer) => boolean)(whole.subarray(at, at + pieceBytes))) await drained(response);
  }
  endWith(response, "");
}

/** Sends the headers of a reply whose body comes later. */
export function startStream(response: Outgoing): void {
  if ("flushHeaders" in response) response.flushHeaders();
  else response.writeHead(response.statusCode);
}

/** Both kinds of responses end alike; only their types differ. */
export function endWith(response: Outgoing, body: Buffer | string): void {
  if (!response.destroyed) (response.end as (body: Buffer | string) => void)(body);
}

/**
 * Sends a body in the encoding that was negotiated: what is protobuf already as it is, JSON text as YAML or indented
 * where the client asked for that.
 */
export async function sendEncoded(
  request: Incoming,
  response: Outgoing,
  code: number,
  encoding: Encoding,
  json: Buffer | string,
  pretty = false,
): Promise<void> {
  let body = json;
  if (encoding.type === "yaml") {
    const { printYaml } = await import("./yaml-text.ts");
    body = printYaml(parseJson(json));
  } else if (encoding.type === "json" && (pretty || encoding.pretty) && json.length < pieceBytes * 16) {
    body = `${stringifyJson(parseJson(json), 2)}\n`;
  }
  await sendBytes(request, response, code, contentTypes[encoding.type], body);
}

/** Sends an object that has its type in itself. A kind without protobuf goes as JSON. */
export async function sendObject(
  request: Incoming,
  response: Outgoing,
  code: number,
  encoding: Encoding,
  value: object,
  pretty = false,
): Promise<void> {
  const protobuf = encoding.type === "protobuf" ? encodeKubernetesProtobuf(value) : undefined;
  if (protobuf) await sendEncoded(request, response, code, encoding, protobuf);
  else {
    const type = encoding.type === "protobuf" ? "json" : encoding.type;
    await sendEncoded(request, response, code, { ...encoding, type }, stringifyJson(value), pretty);
  }
}

/** How an error goes to a client: an error that it cannot read would hide what is wrong, so JSON in doubt. */
function errorEncoding(request: Incoming): Encoding {
  try {
    return negotiate(request.headers.accept, "typed");
  } catch {
    return { type: "json" };
  }
}

/** Answers an error as its Status; never throws. */
export async function sendError(request: Incoming, response: Outgoing, error: StatusError): Promise<void> {
  if (!isOpen(response)) {
    response.destroy();
    return;
  }
  const retryAfter = error.details?.retryAfterSeconds;
  if (retryAfter) response.setHeader("retry-after", retryAfter);
  await sendObject(request, response, error.code, errorEncoding(request), error.toStatus());
}
