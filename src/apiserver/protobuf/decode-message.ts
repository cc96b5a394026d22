/** Kubernetes' protobuf to wire JSON in canonical form: what Go's encoder leaves out is left out here, too. */
import { maxJsonDepth, parseJson, setKey } from "../../machinery/json.ts";
import type { Schema } from "../../machinery/schema.ts";
import {
  type FieldTable,
  jsonSchemaTable,
  type MessageTable,
  messageTable,
  shape,
  type Wire,
  wire,
} from "./message-table.ts";

const brokenOff = "proto: unexpected end of the body";
/** Where years have four digits: 0001-01-01 to 9999-12-31. */
const minSeconds = -62_135_596_800;
const maxSeconds = 253_402_300_799;

/** A message's bytes, and where in it we are. */
export class Input {
  readonly #bytes: Buffer;
  #at: number;
  readonly #end: number;

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new Error(brokenOff);
    return this.#bytes[this.#at++]!;
  }

  /** A whole number that fits 32 bits: tags and lengths. */
  #small(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    for (let factor = 0x80; factor < 2 ** 35; factor *= 0x80) {
      const byte = this.#byte();
      value += (byte & 0x7f) * factor;
      if (byte >= 0x80) continue;
      if (value > 0x7fffffff) break;
      return value;
    }
    throw new Error("proto: integer overflow");
  }

  tag(): number {
    const tag = this.#small();
    if (tag < 8) throw new Error(`proto: illegal tag ${tag >>> 3} (wire type ${tag & 7})`);
    return tag;
  }

  integer(): number | bigint {
    const first = this.#byte();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    let factor = 0x80;
    const start = this.#at;
    for (let length = 1; length < 8; length++, factor *= 0x80) {
      const byte = this.#byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return Number.isSafeInteger(value) ? value : this.#big(start);
    }
    return this.#big(start);
  }

  /** All ten bytes: a negative number, or one beyond 2^53. `start` follows the first byte. */
  #big(start: number): number | bigint {
    this.#at = start - 1;
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      value = BigInt.asIntN(64, value);
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value;
    }
    throw new Error("proto: integer overflow");
  }

  #skip(length: number): number {
    const start = this.#at;
    if (start + length > this.#end) throw new Error(brokenOff);
    this.#at += length;
    return start;
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#skip(8));
  }

  text(): string {
    const length = this.#small();
    const start = this.#skip(length);
    return length === 0 ? "" : this.#bytes.toString("utf8", start, start + length);
  }

  bytes(): Buffer {
    const length = this.#small();
    const start = this.#skip(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** The part that stands here with its length. */
  part(): Input {
    const length = this.#small();
    const start = this.#skip(length);
    return new Input(this.#bytes, start, start + length);
  }

  /** Passes over a field that nobody asked for. */
  pass(tag: number): void {
    switch (tag & 7) {
      case 0:
        this.integer();
        return;
      case 1:
        this.#skip(8);
        return;
      case 2:
        this.#skip(this.#small());
        return;
      case 5:
        this.#skip(4);
        return;
      default:
        throw new Error(`proto: illegal wireType ${tag & 7}`);
    }
  }
}

/** The last value of each field that has a length, by number. */
export function partsOf(input: Input): Buffer[] {
  const parts: Buffer[] = [];
  while (!input.done) {
    const tag = input.tag();
    if ((tag & 7) === 2) parts[tag >>> 3] = input.bytes();
    else input.pass(tag);
  }
  return parts;
}

type Values = Record<string, unknown>;

function readMessage(input: Input, table: MessageTable, object: Values, depth: number): void {
  if (depth > maxJsonDepth) throw new Error("proto: nested too deep");
  const { byNumber } = table;
  while (!input.done) {
    const tag = input.tag();
    const field = byNumber[tag >>> 3];
    if (!field) input.pass(tag);
    else if (tag === field.tag) readField(input, field, object, depth);
    else if (field.shape === shape.list && (tag & 7) === 2) readPacked(input.part(), field, object, depth);
    else throw new Error(`proto: wrong wireType = ${tag & 7} for field ${field.name}`);
  }
}

function readField(input: Input, field: FieldTable, object: Values, depth: number): void {
  const { name } = field;
  if (name === "") {
    readMessage(input.part(), field.message!, object, depth + 1);
    return;
  }
  if (field.shape === shape.list) {
    const value = readValue(input, field, undefined, depth);
    const list = object[name] as unknown[] | undefined;
    if (list) list.push(value);
    else object[name] = [value];
    return;
  }
  if (field.shape === shape.map) {
    object[name] ??= {};
    readEntry(input.part(), field, object[name] as Values, depth);
    return;
  }
  const value = readValue(input, field, object[name], depth);
  const isZero = value === "" || value === 0 || value === false || value === null;
  // A pointer to Go's zero time, or to an empty raw value, reads as null, which is as good as absent.
  if (isZero && (field.omitZero || (value === null && field.pointer))) delete object[name];
  else object[name] = value;
}

/** Numbers of a list in one part, which proto3 writers send. */
function readPacked(part: Input, field: FieldTable, object: Values, depth: number): void {
  if (field.wire !== wire.integer && field.wire !== wire.boolean) {
    throw new Error(`proto: wrong wireType = 2 for field ${field.name}`);
  }
  object[field.name] ??= [];
  while (!part.done) (object[field.name] as unknown[]).push(readValue(part, field, undefined, depth));
}

function readEntry(input: Input, field: FieldTable, map: Values, depth: number): void {
  let key = "";
  let value: unknown;
  let found = false;
  while (!input.done) {
    const tag = input.tag();
    if (tag === 0x0a) key = input.text();
    else if (tag >>> 3 === 2) {
      value = readValue(input, field, undefined, depth);
      found = true;
    } else input.pass(tag);
  }
  // What has no value has the zero value of its type.
  if (!found) value = readValue(new Input(Buffer.alloc(9)), field, undefined, depth);
  setKey(map, key, value);
}

function readValue(input: Input, field: FieldTable, before: unknown, depth: number): unknown {
  switch (field.wire) {
    case wire.string:
      return input.text();
    case wire.integer:
      return input.integer();
    case wire.boolean:
      return input.integer() !== 0;
    case wire.double:
      return input.double();
    case wire.bytes:
      return input.bytes().toString("base64");
    case wire.message: {
      // Parts of one message add up.
      const object = (before ?? {}) as Values;
      readMessage(input.part(), field.message!, object, depth + 1);
      return object;
    }
    case wire.quantity:
      return readText(input.part(), 1);
    case wire.intOrString:
      return readIntOrString(input.part());
    case wire.time:
    case wire.microTime:
      return readTime(input.part(), field.wire === wire.microTime);
    case wire.raw: {
      const json = partsOf(input.part())[1];
      return json === undefined || json.length === 0 ? null : parseJson(json);
    }
    case wire.texts:
      return readTexts(input.part(), 0x0a);
    case wire.empty:
      input.part();
      return {};
    default:
      return readUnion(input.part(), field.wire, depth);
  }
}

function readText(input: Input, number: number): string {
  return partsOf(input)[number]?.toString("utf8") ?? "";
}

function readTexts(input: Input, textTag: number): string[] {
  const texts: string[] = [];
  while (!input.done) {
    const tag = input.tag();
    if (tag === textTag) texts.push(input.text());
    else input.pass(tag);
  }
  return texts;
}

function readIntOrString(input: Input): unknown {
  let type: number | bigint = 0;
  let number: number | bigint = 0;
  let text = "";
  while (!input.done) {
    const tag = input.tag();
    if (tag === 0x08) type = input.integer();
    else if (tag === 0x10) number = input.integer();
    else if (tag === 0x1a) text = input.text();
    else input.pass(tag);
  }
  return type === 0 ? number : text;
}

/** The time's text; null for Go's zero time, which has no bytes. */
function readTime(input: Input, micro: boolean): string | null {
  if (input.done) return null;
  let seconds = 0;
  let nanos = 0;
  while (!input.done) {
    const tag = input.tag();
    if (tag === 0x08) seconds = Number(input.integer());
    else if (tag === 0x10) nanos = Number(input.integer());
    else input.pass(tag);
  }
  if (seconds < minSeconds || seconds > maxSeconds || nanos < 0 || nanos > 999_999_999) {
    throw new Error(`proto: ${seconds}.${nanos} is no time`);
  }
  if (seconds === minSeconds && (!micro || nanos < 1000)) return null;
  const text = new Date(seconds * 1000).toISOString().slice(0, 19);
  return micro ? `${text}.${String(Math.trunc(nanos / 1000)).padStart(6, "0")}Z` : `${text}Z`;
}

function readUnion(input: Input, as: Wire, depth: number): unknown {
  let schema: Values | undefined;
  let allows = false;
  const texts: string[] = [];
  const list: Values[] = [];
  const read = (into: Values) => {
    readMessage(input.part(), jsonSchemaTable(), into, depth + 1);
    return into;
  };
  const schemaTag = as === wire.schemaOrBoolean ? 0x12 : 0x0a;
  while (!input.done) {
    const tag = input.tag();
    if (tag === schemaTag) schema = read(schema ?? {});
    else if (tag === 0x08) allows = input.integer() !== 0;
    else if (tag !== 0x12) input.pass(tag);
    else if (as === wire.schemaOrList) list.push(read({}));
    else texts.push(input.text());
  }
  if (schema) return schema;
  return as === wire.schemaOrBoolean ? allows : as === wire.schemaOrList ? list : texts;
}

/** Decodes a message into `object`. Throws Error with a text for the client when it breaks off or does not fit. */
export function decodeMessage(schema: Schema, bytes: Buffer, object: Record<string, unknown> = {}): Values {
  readMessage(new Input(bytes), messageTable(schema), object, 0);
  return object;
}
