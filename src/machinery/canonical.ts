/**
 * Kubernetes' canonical form: what decoding a built-in object into its Go type and encoding it again would leave.
 * Generations, roll-outs and hashes compare that form. Custom resources do not pass here: they keep their text.
 */
import { cloneJson, isRecord, setKey, stringifyJson } from "./json.ts";
import { parseQuantity } from "./quantity.ts";
import type { Field, Schema } from "./schema.ts";
import { badRequest } from "./status.ts";
import { canonicalMicroTime, canonicalTime } from "./time-text.ts";

export interface CanonicalOptions {
  /** Called with the path ("spec.containers[0].foo") of each field that the schema does not know; it is dropped. */
  readonly onUnknown?: (path: string) => void;
  /** Empty lists and maps that Go's encoder does not leave out become null, as they come back from a store that keeps protobuf. */
  readonly emptyAsNull?: boolean;
}

/** The texts of strict decoding, for warnings and for the 400 of `fieldValidation=Strict`. */
export const strictMessage = {
  unknown: (path: string) => `unknown field ${JSON.stringify(path)}`,
  duplicate: (path: string) => `duplicate field ${JSON.stringify(path)}`,
};

interface Context {
  readonly onUnknown: ((path: string) => void) | undefined;
  readonly emptyAsNull: boolean;
}

/** Where a value stands, as Go's errors say it: the struct that has the field, and the path without indexes. */
interface Place {
  readonly struct: string;
  readonly fields: string;
  /** With indexes and map keys, for unknown fields. */
  readonly path: string;
}

const shortName = (name: string | undefined) => name?.slice(name.lastIndexOf(".") + 1) ?? "";

/** "[]v1.Container", "map[string]string", "int32": the Go type that a schema stands for. */
function goType(schema: Schema): string {
  switch (schema.type) {
    case "integer":
      return schema.format ?? "int64";
    case "number":
      return schema.format === "float" ? "float32" : "float64";
    case "boolean":
      return "bool";
    case "array":
      return `[]${schema.items ? goType(schema.items) : "interface {}"}`;
    case "map":
      return `map[string]${schema.items ? goType(schema.items) : "interface {}"}`;
    case "object":
      return schema.name?.split(".").slice(-2).join(".") ?? "struct";
    case "time":
    case "micro-time":
      return "string";
    case "int-or-string":
      return "int32";
    default:
      return "string";
  }
}

function jsonKind(value: unknown): string {
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return "number";
  return Array.isArray(value) ? "array" : typeof value;
}

function mismatch(schema: Schema, value: unknown, place: Place, kind = jsonKind(value)): never {
  const into =
    place.struct === "" && place.fields === ""
      ? `Go value of type ${goType(schema)}`
      : `Go struct field ${place.struct}.${place.fields} of type ${goType(schema)}`;
  throw badRequest(`json: cannot unmarshal ${kind} into ${into}`);
}

/** The fields of an object schema as a list; schemas live as long as the process. */
const fieldLists = new WeakMap<Schema, readonly (readonly [string, Field])[]>();

function fieldsOf(schema: Schema): readonly (readonly [string, Field])[] {
  let list = fieldLists.get(schema);
  if (!list) {
    list = Object.entries(schema.fields ?? {});
    fieldLists.set(schema, list);
  }
  return list;
}

/** What Go encodes for a field that was never set. */
export function zeroValue(schema: Schema): unknown {
  switch (schema.type) {
    case "object":
      return canonicalObject(
        schema,
        {},
        { struct: "", fields: "", path: "" },
        { onUnknown: undefined, emptyAsNull: false },
      );
    case "string":
      return "";
    case "integer":
    case "number":
    case "int-or-string":
      return 0;
    case "boolean":
      return false;
    case "quantity":
      return "0";
    default: // nil slices, maps, times and raw values
      return null;
  }
}

function isEmpty(value: unknown): boolean {
  if (value === "" || value === 0 || value === false || value === null || value === undefined) return true;
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value !== "object") return false;
  for (const _ in value) return false;
  return true;
}

const isCollection = ({ type }: Schema) => type === "array" || type === "map";

function canonicalObject(schema: Schema, value: unknown, place: Place, context: Context): Record<string, unknown> {
  if (!isRecord(value)) mismatch(schema, value, place);
  const result: Record<string, unknown> = {};
  const struct = shortName(schema.name);
  const unknown = Object.keys(value).filter((key) => !schema.fields || !Object.hasOwn(schema.fields, key));
  if (!schema.preserveUnknownFields && context.onUnknown) {
    for (const key of unknown) context.onUnknown(place.path === "" ? key : `${place.path}.${key}`);
  }
  for (const [key, field] of fieldsOf(schema)) {
    const raw = Object.hasOwn(value, key) ? value[key] : undefined;
    if (raw === undefined || raw === null) {
      if (field.empty === "always") result[key] = zeroValue(field.schema);
      continue;
    }
    const inner = canonicalValue(
      field.schema,
      raw,
      {
        struct,
        fields: place.fields === "" ? key : `${place.fields}.${key}`,
        path: place.path === "" ? key : `${place.path}.${key}`,
      },
      context,
    );
    if (field.empty === "omit" && isEmpty(inner)) continue;
    result[key] = context.emptyAsNull && isCollection(field.schema) && isEmpty(inner) ? null : inner;
  }
  if (schema.preserveUnknownFields) for (const key of unknown) setKey(result, key, value[key]);
  return result;
}

