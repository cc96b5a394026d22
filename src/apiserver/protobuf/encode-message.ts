/**
 * Wire JSON to Kubernetes' protobuf, byte for byte as Go's generated marshallers write it: fields by number, maps by
 * key, zero values of everything that is no pointer. Written from the end to the beginning, as they do it, so that
 * each length is known when its turn comes.
 */
import { stringifyJson } from "../../machinery/json.ts";
import type { Schema } from "../../machinery/schema.ts";
import { parseTime } from "../../machinery/time-text.ts";
import {
  type FieldTable,
  jsonSchemaTable,
  type MessageTable,
  messageTable,
  shape,
  type Wire,
  wire,
} from "./message-table.ts";

type Values = Readonly<Record<string, unknown>>;

const firstSizeBytes = 4096;
/** Texts up to this length are copied here; the call into the runtime costs more. */
const shortText = 24;
/** Seconds of Go's zero time, year 1. */
const zeroTimeSeconds = -62_135_596_800;

class Output {
  #buffer = Buffer.allocUnsafe(firstSizeBytes);
  /** Where what was written so far begins. */
  #at = firstSizeBytes;

  get size(): number {
    return this.#buffer.length - this.#at;
  }

  taken(): Buffer {
    return this.#buffer.subarray(this.#at);
  }

  #reserve(count: number): void {
    if (count <= this.#at) return;
    const { size } = this;
    const bigger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, size + count));
    this.#buffer.copy(bigger, bigger.length - size, this.#at);
    this.#at = bigger.length - size;
    this.#buffer = bigger;
  }

  varint(value: number): void {
    if (value < 0x80 && value >= 0) {
      this.#reserve(1);
      this.#buffer[--this.#at] = value;
      return;
    }
    if (value < 0 || value > Number.MAX_SAFE_INTEGER) {
      this.bigVarint(BigInt(value));
      return;
    }
    let length = 1;
    for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
    this.#reserve(length);
    this.#at -= length;
    let at = this.#at;
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#buffer[at++] = (rest % 0x80) + 0x80;
    this.#buffer[at] = rest;
  }

  bigVarint(value: bigint): void {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, value);
    for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) + 0x80);
    bytes.push(Number(rest));
    this.#reserve(bytes.length);
    this.#at -= bytes.length;
    this.#buffer.set(bytes, this.#at);
  }

  double(value: number): void {
    this.#reserve(8);
    this.#at -= 8;
    this.#buffer.writeDoubleLE(value, this.#at);
  }

  /** Bytes and their length. */
  bytes(value: Buffer): void {
    this.#reserve(value.length);
    this.#at -= value.length;
    value.copy(this.#buffer, this.#at);
    this.varint(value.length);
  }

  /** A text and its length in bytes. */
  text(value: string): void {
    const { length } = value;
    if (length <= shortText) {
      this.#reserve(length + 1);
      const buffer = this.#buffer;
      let at = this.#at;
      let i = length - 1;
      for (; i >= 0; i--) {
        const code = value.charCodeAt(i);
        if (code >= 0x80) break;
        buffer[--at] = code;
      }
      if (i < 0) {
        buffer[--at] = length;
        this.#at = at;
        return;
      }
    }
    const size = Buffer.byteLength(value);
    this.#reserve(size);
    this.#at -= size;
    if (size === length) this.#buffer.latin1Write(value, this.#at, size);
    else this.#buffer.utf8Write(value, this.#at, size);
    this.varint(size);
  }
}

declare global {
  // In Node's Buffer, but not in its types.
  interface Buffer {
    latin1Write(text: string, offset: number, length: number): number;
    utf8Write(text: string, offset: number, length: number): number;
  }
}

function wrong(name: string, value: unknown): never {
  throw new TypeError(`Encode "${name}" in protobuf: unexpected value ${stringifyJson(value)?.slice(0, 100)}`);
}

function writeInteger(output: Output, value: unknown, name: string): void {
  if (typeof value === "number" && Number.isInteger(value)) output.varint(value);
  else if (typeof value === "bigint") output.bigVarint(value);
  else wrong(name, value);
}

/** A timestamp: seconds since the epoch and nanoseconds, nothing at all for Go's zero time. */
function writeTime(output: Output, value: unknown, micro: boolean, name: string): void {
  if (value === null || value === undefined) return;
  if (typeof value !== "string") wrong(name, value);
  const ms = value.length === 20 ? Date.parse(value) : parseTime(value);
  if (ms === undefined || Number.isNaN(ms)) wrong(name, value);
  const seconds = Math.floor(ms / 1000);
  const fraction = micro ? (/\.(\d{1,6})/.exec(value)?.[1] ?? "") : "";
  const nanos = fraction === "" ? 0 : Number(fraction.padEnd(6, "0")) * 1000;
  if (seconds === zeroTimeSeconds && nanos === 0) return;
  output.varint(nanos);
  output.varint(0x10);
  output.varint(seconds);
  output.varint(0x08);
}

function writeRaw(output: Output, value: unknown): void {
  if (value === null || value === undefined) return;
  output.text(stringifyJson(value));
  output.varint(0x0a);
}

