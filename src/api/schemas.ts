/**
 * The schema graph of the built-in types, linked from generated data. A group-version's data is parsed when one of its
 * types is first asked for, and a type's fields are made when they are first looked at, so that start-up pays nothing
 * for kinds that nobody uses.
 *
 * Notation of the data, for each field: `<type> <proto> <empty> [option=value…]`
 *
 *     type      s string, i int32, l int64, d double, b boolean, q quantity, x int-or-string, t time, u micro-time, y bytes,
 *               *<name> raw JSON, .<Type> of the same package, .<package>.<Type>, [<type> list, {<type> map; a "!" after it:
 *               required
 *     proto     protobuf field number, with the numbers of inlined sub-messages before it: "2/19"; empty for TypeMeta
 *     empty     o omitted when zero, p pointer (omitted when null), a always written, n pointer that Go
 *               writes as null (here it is omitted: readers take both alike)
 *     options   list= (list type), key= (list map keys), map= (map type), patch= and merge= (strategic merge),
 *               default= (JSON)
 *
 * The entry "" of a type holds options of the type itself.
 */
import type { Field, Schema } from "../machinery/schema.ts";
import { schemaData } from "./generated/schema-data.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type TypeData = Readonly<Record<string, string>>;

const parsed = new Map<string, Readonly<Record<string, TypeData>>>();
const schemas = new Map<string, Schema>();

/** The schema of a built-in type by its OpenAPI name, "io.k8s.api.core.v1.Pod". Throws when there is no such type. */
export function builtInSchema(name: string): Schema {
  const known = schemas.get(name);
  if (known) return known;
  const dot = name.lastIndexOf(".");
  const packageName = name.slice(0, dot);
  const data = packageData(packageName)?.[name.slice(dot + 1)];
  if (!data) throw new Error(`Find schema "${name}": no built-in type has this name`);
  const schema = objectSchema(name, packageName, data);
  schemas.set(name, schema);
  return schema;
}

/** Names of all built-in types, as in OpenAPI. */
export function builtInSchemaNames(): string[] {
  return Object.keys(schemaData).flatMap((packageName) =>
    Object.keys(packageData(packageName)!).map((type) => `${packageName}.${type}`),
  );
}

function packageData(packageName: string): Readonly<Record<string, TypeData>> | undefined {
  let data = parsed.get(packageName);
  if (!data) {
    const text = schemaData[packageName];
    if (text === undefined) return undefined;
    data = JSON.parse(text) as Record<string, TypeData>;
    parsed.set(packageName, data);
  }
  return data;
}

function objectSchema(name: string, packageName: string, data: TypeData): Schema {
  const own = data[""] ? parseOptions(data[""].split(" ")) : undefined;
  let fields: Record<string, Field> | undefined;
  return {
    type: "object",
    name,
    ...(own?.map ? { mapType: own.map as "atomic" } : {}),
    get fields() {
      if (!fields) {
        fields = {};
        for (const [field, text] of Object.entries(data)) {
          if (field !== "") fields[field] = parseField(text, packageName);
        }
      }
      return fields;
    },
  };
}

function parseOptions(parts: readonly string[]): Record<string, string> {
  const options: Record<string, string> = {};
  for (const part of parts) {
    const equals = part.indexOf("=");
    options[part.slice(0, equals)] = part.slice(equals + 1);
  }
  return options;
}

function parseField(text: string, packageName: string): Field {
  const [code = "", proto = "", empty, ...rest] = text.split(" ");
  const options = parseOptions(rest);
  const required = code.endsWith("!");
  const field: Mutable<Field> = {
    schema: fieldSchema(required ? code.slice(0, -1) : code, packageName, options),
    empty: empty === "o" ? "omit" : empty === "a" ? "always" : "pointer",
  };
  if (required) field.required = true;
  if (options["default"] !== undefined) field.default = JSON.parse(options["default"]);
  if (options["patch"]) field.patchStrategy = options["patch"].split(",") as NonNullable<Field["patchStrategy"]>;
  if (options["merge"]) field.patchMergeKey = options["merge"];
  const numbers = proto.split("/").map(Number);
  if (proto !== "") field.proto = numbers.pop()!;
  if (proto !== "" && numbers.length > 0) field.protoPath = numbers;
  return field;
}

function fieldSchema(code: string, packageName: string, options: Record<string, string>): Schema {
  const base = codeSchema(code, packageName);
  if (base.type === "array" && options["list"]) {
    return {
      ...base,
      listType: options["list"] as "set",
      ...(options["key"] ? { listMapKeys: options["key"].split(",") } : {}),
    };
  }
  if (!options["map"]) return base;
  const mapType = options["map"] as "atomic";
  if (base.type !== "object") return { ...base, mapType };
  // The same type, atomic in this place only; its fields stay lazy.
  return {
    type: "object",
    ...(base.name ? { name: base.name } : {}),
    mapType,
    get fields() {
      return base.fields!;
    },
  };
}

const simple: Readonly<Record<string, Schema>> = {
  s: { type: "string" },
  i: { type: "integer", format: "int32" },
  l: { type: "integer", format: "int64" },
  d: { type: "number", format: "double" },
  b: { type: "boolean" },
  q: { type: "quantity", name: "io.k8s.apimachinery.pkg.api.resource.Quantity" },
  x: { type: "int-or-string", name: "io.k8s.apimachinery.pkg.util.intstr.IntOrString" },
  t: { type: "time", name: "io.k8s.apimachinery.pkg.apis.meta.v1.Time" },
  u: { type: "micro-time", name: "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" },
  y: { type: "bytes" },
};

function codeSchema(code: string, packageName: string): Schema {
  switch (code[0]) {
    case "[":
      return { type: "array", items: codeSchema(code.slice(1), packageName) };
    case "{":
      return { type: "map", items: codeSchema(code.slice(1), packageName) };
    case "*":
      return { type: "raw", name: code.slice(1) };
    case ".": {
      const name = code.slice(1);
      return builtInSchema(name.includes(".") ? name : `${packageName}.${name}`);
    }
    default: {
      const schema = simple[code];
      if (!schema) throw new Error(`Read schema data of ${packageName}: unknown type "${code}"`);
      return schema;
    }
  }
}
