/**
 * Protocol buffers from tables: a message is a table of fields, and its TypeScript type follows from the table.
 * Messages are made with {@link message}, fields with the small functions below: `message("Mount", { hostPath: string(2) })`.
 */

type ScalarKind = "string" | "bytes" | "bool" | "int32" | "int64" | "uint32" | "uint64" | "bigint" | "double" | "enum";

/** One field of a message. The type parameters exist for the compiler only: what encoding takes and decoding gives. */
export interface ProtoField<In = unknown, Out = In> {
  readonly number: number;
  readonly kind: ScalarKind | "message" | "map";
  readonly repeated: boolean;
  /** For "message"; a function, so that messages can be recursive. */
  readonly message?: () => Message;
  /** For "enum": the names by number. */
  readonly names?: readonly string[];
  /** For "map" with string keys: the field that describes the values. */
  readonly value?: ProtoField;
  readonly _types?: { readonly in: In; readonly out: Out };
}

// biome-ignore lint/suspicious/noExplicitAny: the field types vary and are inferred by users of the tables
type Fields = Readonly<Record<string, ProtoField<any, any>>>;

/** A table of fields by their JSON name. */
export interface Message<F extends Fields = Fields> {
  readonly name: string;
  readonly fields: F;
  /** Fields by number, for decoding. */
  readonly byNumber: ReadonlyMap<number, readonly [name: string, field: ProtoField]>;
}

/** What `encodeMessage` takes: every field may be left out. */
export type MessageInput<M extends Message> = {
  [K in keyof M["fields"]]?: NonNullable<M["fields"][K]["_types"]>["in"] | undefined;
};
/** What `decodeMessage` gives: absent scalars, lists and maps have their zero value; absent messages are undefined. */
export type MessageOutput<M extends Message> = {
  [K in keyof M["fields"]]: NonNullable<M["fields"][K]["_types"]>["out"];
};

/** Makes a message from its table. Throws when a field number stands twice. */
export function message<F extends Fields>(name: string, fields: F): Message<F> {
  const byNumber = new Map<number, readonly [string, ProtoField]>();
  for (const [key, field] of Object.entries(fields)) {
    const other = byNumber.get(field.number);
    if (other) throw new Error(`message ${name}: fields ${other[0]} and ${key} share the number ${field.number}`);
    byNumber.set(field.number, [key, field]);
  }
  return { name, fields, byNumber };
}

const scalar =
  <T>(kind: ScalarKind) =>
  (number: number): ProtoField<T> => ({ number, kind, repeated: false });

export const string = scalar<string>("string");
export const bytes = scalar<Uint8Array>("bytes") as (number: number) => ProtoField<Uint8Array, Buffer>;
export const bool = scalar<boolean>("bool");
export const int32 = scalar<number>("int32");
export const uint32 = scalar<number>("uint32");
/** As a number: exact up to 2^53, rounded beyond (times in nanoseconds). */
export const int64 = scalar<number>("int64");
export const uint64 = scalar<number>("uint64");
/** A signed 64-bit integer that has to stay exact. */
export const bigint = scalar<bigint>("bigint");
export const double = scalar<number>("double");

/** An enumeration whose numbers are 0, 1, 2, …; an unknown number decodes as its digits. */
export function enumeration<const N extends readonly string[]>(number: number, names: N): ProtoField<N[number]> {
  return { number, kind: "enum", repeated: false, names };
}

/** A nested message. */
export function nested<M extends Message>(
  number: number,
  of: M,
): ProtoField<MessageInput<M>, MessageOutput<M> | undefined> {
  return { number, kind: "message", repeated: false, message: () => of };
}

/** A nested message that is defined later, or contains itself. */
export function recursive<In, Out = In>(number: number, of: () => Message): ProtoField<In, Out | undefined> {
  return { number, kind: "message", repeated: false, message: of };
}

/** A list of what the given field holds. */
export function repeated<In, Out>(field: ProtoField<In, Out>): ProtoField<readonly In[], NonNullable<Out>[]> {
  return { ...field, repeated: true } as ProtoField as ProtoField<readonly In[], NonNullable<Out>[]>;
}

/** A map from strings to strings. */
export function stringMap(number: number): ProtoField<Readonly<Record<string, string>>, Record<string, string>> {
  return { number, kind: "map", repeated: false, value: string(2) };
}

const varintKinds = new Set(["bool", "int32", "int64", "uint32", "uint64", "bigint", "enum"]);

class Writer {
  buffer = Buffer.allocUnsafe(512);
  length = 0;

