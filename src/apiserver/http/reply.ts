import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { constants, createGzip, gzip } from "node:zlib";
import type { Clock } from "../../machinery/clock.ts";
import { parseJson, stringifyJson } from "../../machinery/json.ts";
import type { StatusError } from "../../machinery/status.ts";
import { encodeKubernetesProtobuf, protobufType } from "./kubernetes-protobuf.ts";
import type { Incoming, Outgoing } from "./messages.ts";
import { type Encoding, negotiate } from "./negotiate.ts";
import { chunkBytes, chunksOf, Pace, type Pieces } from "./pieces.ts";

const gzipAsync = promisify(gzip);

/** Replies above this go out compressed where the client takes it (kube-apiserver's figure). */
const gzipMinBytes = 128 * 1024;
/** Bytes that wait for a slow client at most. */
const bufferedMaxBytes = 1024 * 1024;
/** Indented text is for reading; nobody reads more than this. */
const prettyMaxBytes = 1024 * 1024;

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
    if (takesGzip(request)) {
      bytes = await gzipAsync(bytes, { level: constants.Z_BEST_SPEED });
      response.setHeader("content-encoding", "gzip");
    }
  }
  const length = typeof bytes === "string" ? Buffer.byteLength(bytes) : bytes.length;
  if (!isOpen(response)) return;
  response.statusCode = code;
  response.setHeader("content-type", contentType);
  response.setHeader("content-length", length);
  if (request.method === "HEAD" || length <= chunkBytes) {
    endWith(response, request.method === "HEAD" ? "" : bytes);
    return;
  }
  const whole = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
  for (let at = 0; at < whole.length && !response.destroyed; at += chunkBytes) {
    if (!write(response, whole.subarray(at, at + chunkBytes))) await drained(response);
  }
  endWith(response, "");
}

const takesGzip = (request: Incoming) => /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));

/** Both kinds of responses take bytes alike; only their types differ. */
const write = (response: Outgoing, chunk: Buffer) => (response.write as (chunk: Buffer) => boolean)(chunk);

/**
 * Sends a body as it is made, at the client's pace and in turns of a few milliseconds: a long list is never in memory as
 * a whole, and holds nobody up.
 */
export async function sendPieces(
  request: Incoming,
  response: Outgoing,
  code: number,
  encoding: Encoding,
  { length, pieces }: Pieces,
  clock: Clock,
): Promise<void> {
  const chunks = chunksOf(pieces);
  // A short body is one chunk, and goes as any other.
  const early: Buffer[] = [];
  for (let size = 0; size <= gzipMinBytes; ) {
    const next = chunks.next();
    if (next.done) return sendBytes(request, response, code, contentTypes[encoding.type], Buffer.concat(early));
    early.push(next.value);
    size += next.value.length;
  }
  if (!isOpen(response)) return;
  response.statusCode = code;
  response.setHeader("content-type", contentTypes[encoding.type]);
  response.setHeader("vary", "Accept-Encoding");
  const compressed = takesGzip(request);
  if (compressed) response.setHeader("content-encoding", "gzip");
  else if (length !== undefined) response.setHeader("content-length", length);
  if (request.method === "HEAD") return endWith(response, "");

  const pace = new Pace(clock);
  async function* inTurns() {
    yield* early;
    for (const chunk of chunks) {
      if (pace.overNow) await pace.pause();
      yield chunk;
    }
  }
  const put = async (all: AsyncIterable<Buffer>) => {
    for await (const chunk of all) {
      if (response.destroyed) return;
      write(response, chunk);
      if (response.writableLength > bufferedMaxBytes) await drained(response);
    }
  };
  if (compressed) await pipeline(inTurns, createGzip({ level: constants.Z_BEST_SPEED, chunkSize: chunkBytes }), put);
  else await put(inTurns());
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

/** Whether a body of JSON goes out as another text: as YAML, or indented. */
export function isRewritten(encoding: Encoding, pretty: boolean, length = 0): boolean {
  if (encoding.type === "yaml") return true;
  return encoding.type === "json" && (pretty || encoding.pretty === true) && length < prettyMaxBytes;
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
  if (!isRewritten(encoding, pretty, json.length)) {
    // It goes as it is.
  } else if (encoding.type === "yaml") {
    const { printYaml } = await import("./yaml-text.ts");
    body = printYaml(parseJson(json));
  } else {
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
