/**
 * Objects, lists and watch events as typed Go clients exchange them: `k8s`, a zero byte, and a runtime.Unknown that
 * names the type of the message in it. Source: apimachinery's serializer/protobuf and runtime/generated.proto.
 */
import { builtInSchema } from "../../api/schemas.ts";
import type { Schema } from "../../machinery/schema.ts";
import { decodeMessage, Input, partsOf } from "../protobuf/decode-message.ts";
import { encodeMessage } from "../protobuf/encode-message.ts";

export const protobufType = "application/vnd.kubernetes.protobuf";

const magic = Buffer.from([0x6b, 0x38, 0x73, 0x00]);
/** The envelope's empty contentEncoding and contentType. */
const envelopeEnd = Buffer.from([0x1a, 0x00, 0x22, 0x00]);

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
  return bytes;
}

/** The number of a field that has a length, and that length. */
export function fieldHeader(number: number, length: number): Buffer {
  return Buffer.from([...varint(number * 8 + 2), ...varint(length)]);
}

function part(number: number, content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([fieldHeader(number, bytes.length), bytes]);
}

const prefixes = new Map<string, Buffer>();
const maxPrefixes = 500;

/** What stands before the message: the magic number and the type. */
function envelopePrefix(apiVersion: string, kind: string): Buffer {
  const key = `${apiVersion}/${kind}`;
  let prefix = prefixes.get(key);
  if (!prefix) {
    prefix = Buffer.concat([magic, part(1, Buffer.concat([part(1, apiVersion), part(2, kind)]))]);
    // Types come from requests, too.
    if (prefixes.size < maxPrefixes) prefixes.set(key, prefix);
  }
  return prefix;
}

/** What stands before and after an encoded message of so many bytes. */
export function envelopeAround(apiVersion: string, kind: string, length: number): readonly [Buffer, Buffer] {
  return [Buffer.concat([envelopePrefix(apiVersion, kind), fieldHeader(2, length)]), envelopeEnd];
}

/** Puts an encoded message, in one piece or several, into its envelope. */
export function envelop(apiVersion: string, kind: string, message: Buffer | readonly Buffer[]): Buffer {
  const pieces = Buffer.isBuffer(message) ? [message] : message;
  let length = 0;
  for (const piece of pieces) length += piece.length;
  const [start, end] = envelopeAround(apiVersion, kind, length);
  return Buffer.concat([start, ...pieces, end]);
}

const metaPackage = "io.k8s.apimachinery.pkg.apis.meta.v1";

/** The ObjectMeta of an object as a message with only that: PartialObjectMetadata. */
export function encodePartialMetadata(object: { readonly metadata: object }): Buffer {
  return part(1, encodeMessage(builtInSchema(`${metaPackage}.ObjectMeta`), object.metadata));
}

/** The pieces of a list: its metadata, then what {@link listItem} makes of each item. */
export function listHead(metadata: object): Buffer {
  return part(1, encodeMessage(builtInSchema(`${metaPackage}.ListMeta`), metadata));
}

/** What stands before an encoded item of a list. */
export function listItemHeader(length: number): Buffer {
  return fieldHeader(2, length);
}

/** Bytes of the length before each frame of a watch. */
export const frameHeaderBytes = 4;

/** One frame of a watch: its length in four bytes, then a WatchEvent, which has no envelope while its object has. */
export function watchFrame(type: string, object: Buffer): Buffer {
  const event = [part(1, type), part(2, Buffer.concat([fieldHeader(1, object.length), object]))];
  const length = Buffer.alloc(frameHeaderBytes);
  length.writeUInt32BE(event[0]!.length + event[1]!.length);
  return Buffer.concat([length, ...event]);
}

/** Kinds that are of no group: replies and the options of requests. */
const metaKinds: ReadonlySet<string> = new Set([
  "Status",
  "DeleteOptions",
  "APIVersions",
  "APIGroupList",
  "APIGroup",
  "APIResourceList",
]);

/** The schema of a built-in kind by what the object says of itself; undefined when there is none. */
function schemaOf(apiVersion: string, kind: string): Schema | undefined {
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/", 2) : ["", apiVersion];
  const name = metaKinds.has(kind)
    ? `${metaPackage}.${kind}`
    : `io.k8s.api.${group === "" ? "core" : group!.split(".", 1)[0]}.${version}.${kind}`;
  try {
    return builtInSchema(name);
  } catch {
    return undefined;
  }
}

/** Encodes an object that names its type: a Status, a review, a token. Undefined for kinds that have no protobuf. */
export function encodeKubernetesProtobuf(object: object): Buffer | undefined {
  const { apiVersion = "v1", kind = "" } = object as { apiVersion?: string; kind?: string };
  const schema = schemaOf(apiVersion, kind);
  return schema && envelop(apiVersion, kind, encodeMessage(schema, object));
}

/**
 * Decodes an enveloped body. `schemaFor` gives the type of a kind.
 * @throws Error with a text for the client when it is no Kubernetes protobuf or breaks off
 */
export function decodeKubernetesProtobuf(
  body: Buffer,
  schemaFor: (apiVersion: string, kind: string) => Schema,
): Record<string, unknown> {
  if (!body.subarray(0, magic.length).equals(magic)) {
    throw new Error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  }
  if (body.length === magic.length) throw new Error("empty body");
  const [, typeMeta, raw] = partsOf(new Input(body, magic.length));
  const [, apiVersion = "", kind = ""] = typeMeta ? partsOf(new Input(typeMeta)).map(String) : [];
  const object: Record<string, unknown> = {};
  if (apiVersion) object["apiVersion"] = apiVersion;
  if (kind) object["kind"] = kind;
  return decodeMessage(schemaFor(apiVersion, kind), raw ?? Buffer.alloc(0), object);
}
