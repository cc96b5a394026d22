/** "%s".format([x]): cel-go's string.format. */

import { formatType } from "../types.ts";
import {
  CelError,
  type CelValue,
  Double,
  Duration,
  fromJson,
  isMap,
  mapGet,
  mapKeys,
  Timestamp,
  TypeValue,
  typeNameOf,
  Uint,
} from "../values.ts";
import { doubleText } from "./numbers.ts";
import { durationText, timestampText } from "./times.ts";

const clause = /%(?:\.(\d+))?([a-zA-Z%]?)/g;
const defaultPrecision = 6;
/** cel-go's bound: a rule must not make texts of any length. */
const maxPrecision = 1000;

function fault(message: string): CelError {
  return new CelError(`could not parse formatting clause: ${message}`);
}

function wrongKind(verb: string, what: string, value: CelValue): CelError {
  return new CelError(`error during formatting: ${what} can only be used on ${verb}, was given ${typeNameOf(value)}`);
}

/** %s of any value. */
export function textOf(value: CelValue): string {
  if (typeof value === "string") return value;
  if (value === null) return "null";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => textOf(fromJson(item))).join(", ")}]`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("utf8");
  if (value instanceof Double) {
    if (Number.isNaN(value.value)) return "NaN";
    if (!Number.isFinite(value.value)) return value.value > 0 ? "Infinity" : "-Infinity";
    return doubleText(value.value);
  }
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Timestamp) return timestampText(value);
  if (value instanceof Duration) return durationText(value);
  if (value instanceof TypeValue) return formatType(value.value) === "null" ? "null_type" : value.value.name;
  if (isMap(value)) {
    const entries = mapKeys(value).map((key) => [textOf(key), textOf(mapGet(value, key)!)] as const);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, item]) => `${key}: ${item}`).join(", ")}}`;
  }
  throw wrongKind(
    "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
    "string clause",
    value,
  );
}

function special(value: CelValue): string | undefined {
  if (!(value instanceof Double) || Number.isFinite(value.value)) return undefined;
  return Number.isNaN(value.value) ? "NaN" : value.value > 0 ? "Infinity" : "-Infinity";
}

function integerOf(value: CelValue): bigint | undefined {
  if (typeof value === "number" || typeof value === "bigint") return BigInt(value);
  return value instanceof Uint ? value.value : undefined;
}

function decimal(value: CelValue): string {
  const integer = integerOf(value);
  if (integer !== undefined) return String(integer);
  const odd = special(value);
  if (odd !== undefined) return odd;
  if (value instanceof Double) return String(BigInt(Math.trunc(value.value)));
  throw wrongKind("integers", "decimal clause", value);
}

function floating(value: CelValue, precision: number, exponent: boolean): string {
  const odd = special(value);
  if (odd !== undefined) return odd;
  const integer = integerOf(value);
  const number = integer !== undefined ? Number(integer) : value instanceof Double ? value.value : undefined;
  if (number === undefined) {
    throw wrongKind("doubles", exponent ? "scientific clause" : "fixed-point clause", value);
  }
  const digits = Math.min(precision, 100);
  const rest = "0".repeat(precision - digits);
  if (!exponent) return fixed(number, digits) + rest;
  const [mantissa, power] = number.toExponential(digits).split("e") as [string, string];
  return `${mantissa}${rest}e${power[0]}${power.slice(1).padStart(2, "0")}`;
}

/** toFixed switches to exponents from 1e21 on. */
function fixed(value: number, digits: number): string {
  if (Math.abs(value) < 1e21) return roundedToEven(value, digits);
  return BigInt(value) + (digits > 0 ? `.${"0".repeat(digits)}` : "");
}

/** Go rounds what is exactly half to the even digit, JavaScript away from zero. */
function roundedToEven(value: number, digits: number): string {
  const rounded = value.toFixed(digits);
  const exact = value.toFixed(100);
  const point = exact.indexOf(".") + 1 + digits;
  if (digits >= 100 || !/^50*$/.test(exact.slice(point))) return rounded;
  const kept = digits === 0 ? exact.slice(0, point - 1) : exact.slice(0, point);
  return Number(kept.at(-1)) % 2 === 0 ? kept : rounded;
}

function based(value: CelValue, radix: 2 | 8 | 16, verb: string): string {
  if (radix === 2 && typeof value === "boolean") return value ? "1" : "0";
  const integer = integerOf(value);
  if (integer !== undefined) return integer.toString(radix);
  if (radix === 16 && typeof value === "string") return Buffer.from(value, "utf8").toString("hex");
  if (radix === 16 && value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  const takes = { 2: "integers and bools", 8: "integers", 16: "integers, byte buffers, and strings" }[radix];
  throw wrongKind(takes, verb, value);
}

function formatOne(verb: string, precision: number, value: CelValue): string {
  switch (verb) {
    case "s":
      return textOf(value);
    case "d":
      return decimal(value);
    case "f":
      return floating(value, precision, false);
    case "e":
      return floating(value, precision, true);
    case "b":
      return based(value, 2, "binary clause");
    case "o":
      return based(value, 8, "octal clause");
    case "x":
      return based(value, 16, "hex clause");
    case "X":
      return based(value, 16, "hex clause").toUpperCase();
    default:
      throw fault(`unrecognized formatting clause "${verb}"`);
  }
}

/** Throws CelError for clauses that are none, and arguments that do not fit. */
export function formatText(format: string, args: readonly CelValue[]): string {
  let next = 0;
  return format.replace(clause, (_, precisionText: string | undefined, verb: string) => {
    if (verb === "%") return "%";
    if (verb === "") throw fault("unexpected end of string");
    const precision = precisionText === undefined ? defaultPrecision : Number(precisionText);
    if (precision > maxPrecision) throw fault(`precision ${precision} exceeds maximum of ${maxPrecision}`);
    if (next >= args.length) throw new CelError(`index ${next} out of range`);
    return formatOne(verb, precision, fromJson(args[next++]));
  });
}
