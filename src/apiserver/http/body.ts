import type { Clock } from "../../machinery/clock.ts";
import { parseJson } from "../../machinery/json.ts";
import type { Schema } from "../../machinery/schema.ts";
import { badRequest, requestEntityTooLarge, timeout, unsupportedMediaType } from "../../machinery/status.ts";
import { decodeKubernetesProtobuf, protobufType } from "./kubernetes-protobuf.ts";
import type { Incoming } from "./messages.ts";
import { parseYaml, type YamlBodyOptions } from "./yaml-body.ts";

/** kube-apiserver's limit for request bodies. */
export const bodyMaxBytes = 3 * 1024 * 1024;

/** The schema that a protobuf body of a kind is read by. Throws for a kind that cannot stand here. */
export type SchemaFor = (apiVersion: string, kind: string) => Schema;

/** kube-apiserver's time for a request, all of it (`--request-timeout`). */
const bodyTimeoutMs = 60_000;
/** For the answer to reach a client that is still sending. */
const farewellMs = 1000;

/** Reads the whole body. Throws 413 beyond {@link bodyMaxBytes}, 400 when it breaks off, 504 when it takes too long. */
export async function readBody(request: Incoming, clock: Clock): Promise<Buffer> {
  const late = Promise.withResolvers<never>();
  const timer = clock.after(bodyTimeoutMs, () => {
    late.reject(timeout("Timeout: request did not complete within the allotted timeout"));
    clock.after(farewellMs, () => request.destroy());
  });
  try {
    return await Promise.race([wholeBody(request), late.promise]);
  } finally {
    timer.cancel();
  }
}

function wholeBody(request: Incoming): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    let ended = false;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      // The rest is read and dropped, so that the client gets to see the answer.
      if (length <= bodyMaxBytes) chunks.push(chunk);
      else chunks.length = 0;
      if (length > 4 * bodyMaxBytes) {
        reject(requestEntityTooLarge(`Request entity too large: limit is ${bodyMaxBytes}`));
        request.destroy();
      }
    });
    request.once("end", () => {
      ended = true;
      if (length > bodyMaxBytes) reject(requestEntityTooLarge(`Request entity too large: limit is ${bodyMaxBytes}`));
      else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    });
    const broken = () => ended || reject(badRequest("the request's body broke off"));
    request.once("error", broken);
    request.once("close", broken);
    request.once("aborted", broken);
  });
}

/** "application/json" of "application/json; charset=utf-8". */
export function mediaTypeOf(contentType: string | undefined): string {
  return (contentType ?? "").split(";", 1)[0]!.trim().toLowerCase();
}

/** How Kubernetes cites a body that it cannot read: its beginning, as hex when it is no JSON object. */
function summary(body: Buffer): string {
  if (body.length === 0) return "<empty>";
  const cut = body.length > 30 ? " ..." : "";
  return body.toString(body[0] === 0x7b ? "utf8" : "hex", 0, 30) + cut;
}

/**
 * Parses a body by its content type. Throws 415 for a type that cannot be read, 400 for a body that is not what its
 * type says.
 */
export async function parseBody(
  body: Buffer,
  mediaType: string,
  expectedKind: string,
  options: YamlBodyOptions,
  schemaFor: SchemaFor | undefined,
): Promise<unknown> {
  const types = ["application/json", "application/yaml", ...(schemaFor ? [protobufType] : [])];
  if (mediaType !== "" && !types.includes(mediaType)) {
    const list = types.join(", ");
    throw unsupportedMediaType(
      `the body of the request was in an unknown format - accepted media types include: ${list}`,
    );
  }
  try {
    if (mediaType === protobufType) return decodeKubernetesProtobuf(body, schemaFor!);
    return mediaType === "application/yaml" ? await parseYaml(body, options) : parseJson(body, options);
  } catch (error) {
    const why = (error as Error).message;
    throw badRequest(
      `the object provided is unrecognized (must be of type ${expectedKind}): ${why} (${summary(body)})`,
    );
  }
}