function writeTexts(output: Output, tag: number, value: unknown, name: string): void {
  if (value === null || value === undefined) return;
  if (!Array.isArray(value)) wrong(name, value);
  for (let i = value.length - 1; i >= 0; i--) {
    output.text(value[i] as string);
    output.varint(tag);
  }
}

function writeSchema(output: Output, value: unknown): void {
  const end = output.size;
  writeMessage(output, jsonSchemaTable(), value as Values);
  output.varint(output.size - end);
  output.varint(0x0a);
}

/** A JSON schema, or what else can stand in its place. */
function writeUnion(output: Output, as: Wire, value: unknown, name: string): void {
  const isSchema = typeof value === "object" && value !== null && !Array.isArray(value);
  if (as === wire.schemaOrBoolean) {
    if (isSchema) {
      const end = output.size;
      writeMessage(output, jsonSchemaTable(), value as Values);
      output.varint(output.size - end);
      output.varint(0x12);
    } else if (typeof value !== "boolean") wrong(name, value);
    output.varint(value === false ? 0 : 1);
    output.varint(0x08);
  } else if (isSchema) writeSchema(output, value);
  else if (as === wire.schemaOrTexts) writeTexts(output, 0x12, value, name);
  else {
    if (!Array.isArray(value)) wrong(name, value);
    for (let i = value.length - 1; i >= 0; i--) {
      const end = output.size;
      writeMessage(output, jsonSchemaTable(), value[i] as Values);
      output.varint(output.size - end);
      output.varint(0x12);
    }
  }
}

/** Writes one value, with its length where it has one, without its tag. */
function writeValue(output: Output, field: FieldTable, value: unknown): void {
  switch (field.wire) {
    case wire.string:
      if (typeof value === "string") output.text(value);
      else if (value === undefined || value === null) output.varint(0);
      else wrong(field.name, value);
      return;
    case wire.integer:
      writeInteger(output, value ?? 0, field.name);
      return;
    case wire.boolean:
      output.varint(value ? 1 : 0);
      return;
    case wire.double:
      output.double(Number(value ?? 0));
      return;
    case wire.bytes:
      output.bytes(Buffer.from((value ?? "") as string, "base64"));
      return;
  }
  const end = output.size;
  switch (field.wire) {
    case wire.message:
      writeMessage(output, field.message!, (value ?? {}) as Values);
      break;
    case wire.quantity:
      output.text(value === undefined || value === null ? "0" : String(value));
      output.varint(0x0a);
      break;
    case wire.intOrString: {
      const isText = typeof value === "string";
      output.text(isText ? value : "");
      output.varint(0x1a);
      writeInteger(output, isText ? 0 : (value ?? 0), field.name);
      output.varint(0x10);
      output.varint(isText ? 1 : 0);
      output.varint(0x08);
      break;
    }
    case wire.time:
    case wire.microTime:
      writeTime(output, value, field.wire === wire.microTime, field.name);
      break;
    case wire.raw:
      writeRaw(output, value);
      break;
    case wire.texts:
      writeTexts(output, 0x0a, value, field.name);
      break;
    case wire.empty:
      break;
    default:
      writeUnion(output, field.wire, value, field.name);
  }
  output.varint(output.size - end);
}

/** In the order of their bytes in UTF-8, as Go sorts; surrogates stand for what comes after all other characters. */
function sortedKeys(map: Values): string[] {
  const keys = Object.keys(map);
  if (keys.length < 2) return keys;
  if (!keys.some((key) => /[\ud800-\udfff]/.test(key))) return keys.sort();
  return keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

function writeField(output: Output, field: FieldTable, value: unknown): void {
  if (field.shape === shape.single) {
    if (value === undefined || value === null) {
      // A nil slice is like a nil pointer.
      if (field.pointer || field.wire === wire.bytes || field.wire === wire.texts) return;
    }
    writeValue(output, field, value);
    output.varint(field.tag);
    return;
  }
  if (value === undefined || value === null) return;
  if (field.shape === shape.list) {
    if (!Array.isArray(value)) wrong(field.name, value);
    for (let i = value.length - 1; i >= 0; i--) {
      writeValue(output, field, value[i]);
      output.varint(field.tag);
    }
    return;
  }
  const keys = sortedKeys(value as Values);
  for (let i = keys.length - 1; i >= 0; i--) {
    const key = keys[i]!;
    const end = output.size;
    writeValue(output, field, (value as Values)[key]);
    output.varint(0x12);
    output.text(key);
    output.varint(0x0a);
    output.varint(output.size - end);
    output.varint(field.tag);
  }
}

function writeMessage(output: Output, table: MessageTable, object: Values): void {
  const { fields } = table;
  for (let i = fields.length - 1; i >= 0; i--) {
    const field = fields[i]!;
    writeField(output, field, field.name === "" ? object : object[field.name]);
  }
}

/**
 * Encodes an object in canonical form by its type. Absent values are written as Go writes those of a struct that was
 * never touched. Throws TypeError for a value that the type cannot hold.
 */
export function encodeMessage(schema: Schema, object: object): Buffer {
  const output = new Output();
  writeMessage(output, messageTable(schema), object as Values);
  // A copy of just that size: these bytes are kept.
  return Buffer.from(output.taken());
}
