/**
 * OpenAPI schemas of custom resources as types of expressions, with the sizes that costs are estimated from. Source:
 * apiserver's cel/common/schemas.go.
 */
import type { JsonSchemaProps } from "../schema-from-openapi.ts";
import type { SizeEstimator } from "./functions.ts";
import { parseExactDuration, parseTimestamp } from "./library/times.ts";
import type { CelType, ObjectField } from "./types.ts";
import * as types from "./types.ts";
import { Double } from "./values.ts";

/** A schema as expressions see it. */
export interface Declared {
  readonly type: CelType;
  /** The most elements, entries or bytes it can have; 0 for scalars and objects. */
  readonly maxElements: number;
  /** The fewest bytes it takes in JSON. */
  readonly minBytes: number;
  /** By escaped name. */
  readonly fields?: ReadonlyMap<string, Declared>;
  readonly key?: Declared;
  readonly element?: Declared;
  /** Brings JSON into the form of the type; absent: it is. */
  readonly convert?: (json: unknown) => unknown;
}

const maxRequestBytes = 3 * 1024 * 1024;
const maxTimeBytes = 32;
const dateBytes = 12;

/** What the grammar keeps for itself. */
export const reserved = new Set(
  `true false null in as break const continue else for function if import let loop package namespace return var void
   while`.split(/\s+/),
);
const escapes: Readonly<Record<string, string>> = {
  __: "__underscores__",
  ".": "__dot__",
  "-": "__dash__",
  "/": "__slash__",
};

/** The name by which expressions call a property; undefined: they cannot. */
export function escapeName(name: string): string | undefined {
  if (!/^[A-Za-z_./-][A-Za-z0-9_./-]*$/.test(name)) return undefined;
  return reserved.has(name) ? `__${name}__` : name.replace(/__|[./-]/g, (part) => escapes[part]!);
}

const scalar = (type: CelType, minBytes: number, maxElements = 0): Declared => ({ type, maxElements, minBytes });
const text = scalar(types.string, 2);

function stringType(props: JsonSchemaProps): Declared {
  const bound = (unit: number) =>
    props.maxLength === undefined ? maxRequestBytes - 2 : Math.max(0, props.maxLength) * unit;
  switch (props.format) {
    case "byte":
      return { ...scalar(types.bytes, 2, bound(1)), convert: (json) => Buffer.from(String(json), "base64") };
    case "duration":
      return { ...scalar(types.duration, 3, maxTimeBytes), convert: (json) => parseExactDuration(String(json)) };
    case "date":
      return {
        ...scalar(types.timestamp, dateBytes, dateBytes),
        convert: (json) => parseTimestamp(`${String(json)}T00:00:00Z`),
      };
    case "date-time":
      return { ...scalar(types.timestamp, 21, maxTimeBytes), convert: (json) => parseTimestamp(String(json)) };
  }
  if (props.maxLength === undefined && props.enum?.length) {
    const longest = props.enum.map((value) => (typeof value === "string" ? Buffer.byteLength(value) : 0));
    return scalar(types.string, 2, Math.max(...longest));
  }
  // maxLength counts characters, of up to four bytes.
  return scalar(types.string, 2, bound(4));
}

function listType(props: JsonSchemaProps, path: string): Declared | undefined {
  if (!props.items) return undefined;
  const element = declare(props.items, props.items["x-kubernetes-embedded-resource"] === true, `${path}.@idx`);
  if (!element) return undefined;
  const { convert } = element;
  const listKind = props["x-kubernetes-list-type"];
  const type: CelType = {
    ...types.listOf(element.type),
    ...(listKind === "set" ? { keyed: { set: true } } : {}),
    ...(listKind === "map" ? { keyed: { set: false, keys: props["x-kubernetes-list-map-keys"] ?? [] } } : {}),
  };
  return {
    type,
    element,
    minBytes: 2,
    maxElements:
      props.maxItems === undefined
        ? Math.floor((maxRequestBytes - 2) / (element.minBytes + 1))
        : Math.max(0, props.maxItems),
    ...(convert
      ? { convert: (json) => (json as unknown[]).map((item) => (item === null ? null : convert(item))) }
      : {}),
  };
}

