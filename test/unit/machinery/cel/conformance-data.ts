/** cel-spec's published tests as rows that ours can run. */
import { tests as comprehensions } from "@bufbuild/cel-spec/testdata/comprehension.js";
import { tests as conformance } from "@bufbuild/cel-spec/testdata/conformance.js";
import type { Variable } from "../../../../src/machinery/cel/functions.ts";
import * as types from "../../../../src/machinery/cel/types.ts";
import { type CelType, formatType } from "../../../../src/machinery/cel/types.ts";
import {
  CelMap,
  type CelValue,
  canonicalInt,
  Double,
  fromJson,
  insert,
  isMap,
  keyForm,
  mapGet,
  mapKeys,
  Optional,
  TypeValue,
  Uint,
} from "../../../../src/machinery/cel/values.ts";

interface ExprValue {
  readonly [kind: string]: unknown;
}

interface Original {
  readonly name?: string;
  readonly expr: string;
  readonly container?: string;
  readonly disableCheck?: boolean;
  readonly checkOnly?: boolean;
  readonly value?: ExprValue;
  readonly evalError?: object;
  readonly typeEnv?: readonly { name: string; ident?: { type: object }; function?: object }[];
  readonly bindings?: Readonly<Record<string, { value?: ExprValue }>>;
  readonly typedResult?: { result?: ExprValue; deducedType?: object };
}

export interface Row {
  readonly section: string;
  readonly name: string;
  readonly original: Original;
  /** As cel-go printed it. */
  readonly checkedAst?: string;
  readonly type?: string;
  readonly error?: string;
}

interface Suite {
  readonly name: string;
  readonly suites?: readonly Suite[];
  readonly tests?: readonly { original: Original; checkedAst?: string; type?: string; error?: string }[];
}

function* rowsOf(suite: Suite, section: string): Generator<Row> {
  for (const test of suite.tests ?? []) {
    yield { ...test, section, name: `${section}/${test.original.name ?? test.original.expr}` };
  }
  for (const inner of suite.suites ?? [])
    yield* rowsOf(inner, section === "" ? inner.name : `${section}/${inner.name}`);
}

export const conformanceRows: readonly Row[] = [...rowsOf(conformance as unknown as Suite, "")];
export const comprehensionRows: readonly Row[] = [...rowsOf(comprehensions as unknown as Suite, "comprehensions")];

const primitives: Readonly<Record<string, CelType>> = {
  BOOL: types.bool,
  INT64: types.int,
  UINT64: types.uint,
  DOUBLE: types.double,
  STRING: types.string,
  BYTES: types.bytes,
};
const wellKnown: Readonly<Record<string, CelType>> = {
  ANY: types.dyn,
  TIMESTAMP: types.timestamp,
  DURATION: types.duration,
};

/** The row needs messages, which Kubernetes' environment has none of. */
export class NeedsMessages extends Error {}

export function typeFrom(json: unknown): CelType {
  const [kind, inner] = Object.entries(json as Record<string, unknown>)[0]!;
  switch (kind) {
    case "primitive":
      return primitives[inner as string]!;
    case "wellKnown":
      return wellKnown[inner as string]!;
    case "wrapper":
      return types.wrapperOf(primitives[inner as string]!);
    case "null":
      return types.nullType;
    case "dyn":
      return types.dyn;
    case "listType":
      return types.listOf(typeFrom((inner as { elemType: object }).elemType));
    case "mapType": {
      const { keyType, valueType } = inner as { keyType: object; valueType: object };
      return types.mapOf(typeFrom(keyType), typeFrom(valueType));
    }
    case "type":
      return types.typeOf(Object.keys(inner as object).length === 0 ? types.dyn : typeFrom(inner));
    case "abstractType": {
      const { name, parameterTypes = [] } = inner as { name: string; parameterTypes?: object[] };
      return types.opaque(name, ...parameterTypes.map(typeFrom));
    }
    default:
      throw new NeedsMessages(kind);
  }
}

export function variablesOf({ typeEnv = [] }: Original): Variable[] {
  return typeEnv.map(({ name, ident }) => {
    if (!ident) throw new NeedsMessages("functions of their own");
    return { name, type: typeFrom(ident.type) };
  });
}

const special: Readonly<Record<string, number>> = {
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
  NaN: Number.NaN,
};

export function valueFrom(json: ExprValue): CelValue {
  const [kind, inner] = Object.entries(json)[0]!;
  switch (kind) {
    case "nullValue":
      return null;
    case "boolValue":
    case "stringValue":
      return inner as boolean | string;
    case "int64Value":
      return canonicalInt(BigInt(inner as string));
    case "uint64Value":
      return new Uint(BigInt(inner as string));
    case "doubleValue":
      return new Double(special[inner as string] ?? Number(inner));
    case "bytesValue":
      return Buffer.from(inner as string, "base64");
    case "listValue":
      return ((inner as { values?: ExprValue[] }).values ?? []).map(valueFrom);
    case "mapValue": {
      const map = new CelMap();
      for (const { key, value } of (inner as { entries?: { key: ExprValue; value: ExprValue }[] }).entries ?? []) {
        insert(map, valueFrom(key), valueFrom(value));
      }
      return map;
    }
    case "typeValue":
      return new TypeValue({ kind: "opaque", name: inner as string, params: [] });
    default:
      throw new NeedsMessages(kind);
  }
}

/** A text in which equal values of equal types are equal; maps are sorted. */
export function shown(value: CelValue): string {
  if (typeof value === "number" || typeof value === "bigint") return `${value}`;
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "boolean" || value === null) return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => shown(fromJson(item))).join(", ")}]`;
  if (value instanceof Uint8Array) return `b"${Buffer.from(value).toString("hex")}"`;
  if (value instanceof Double) return `${Object.is(value.value, -0) ? "-0" : value.value}d`;
  if (value instanceof Uint) return `${value.value}u`;
  if (value instanceof TypeValue) return `type ${value.value.name}`;
  if (value instanceof Optional) return value.value === undefined ? "none" : `some(${shown(value.value)})`;
  if (isMap(value)) {
    const entries = mapKeys(value).map((key) => `${String(keyForm(key))}: ${shown(mapGet(value, key)!)}`);
    return `{${entries.sort().join(", ")}}`;
  }
  return `${formatType((value as { type: CelType }).type)} ${JSON.stringify(value, (_, v) => (typeof v === "bigint" ? String(v) : v))}`;
}
