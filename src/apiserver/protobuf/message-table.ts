/**
 * What a schema looks like in Kubernetes' protobuf: its fields in the order of their numbers, with all that encoding and
 * decoding have to know of each. Made once a schema. Source: the generated.proto files of k8s.io/api.
 */
import { builtInSchema } from "../../api/schemas.ts";
import type { Field, Schema } from "../../machinery/schema.ts";

/** How a value is written. */
export const wire = {
  string: 0,
  integer: 1,
  boolean: 2,
  double: 3,
  bytes: 4,
  message: 5,
  /** A message that holds the text. */
  quantity: 6,
  intOrString: 7,
  time: 8,
  microTime: 9,
  /** A message that holds the value's JSON. */
  raw: 10,
  /** A message that holds a list of texts, where JSON has the list itself. */
  texts: 11,
  /** Either a JSON schema or one of these; in protobuf messages with a field for each. */
  schemaOrBoolean: 12,
  schemaOrList: 13,
  schemaOrTexts: 14,
  /** A message without fields. */
  empty: 15,
} as const;

export type Wire = (typeof wire)[keyof typeof wire];

/** How often a field may stand: once, as a list, or as a map. */
export const shape = { single: 0, list: 1, map: 2 } as const;

export interface FieldTable {
  readonly number: number;
  /** The key in JSON; "" for a sub-message whose fields JSON inlines. */
  readonly name: string;
  readonly wire: Wire;
  readonly shape: (typeof shape)[keyof typeof shape];
  /** A pointer in Go: nothing is written when it is absent. The zero values of others are. */
  readonly pointer: boolean;
  /** JSON leaves the zero value out. */
  readonly omitZero: boolean;
  /** Number and wire type as they stand before the value. */
  readonly tag: number;
  /** The fields of a message. */
  readonly message: MessageTable | undefined;
}

export class MessageTable {
  readonly #make: () => FieldTable[];
  #fields: readonly FieldTable[] | undefined;
  #byNumber: readonly (FieldTable | undefined)[] | undefined;

  /** Recursive types refer to themselves, so the fields are made when they are first looked at. */
  constructor(make: () => FieldTable[]) {
    this.#make = make;
  }

  /** In the order of their numbers, which is the order on the wire. */
  get fields(): readonly FieldTable[] {
    this.#fields ??= this.#make().sort((a, b) => a.number - b.number);
    return this.#fields;
  }

  get byNumber(): readonly (FieldTable | undefined)[] {
    if (!this.#byNumber) {
      const byNumber: FieldTable[] = [];
      for (const field of this.fields) byNumber[field.number] = field;
      this.#byNumber = byNumber;
    }
    return this.#byNumber;
  }
}

const tables = new WeakMap<Schema, MessageTable>();

/** The table of an object schema. */
export function messageTable(schema: Schema): MessageTable {
  let table = tables.get(schema);
  if (!table) {
    table = new MessageTable(() => fieldTables(schema, Object.entries(schema.fields ?? {}), 0));
    tables.set(schema, table);
  }
  return table;
}

/** The table of JSON schemas in definitions of custom resources, which their unions need. */
export function jsonSchemaTable(): MessageTable {
  return messageTable(builtInSchema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"));
}

/** Fields whose path begins at `depth`; those that lie deeper stand in sub-messages. */
function fieldTables(schema: Schema, fields: readonly (readonly [string, Field])[], depth: number): FieldTable[] {
  const own: FieldTable[] = [];
  const inlined = new Map<number, (readonly [string, Field])[]>();
  for (const [name, field] of fields) {
    // apiVersion and kind stand in the envelope.
    if (field.proto === undefined) continue;
    const outer = field.protoPath?.[depth];
    if (outer === undefined) own.push(fieldTable(schema, name, field));
    else {
      const inner = inlined.get(outer);
      if (inner) inner.push([name, field]);
      else inlined.set(outer, [[name, field]]);
    }
  }
  for (const [number, inner] of inlined) {
    own.push({
      number,
      name: "",
      wire: wire.message,
      shape: shape.single,
      pointer: false,
      omitZero: false,
      tag: tagOf(number, wire.message),
      message: new MessageTable(() => fieldTables(schema, inner, depth + 1)),
    });
  }
  return own;
}

function tagOf(number: number, as: Wire): number {
  return number * 8 + (as === wire.integer || as === wire.boolean ? 0 : as === wire.double ? 1 : 2);
}

function fieldTable(owner: Schema, name: string, field: Field): FieldTable {
  const { schema } = field;
  const number = field.proto!;
  // The one list that is a message of its own.
  const isVerbs = name === "verbs" && owner.name === "io.k8s.apimachinery.pkg.apis.meta.v1.APIResource";
  const many = isVerbs ? shape.single : schema.type === "array" ? shape.list : schema.type === "map" ? shape.map : 0;
  const element = many === shape.single ? schema : schema.items!;
  const as = wireOf(element);
  return {
    number,
    name,
    wire: as,
    shape: many,
    pointer: field.empty === "pointer",
    omitZero: field.empty === "omit",
    tag: many === shape.map ? number * 8 + 2 : tagOf(number, as),
    message: as === wire.message ? messageTable(element) : undefined,
  };
}

const wires: Readonly<Record<Exclude<Schema["type"], "map" | "raw">, Wire>> = {
  object: wire.message,
  array: wire.texts,
  string: wire.string,
  integer: wire.integer,
  number: wire.double,
  boolean: wire.boolean,
  quantity: wire.quantity,
  "int-or-string": wire.intOrString,
  time: wire.time,
  "micro-time": wire.microTime,
  bytes: wire.bytes,
};

const unions: Readonly<Record<string, Wire>> = {
  JSONSchemaPropsOrBool: wire.schemaOrBoolean,
  JSONSchemaPropsOrArray: wire.schemaOrList,
  JSONSchemaPropsOrStringArray: wire.schemaOrTexts,
  CustomResourceSubresourceStatus: wire.empty,
};

function wireOf(schema: Schema): Wire {
  if (schema.type === "raw") return unions[schema.name?.slice(schema.name.lastIndexOf(".") + 1) ?? ""] ?? wire.raw;
  if (schema.type === "map") throw new Error(`Make the protobuf table of ${schema.name}: a map cannot stand in a list`);
  return wires[schema.type];
}