function canonicalMap(schema: Schema, value: unknown, place: Place, context: Context): Record<string, unknown> {
  if (!isRecord(value)) mismatch(schema, value, place);
  const items = schema.items ?? { type: "raw" };
  const result: Record<string, unknown> = {};
  // Go prints maps with sorted keys.
  for (const key of Object.keys(value).sort()) {
    const inner = { struct: place.struct, fields: place.fields, path: `${place.path}.${key}` };
    setKey(result, key, canonicalElement(items, value[key], inner, context));
  }
  return result;
}

/** Elements of lists and maps exist even when null: they become the zero value. */
function canonicalElement(schema: Schema, value: unknown, place: Place, context: Context): unknown {
  if (value !== null && value !== undefined) return canonicalValue(schema, value, place, context);
  // Bytes come back from a store that keeps protobuf as empty ones.
  return schema.type === "bytes" ? "" : zeroValue(schema);
}

function canonicalInteger(schema: Schema, value: unknown, place: Place): unknown {
  if (typeof value === "bigint") {
    if (schema.format !== "int32" && value < 2n ** 63n && value >= -(2n ** 63n)) return value;
    mismatch(schema, value, place, `number ${value}`);
  }
  if (typeof value !== "number") mismatch(schema, value, place);
  const fits = schema.format === "int32" ? value >= -(2 ** 31) && value < 2 ** 31 : Number.isSafeInteger(value);
  if (!Number.isInteger(value) || !fits) mismatch(schema, value, place, `number ${value}`);
  return value;
}

function canonicalBytes(schema: Schema, value: unknown, place: Place): string {
  if (typeof value !== "string") mismatch(schema, value, place);
  const text = /[\r\n]/.test(value) ? value.replace(/[\r\n]/g, "") : value;
  const wrong = /[^A-Za-z0-9+/]/.exec(text.replace(/={1,2}$/, ""));
  if (wrong || text.length % 4 !== 0) {
    throw badRequest(`illegal base64 data at input byte ${wrong?.index ?? text.length - (text.length % 4)}`);
  }
  return text;
}

function canonicalValue(schema: Schema, value: unknown, place: Place, context: Context): unknown {
  switch (schema.type) {
    case "object":
      return canonicalObject(schema, value, place, context);
    case "map":
      return canonicalMap(schema, value, place, context);
    case "array": {
      if (!Array.isArray(value)) mismatch(schema, value, place);
      const items = schema.items ?? { type: "raw" };
      return value.map((element, i) =>
        canonicalElement(items, element, { ...place, path: `${place.path}[${i}]` }, context),
      );
    }
    case "string":
      return typeof value === "string" ? value : mismatch(schema, value, place);
    case "integer":
      return canonicalInteger(schema, value, place);
    case "number":
      return typeof value === "number" || typeof value === "bigint" ? value : mismatch(schema, value, place);
    case "boolean":
      return typeof value === "boolean" ? value : mismatch(schema, value, place);
    case "quantity":
      try {
        // Of what is neither text nor number, Go reads the JSON.
        const isPlain = typeof value === "number" || typeof value === "bigint";
        const text = isPlain ? value : typeof value === "string" ? value.trim() : stringifyJson(value);
        return parseQuantity(text).toString();
      } catch (error) {
        throw badRequest((error as Error).message);
      }
    case "int-or-string":
      if (typeof value === "string") return value;
      return canonicalInteger({ type: "integer", format: "int32" }, value, { struct: "", fields: "", path: "" });
    case "time":
      return typeof value === "string" ? canonicalTime(value) : mismatch(schema, value, place);
    case "micro-time":
      return typeof value === "string" ? canonicalMicroTime(value) : mismatch(schema, value, place);
    case "bytes":
      return canonicalBytes(schema, value, place);
    case "raw":
      return value;
  }
}

/**
 * The canonical form of a value, as a new value ("raw" parts are shared with the old one). Throws a 400 StatusError
 * with Go's text where a type does not fit. Fields come in the schema's order, map keys sorted.
 */
export function canonicalize(schema: Schema, value: unknown, options: CanonicalOptions = {}): unknown {
  const { onUnknown, emptyAsNull = false } = options;
  return canonicalElement(schema, value, { struct: "", fields: "", path: "" }, { onUnknown, emptyAsNull });
}

/** Sets the schema's static defaults where fields are absent, in place. Absent objects stay absent. True when it set any. */
export function applyDefaults(schema: Schema, value: unknown): boolean {
  let changed = false;
  if (Array.isArray(value)) {
    if (schema.items) for (const element of value) changed = applyDefaults(schema.items, element) || changed;
    return changed;
  }
  if (!isRecord(value)) return false;
  for (const [key, field] of fieldsOf(schema)) {
    const present = Object.hasOwn(value, key) ? value[key] : undefined;
    const unset = present === undefined || (present === null && !field.schema.nullable);
    if (unset && field.default !== undefined) {
      setKey(value, key, cloneJson(field.default));
      changed = true;
    }
    const now = value[key];
    if (typeof now === "object" && now !== null && Object.hasOwn(value, key)) {
      changed = applyDefaults(field.schema, now) || changed;
    }
  }
  if (!schema.items) return changed;
  for (const key of Object.keys(value)) {
    if (!schema.fields || !Object.hasOwn(schema.fields, key)) {
      changed = applyDefaults(schema.items, value[key]) || changed;
    }
  }
  return changed;
}
