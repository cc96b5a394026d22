/**
 * Bodies in Kubernetes' protobuf, as typed Go clients send them (`kubectl create configmap`), read into wire JSON by
 * the type's schema. Source: the generated.proto files and apimachinery's runtime.Unknown envelope.
 */
import { parseJson, setKey } from "../../machinery/json.ts";
import type { Field, Schema } from "../../machinery/schema.ts";

const magic = Buffer.from([0x6b, 0x38, 0x73, 0x00]);
const maxDepth = 100;

/** A length-delimited part of a message, and where in it we are. */
class Part {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new Error("proto: unexpected end of the body");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw new Error("proto: integer overflow");
  }

  bytes(): Buffer {
    const length = Number(this.varint());
    if (length < 0 || this.#at + length > this.#bytes.length) throw new Error("proto: unexpected end of the body");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** The next field's number and its value: a Buffer for what has a length, a bigint or number otherwise. */
  field(): { number: number; value: Buffer | bigint | number } {
    const tag = Number(this.varint());
    const number = tag >>> 3;
    switch (tag & 7) {
      case 0:
        return { number, value: this.varint() };
      case 1:
        this.#need(8);
        return { number, value: this.#bytes.readDoubleLE(this.#at - 8) };
      case 2:
        return { number, value: this.bytes() };
      case 5:
        this.#need(4);
        return { number, value: this.#bytes.readFloatLE(this.#at - 4) };
      default:
        throw new Error(`proto: wire type ${tag & 7} is not supported`);
    }
  }

  #need(length: number): void {
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new Error("proto: unexpected end of the body");
  }
}

/** All fields of a message, by number, in order. */
function fieldsOf(bytes: Buffer): Map<number, (Buffer | bigint | number)[]> {
  const part = new Part(bytes);
  const fields = new Map<number, (Buffer | bigint | number)[]>();
  while (!part.done) {
    const { number, value } = part.field();
    const values = fields.get(number);
    if (values) values.push(value);
    else fields.set(number, [value]);
  }
  return fields;
}

function asBytes(value: Buffer | bigint | number): Buffer {
  if (Buffer.isBuffer(value)) return value;
  throw new Error("proto: wrong wire type");
}

function asInteger(value: Buffer | bigint | number | undefined): number | bigint {
  if (value === undefined) return 0;
  if (typeof value !== "bigint") throw new Error("proto: wrong wire type");
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

const asText = (value: Buffer | bigint | number | undefined) =>
  value === undefined ? "" : asBytes(value).toString("utf8");

interface TableEntry {
  readonly name: string;
  readonly field: Field;
}
interface Table {
  readonly own: ReadonlyMap<number, TableEntry>;
  /** Sub-messages that JSON inlines. */
  readonly inlined: ReadonlyMap<number, Table>;
}

const tables = new WeakMap<Schema, Table>();

/** Fields by protobuf number; a field inside inlined sub-messages hangs in their tables. */
function tableOf(schema: Schema): Table {
  const known = tables.get(schema);
  if (known) return known;
  type Building = { own: Map<number, TableEntry>; inlined: Map<number, Building> };
  const empty = (): Building => ({ own: new Map(), inlined: new Map() });
  const table = empty();
  for (const [name, field] of Object.entries(schema.fields ?? {})) {
    if (field.proto === undefined) continue;
    let at = table;
    for (const number of field.protoPath ?? []) {
      const next = at.inlined.get(number) ?? empty();
      at.inlined.set(number, next);
      at = next;
    }
    at.own.set(field.proto, { name, field });
  }
  tables.set(schema, table);
  return table;
}

function readObject(table: Table, bytes: Buffer, object: Record<string, unknown>, depth: number): void {
  if (depth > maxDepth) throw new Error("proto: nested too deep");
  for (const [number, values] of fieldsOf(bytes)) {
    const inlined = table.inlined.get(number);
    if (inlined) for (const value of values) readObject(inlined, asBytes(value), object, depth + 1);
    const entry = table.own.get(number);
    if (entry) setKey(object, entry.name, readField(entry.field.schema, values, depth));
  }
}

function readField(schema: Schema, values: readonly (Buffer | bigint | number)[], depth: number): unknown {
  if (schema.type === "array" && schema.items) {
    const { items } = schema;
    // Numbers may come packed into one part.
    const packed = items.type === "integer" && values.length === 1 && Buffer.isBuffer(values[0]);
    if (packed) {
      const part = new Part(values[0] as Buffer);
      const list: unknown[] = [];
      while (!part.done) list.push(asInteger(part.varint()));
      return list;
    }
    return values.map((value) => readValue(items, value, depth + 1));
  }
  if (schema.type === "map" && schema.items) {
    const map: Record<string, unknown> = {};
    for (const value of values) {
      const entry = fieldsOf(asBytes(value));
      const item = entry.get(2)?.at(-1);
      setKey(
        map,
        asText(entry.get(1)?.at(-1)),
        item === undefined ? emptyValue(schema.items) : readElement(schema.items, item, depth),
      );
    }
    return map;
  }
  return readValue(schema, values.at(-1)!, depth);
}

/** A map's value; a list there is a message of its own (ExtraValue). */
function readElement(schema: Schema, value: Buffer | bigint | number, depth: number): unknown {
  if (schema.type !== "array") return readValue(schema, value, depth + 1);
  return readField(schema, fieldsOf(asBytes(value)).get(1) ?? [], depth + 1);
}

function emptyValue({ type }: Schema): unknown {
  return type === "array"
    ? []
    : type === "object" || type === "map"
      ? {}
      : type === "string" || type === "bytes"
        ? ""
        : 0;
}

function readValue(schema: Schema, value: Buffer | bigint | number, depth: number): unknown {
  switch (schema.type) {
    case "object": {
      const object: Record<string, unknown> = {};
      readObject(tableOf(schema), asBytes(value), object, depth + 1);
      return object;
    }
    case "string":
      return asText(value);
    case "integer":
      return asInteger(value);
    case "number":
      return typeof value === "bigint" ? Number(value) : value;
    case "boolean":
      return asInteger(value) !== 0;
    case "bytes":
      return asBytes(value).toString("base64");
    case "quantity":
      return asText(fieldsOf(asBytes(value)).get(1)?.at(-1));
    case "int-or-string": {
      const fields = fieldsOf(asBytes(value));
      return asInteger(fields.get(1)?.at(-1)) === 0 ? asInteger(fields.get(2)?.at(-1)) : asText(fields.get(3)?.at(-1));
    }
    case "time":
    case "micro-time": {
      const fields = fieldsOf(asBytes(value));
      const seconds = Number(asInteger(fields.get(1)?.at(-1)));
      const nanos = Number(asInteger(fields.get(2)?.at(-1)));
      // Go's zero time stands for "not set".
      if (seconds === 0 && nanos === 0) return null;
      const text = new Date(seconds * 1000).toISOString().slice(0, 19);
      if (schema.type === "time") return `${text}Z`;
      return `${text}.${String(Math.trunc(nanos / 1000)).padStart(6, "0")}Z`;
    }
    case "raw": {
      const raw = fieldsOf(asBytes(value)).get(1)?.at(-1);
      return raw === undefined || asBytes(raw).length === 0 ? null : parseJson(asBytes(raw));
    }
    default:
      throw new Error(`proto: a ${schema.type} cannot stand here`);
  }
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
  const envelope = fieldsOf(body.subarray(magic.length));
  const typeMeta = envelope.get(1)?.at(-1);
  const type = typeMeta === undefined ? new Map() : fieldsOf(asBytes(typeMeta));
  const apiVersion = asText(type.get(1)?.at(-1));
  const kind = asText(type.get(2)?.at(-1));
  const raw = envelope.get(2)?.at(-1);
  const object: Record<string, unknown> = {};
  if (apiVersion) object["apiVersion"] = apiVersion;
  if (kind) object["kind"] = kind;
  readObject(tableOf(schemaFor(apiVersion, kind)), raw === undefined ? Buffer.alloc(0) : asBytes(raw), object, 0);
  return object;
}