function mapType(props: JsonSchemaProps, values: JsonSchemaProps, path: string): Declared | undefined {
  const element = declare(values, values["x-kubernetes-embedded-resource"] === true, `${path}.@elem`);
  if (!element) return undefined;
  const { convert } = element;
  return {
    type: types.mapOf(types.string, element.type),
    key: text,
    element,
    minBytes: 2,
    // Two bytes for a key's quotes, a colon, a comma, and the least that a key and a value may be.
    maxElements:
      props.maxProperties === undefined
        ? Math.floor((maxRequestBytes - 2) / (element.minBytes + 6))
        : Math.max(0, props.maxProperties),
    ...(convert
      ? {
          convert: (json) =>
            Object.fromEntries(
              Object.entries(json as object).map(([key, item]) => [key, item === null ? null : convert(item)]),
            ),
        }
      : {}),
  };
}

/** Every resource has these, and of its metadata no more. */
function withObjectMeta(properties: JsonSchemaProps["properties"]): JsonSchemaProps["properties"] {
  const string: JsonSchemaProps = { type: "string" };
  const meta = properties?.["metadata"]?.properties;
  if (
    properties?.["kind"]?.type === "string" &&
    properties["apiVersion"]?.type === "string" &&
    meta?.["name"]?.type === "string" &&
    meta["generateName"]?.type === "string"
  ) {
    return properties;
  }
  const metadata: JsonSchemaProps = { type: "object", properties: { name: string, generateName: string } };
  return { ...properties, kind: string, apiVersion: string, metadata };
}

function objectType(props: JsonSchemaProps, resource: boolean, path: string): Declared {
  const properties = (resource ? withObjectMeta(props.properties) : props.properties) ?? {};
  const required = new Set(props.required);
  const fields = new Map<string, Declared>();
  const objectFields = new Map<string, ObjectField>();
  let minBytes = 2;
  for (const [key, inner] of Object.entries(properties)) {
    const name = escapeName(key);
    const field = declare(inner, inner["x-kubernetes-embedded-resource"] === true, `${path}.${name ?? key}`);
    if (!field) continue;
    if (name !== undefined) {
      const objectField = { type: field.type, key, ...(field.convert ? { convert: field.convert } : {}) };
      // Keywords that the grammar takes as fields need no escape any more.
      for (const called of reserved.has(key) ? [name, key] : [name]) {
        fields.set(called, field);
        objectFields.set(called, objectField);
      }
    }
    if (required.has(key) && inner.default === undefined) minBytes += Buffer.byteLength(key) + field.minBytes + 4;
  }
  return { type: types.objectOf(path, objectFields), fields, minBytes, maxElements: 0 };
}

/** The type of a schema; undefined: expressions cannot see it, since nothing says what it is. */
export function declare(props: JsonSchemaProps, resource: boolean, path = "object"): Declared | undefined {
  if (props["x-kubernetes-int-or-string"]) {
    return scalar(types.dyn, 1, props.maxLength === undefined ? maxRequestBytes - 2 : Math.max(0, props.maxLength) * 4);
  }
  switch (props.type) {
    case "array":
      return listType(props, path);
    case "object":
      if (typeof props.additionalProperties === "object" && !resource) {
        return mapType(props, props.additionalProperties, path);
      }
      return objectType(props, resource, path);
    case "string":
      return stringType(props);
    case "boolean":
      return scalar(types.bool, 4);
    case "number":
      return { ...scalar(types.double, 1), convert: (json) => new Double(Number(json)) };
    case "integer":
      return scalar(types.int, 1);
    default:
      return undefined;
  }
}

/** Sizes of what lies under a variable of this schema; the first step of a path is the variable. */
export function sizesOf(root: Declared): SizeEstimator {
  return (path) => {
    let at: Declared | undefined = root;
    for (const step of path.slice(1)) {
      if (step === "@items" || step === "@values") at = at.element;
      else at = step === "@keys" ? at.key : at.fields?.get(step);
      if (!at) return undefined;
    }
    return { min: 0, max: at.maxElements };
  };
}

/** How often a value of the schema can stand in one request. */
export const maxCardinality = ({ minBytes }: Declared) => Math.floor(maxRequestBytes / (minBytes + 1));