  reserve(count: number): void {
    if (this.length + count <= this.buffer.length) return;
    const bigger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.length + count));
    this.buffer.copy(bigger, 0, 0, this.length);
    this.buffer = bigger;
  }

  varint(value: number): void {
    this.reserve(10);
    if (value < 0 || value > Number.MAX_SAFE_INTEGER) {
      this.bigVarint(BigInt(value));
      return;
    }
    let rest = value;
    while (rest >= 0x80) {
      this.buffer[this.length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.buffer[this.length++] = rest;
  }

  bigVarint(value: bigint): void {
    this.reserve(10);
    let rest = BigInt.asUintN(64, value);
    while (rest >= 0x80n) {
      this.buffer[this.length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.buffer[this.length++] = Number(rest);
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.reserve(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  /** Writes what `body` writes, preceded by its length. One byte is set aside first: most bodies are short. */
  delimited(body: () => void): void {
    this.reserve(1);
    const start = ++this.length;
    body();
    const size = this.length - start;
    if (size < 0x80) {
      this.buffer[start - 1] = size;
      return;
    }
    let extra = 0;
    for (let rest = size; rest >= 0x80; rest = Math.floor(rest / 0x80)) extra++;
    this.reserve(extra);
    this.buffer.copyWithin(start + extra, start, this.length);
    this.length = start - 1;
    this.varint(size);
    this.length += size;
  }
}

function writeScalar(writer: Writer, field: ProtoField, value: unknown, path: string): void {
  switch (field.kind) {
    case "string": {
      const text = String(value);
      const size = Buffer.byteLength(text);
      writer.varint(size);
      writer.reserve(size);
      writer.length += writer.buffer.write(text, writer.length);
      return;
    }
    case "bytes":
      writer.bytes(value as Uint8Array);
      break;
    case "bool":
      writer.varint(value ? 1 : 0);
      break;
    case "bigint":
      writer.bigVarint(value as bigint);
      break;
    case "double":
      writer.reserve(8);
      writer.length = writer.buffer.writeDoubleLE(value as number, writer.length);
      return;
    case "enum": {
      const index = field.names?.indexOf(value as string) ?? -1;
      const number = index >= 0 ? index : Number(value);
      if (!Number.isInteger(number)) throw new Error(`${path}: "${value}" is none of ${field.names?.join(", ")}`);
      writer.varint(number);
      break;
    }
    default:
      if (!Number.isInteger(value)) throw new Error(`${path}: want an integer, have ${JSON.stringify(value)}`);
      writer.varint(value as number);
      break;
  }
}

function isZero(field: ProtoField, value: unknown): boolean {
  if (field.kind === "bytes") return (value as Uint8Array).length === 0;
  if (field.kind === "enum") return value === field.names?.[0];
  return value === "" || value === 0 || value === false || value === 0n;
}

const wireType = (field: ProtoField): number => (varintKinds.has(field.kind) ? 0 : field.kind === "double" ? 1 : 2);

function writeMessage(writer: Writer, table: Message, value: Readonly<Record<string, unknown>>, path: string): void {
  for (const key in value) {
    const content = value[key];
    if (content === undefined || content === null) continue;
    const field = table.fields[key];
    if (!field) throw new Error(`${path}: ${table.name} has no field "${key}"`);
    const here = `${path}.${key}`;
    const tag = field.number * 8 + wireType(field);
    if (field.kind === "map") {
      for (const [name, entry] of Object.entries(content)) {
        writer.varint(tag);
        writer.delimited(() => {
          writer.varint(10);
          writeScalar(writer, string(1), name, here);
          writer.varint(field.value!.number * 8 + wireType(field.value!));
          writeScalar(writer, field.value!, entry, here);
        });
      }
    } else if (field.kind === "message") {
      for (const item of field.repeated ? (content as readonly object[]) : [content as object]) {
        writer.varint(tag);
        writer.delimited(() => writeMessage(writer, field.message!(), item as Record<string, unknown>, here));
      }
    } else if (!field.repeated) {
      if (isZero(field, content)) continue;
      writer.varint(tag);
      writeScalar(writer, field, content, here);
    } else if (wireType(field) === 2) {
      for (const item of content as readonly unknown[]) {
        writer.varint(tag);
        writeScalar(writer, field, item, here);
      }
    } else if ((content as readonly unknown[]).length > 0) {
      writer.varint(field.number * 8 + 2);
      writer.delimited(() => {
        for (const item of content as readonly unknown[]) writeScalar(writer, field, item, here);
      });
    }
  }
}

/** Encodes a value. Throws, naming the path, when it has a field that the message does not know or of a wrong type. */
export function encodeMessage<M extends Message>(table: M, value: MessageInput<M>): Buffer {
  const writer = new Writer();
  writeMessage(writer, table, value as Record<string, unknown>, table.name);
  return writer.buffer.subarray(0, writer.length);
}

class Reader {
  readonly buffer: Buffer;
  position: number;
  readonly end: number;

  constructor(buffer: Buffer, position: number, end: number) {
    this.buffer = buffer;
    this.position = position;
    this.end = end;
  }

  byte(): number {
    if (this.position >= this.end) throw new Error("protobuf message ends too early");
    return this.buffer[this.position++]!;
  }

  varint(): number {
    const first = this.byte();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    let factor = 0x80;
    for (let count = 1; count < 10; count++) {
      const next = this.byte();
      value += (next & 0x7f) * factor;
      if (next < 0x80) return value;
      factor *= 0x80;
    }
    throw new Error("protobuf varint is longer than 10 bytes");
  }

  bigVarint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const next = this.byte();
      value |= BigInt(next & 0x7f) << shift;
      if (next < 0x80) return BigInt.asIntN(64, value);
    }
    throw new Error("protobuf varint is longer than 10 bytes");
  }

  /** A reader of the next length-delimited part. */
  part(): Reader {
    const size = this.varint();
    const start = this.position;
    if (start + size > this.end) throw new Error("protobuf message ends too early");
    this.position += size;
    return new Reader(this.buffer, start, start + size);
  }

  skip(type: number): void {
    if (type === 0) while (this.byte() >= 0x80);
    else if (type === 1) this.position += 8;
    else if (type === 2) this.part();
    else if (type === 5) this.position += 4;
    else throw new Error(`protobuf wire type ${type} is not supported`);
  }
}

function signed(reader: Reader): number {
  const start = reader.position;
  const value = reader.varint();
  if (value <= Number.MAX_SAFE_INTEGER) return value;
  reader.position = start;
  return Number(reader.bigVarint());
}

function readScalar(reader: Reader, field: ProtoField): unknown {
  switch (field.kind) {
    case "string": {
      const part = reader.part();
      return part.buffer.toString("utf8", part.position, part.end);
    }
    case "bytes": {
      const part = reader.part();
      return Buffer.from(part.buffer.subarray(part.position, part.end));
    }
    case "bool":
      return reader.varint() !== 0;
    case "bigint":
      return reader.bigVarint();
    case "double":
      reader.position += 8;
      if (reader.position > reader.end) throw new Error("protobuf message ends too early");
      return reader.buffer.readDoubleLE(reader.position - 8);
    case "int32":
      return signed(reader) | 0;
    case "int64":
      return signed(reader);
    case "enum": {
      const number = reader.varint();
      return field.names?.[number] ?? String(number);
    }
    default:
      return reader.varint();
  }
}

/** Nobody can change it, so that all share it: a new one takes longer than the rest of a small message. */
const nothing = Buffer.alloc(0);

function zeroOf(field: ProtoField): unknown {
  if (field.repeated) return [];
  switch (field.kind) {
    case "string":
      return "";
    case "bytes":
      return nothing;
    case "bool":
      return false;
    case "bigint":
      return 0n;
    case "enum":
      return field.names?.[0];
    case "map":
      return {};
    case "message":
      return undefined;
    default:
      return 0;
  }
}

function readMap(part: Reader, field: ProtoField): [string, unknown] {
  let key = "";
  let value = zeroOf(field.value!);
  while (part.position < part.end) {
    const tag = part.varint();
    if (tag === 10) key = readScalar(part, string(1)) as string;
    else if (tag >>> 3 === 2) value = readScalar(part, field.value!);
    else part.skip(tag & 7);
  }
  return [key, value];
}

function readMessage(reader: Reader, table: Message): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const key in table.fields) result[key] = zeroOf(table.fields[key]!);
  while (reader.position < reader.end) {
    const tag = reader.varint();
    const type = tag & 7;
    const known = table.byNumber.get(Math.floor(tag / 8));
    if (!known) {
      reader.skip(type);
      continue;
    }
    const [key, field] = known;
    if (field.kind === "map") {
      const [name, value] = readMap(reader.part(), field);
      // Keys come from others: "__proto__" has to be a key like any other.
      Object.defineProperty(result[key], name, { value, enumerable: true, configurable: true, writable: true });
    } else if (field.kind === "message") {
      const value = readMessage(reader.part(), field.message!());
      if (field.repeated) (result[key] as unknown[]).push(value);
      else result[key] = value;
    } else if (!field.repeated) {
      result[key] = readScalar(reader, field);
    } else if (type === 2 && wireType(field) !== 2) {
      const part = reader.part();
      while (part.position < part.end) (result[key] as unknown[]).push(readScalar(part, field));
    } else {
      (result[key] as unknown[]).push(readScalar(reader, field));
    }
  }
  return result;
}

/** Decodes a value; fields that the message does not know are skipped. Throws when the bytes are no such message. */
export function decodeMessage<M extends Message>(table: M, encoded: Uint8Array): MessageOutput<M> {
  const buffer = Buffer.isBuffer(encoded)
    ? encoded
    : Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  return readMessage(new Reader(buffer, 0, buffer.length), table) as MessageOutput<M>;
}
