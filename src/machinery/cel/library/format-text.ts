/** "%s".format([x]): string.format of cel-go's strings extension, version 2, in English. */
import type { CallNode, Expr } from "../ast.ts";
import type { CelIssue } from "../issues.ts";
import type { CelType } from "../types.ts";
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
  typeOfValue,
  Uint,
} from "../values.ts";
import { doubleText } from "./numbers.ts";
import { durationText, timestampText } from "./times.ts";

const clause = /%(?:\.(\d*))?(.?)/gsu;
const defaultPrecision = 6;
/** A rule must not make texts of any length. */
const maxPrecision = 1000;

interface Verb {
  /** The kinds of values it takes. */
  readonly takes: ReadonlySet<CelType["kind"]>;
  /** What it says of others. */
  readonly wrong: string;
  readonly print: (value: CelValue, precision: number) => string;
}

const integers = ["int", "uint"] as const;
const kinds = (...list: CelType["kind"][]) => new Set(list);

function integerOf(value: CelValue): bigint {
  return value instanceof Uint ? value.value : BigInt(value as number);
}

/** Go rounds what is exactly half to the even digit, JavaScript away from zero. */
function roundedToEven(value: number, digits: number): string {
  const rounded = value.toFixed(Math.min(digits, 100));
  if (digits >= 100) return rounded + "0".repeat(digits - 100);
  const exact = value.toFixed(100);
  const point = exact.indexOf(".") + 1 + digits;
  if (!/^50*$/.test(exact.slice(point))) return rounded;
  const kept = digits === 0 ? exact.slice(0, point - 1) : exact.slice(0, point);
  return Number(kept.at(-1)) % 2 === 0 ? kept : rounded;
}

function fixed(value: number, digits: number): string {
  if (Math.abs(value) < 1e21) return roundedToEven(value, digits);
  return `${BigInt(value)}${digits > 0 ? `.${"0".repeat(digits)}` : ""}`;
}

function doubleOf(value: CelValue): number {
  if (value instanceof Double) return value.value;
  const special: Readonly<Record<string, number>> = {
    NaN: Number.NaN,
    Infinity: Number.POSITIVE_INFINITY,
    "-Infinity": Number.NEGATIVE_INFINITY,
  };
  const found = typeof value === "string" && Object.hasOwn(special, value) ? special[value] : undefined;
  if (found === undefined) throw wrongKind("fixed-point clause can only be used on doubles", value);
  return found;
}

function special(value: number): string | undefined {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? undefined : value > 0 ? "∞" : "-∞";
}

function grouped(value: number, precision: number): string {
  const odd = special(value);
  if (odd !== undefined) return odd;
  const [whole = "", fraction] = fixed(value, precision).split(".");
  const groups = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? groups : `${groups}.${fraction}`;
}

const superscript = (digits: string) =>
  digits.replace(/[-\d]/g, (digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]!));

/** The precision says how wide it is at least: cel-go's way. */
function scientific(value: number, width: number): string {
  const odd = special(value);
  if (odd !== undefined) return odd;
  const [mantissa, power] = value.toExponential(defaultPrecision).split("e") as [string, string];
  const digits = power.slice(1).padStart(2, "0");
  return `${mantissa}×10${superscript(power.startsWith("-") ? `-${digits}` : digits)}`.padStart(width);
}

function hex(value: CelValue): string {
  if (typeof value === "string") return Buffer.from(value, "utf8").toString("hex");
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : integerOf(value).toString(16);
}

const anyText: readonly CelType["kind"][] = [
  "list",
  "map",
  ...integers,
  "double",
  "bool",
  "string",
  "timestamp",
  "bytes",
  "duration",
  "type",
  "null",
];
const hexKinds = kinds(...integers, "string", "bytes");
const hexWrong = "only integers, byte buffers, and strings can be formatted as hex";

const verbs: Readonly<Record<string, Verb>> = {
  s: {
    takes: kinds(...anyText),
    wrong:
      "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps",
    print: textOf,
  },
  d: {
    takes: kinds(...integers),
    wrong: "decimal clause can only be used on integers",
    print: (value) => String(integerOf(value)),
  },
  f: {
    takes: kinds("double", "string"),
    wrong: "fixed-point clause can only be used on doubles",
    print: (value, precision) => grouped(doubleOf(value), precision),
  },
  e: {
    takes: kinds("double", "string"),
    wrong: "scientific clause can only be used on doubles",
    print: (value, precision) => scientific(doubleOf(value), precision),
  },
  b: {
    takes: kinds(...integers, "bool"),
    wrong: "only integers and bools can be formatted as binary",
    print: (value) => (typeof value === "boolean" ? (value ? "1" : "0") : integerOf(value).toString(2)),
  },
  o: {
    takes: kinds(...integers),
    wrong: "octal clause can only be used on integers",
    print: (value) => integerOf(value).toString(8),
  },
  x: { takes: hexKinds, wrong: hexWrong, print: hex },
  X: { takes: hexKinds, wrong: hexWrong, print: (value) => hex(value).toUpperCase() },
};

function wrongKind(what: string, value: CelValue): CelError {
  return new CelError(`error during formatting: ${what}, was given ${typeOfValue(value).name}`);
}

/** %s of a value. */
function textOf(value: CelValue): string {
  if (typeof value === "string") return value;
  if (value === null) return "null";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => innerText(fromJson(item))).join(", ")}]`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("utf8");
  if (value instanceof Double) return doubleText(value.value);
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Timestamp) return timestampText(value);
  if (value instanceof Duration) return durationText(value);
  if (value instanceof TypeValue) return value.value.name;
  if (!isMap(value)) throw wrongKind(verbs["s"]!.wrong, value);
  const entries = mapKeys(value).map((key) => [innerText(key), innerText(mapGet(value, key)!)] as const);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${key}:${item}`).join(", ")}}`;
}

/** A value in a list or map, as an expression would write it. */
function innerText(value: CelValue): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (value instanceof Uint8Array) return `b${JSON.stringify(textOf(value))}`;
  if (value instanceof Timestamp) return `timestamp("${textOf(value)}")`;
  if (value instanceof Duration) return `duration("${textOf(value)}")`;
  if (!(value instanceof Double)) return textOf(value);
  return Number.isFinite(value.value) ? fixed(value.value, defaultPrecision) : JSON.stringify(textOf(value));
}

/** Goes through the clauses; `use` prints the argument of each. Throws CelError for what is none. */
function walk(format: string, count: number, use: (verb: Verb, index: number, precision: number) => string): string {
  let next = 0;
  const fault = (message: string) => new CelError(`could not parse formatting clause: ${message}`);
  return format.replace(clause, (_, precisionText: string | undefined, letter: string) => {
    if (letter === "%" && precisionText === undefined) return "%";
    if (next >= count) throw new CelError(`index ${next} out of range`);
    if (letter === "") throw fault("unexpected end of string");
    const verb = Object.hasOwn(verbs, letter) ? verbs[letter] : undefined;
    if (!verb) throw fault(`unrecognized formatting clause "${letter}"`);
    const precision = precisionText === undefined ? defaultPrecision : Number(precisionText);
    if (precision > maxPrecision) throw fault(`precision ${precision} is more than ${maxPrecision}`);
    return use(verb, next++, precision);
  });
}

/** Throws CelError for clauses that are none, and arguments that do not fit. */
export function formatText(format: string, args: readonly CelValue[]): string {
  return walk(format, args.length, ({ takes, wrong, print }, index, precision) => {
    const value = fromJson(args[index]);
    if (!takes.has(typeOfValue(value).kind)) throw wrongKind(wrong, value);
    return print(value, precision);
  });
}

class Misfit extends CelError {
  readonly at: number;

  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

/** Of what a literal list or map holds, too. */
function misfit({ takes, wrong }: Verb, expr: Expr): Misfit | undefined {
  const type = expr.type!;
  if (type.kind !== "dyn" && !takes.has(type.kind)) {
    return new Misfit(expr.at, `error during formatting: ${wrong}, was given ${type.name}`);
  }
  const inner =
    expr.kind === "list"
      ? expr.items.map(({ value }) => value)
      : expr.kind === "map"
        ? expr.entries.flatMap(({ key, value }) => [key, value])
        : [];
  for (const part of inner) {
    const found = misfit({ takes: verbs["s"]!.takes, wrong: verbs["s"]!.wrong, print: textOf }, part);
    if (found) return found;
  }
  return undefined;
}

/** What is wrong with a call of format whose format and list of arguments are literals. */
export function checkFormat({ name, target, args, at }: CallNode): CelIssue | undefined {
  const [list] = args;
  if (name !== "format" || target?.kind !== "literal" || typeof target.value !== "string") return undefined;
  if (list?.kind !== "list") return undefined;
  let used = 0;
  try {
    walk(target.value, list.items.length, (verb, index) => {
      used = index + 1;
      const found = misfit(verb, list.items[index]!.value);
      if (found) throw found;
      return "";
    });
  } catch (error) {
    if (error instanceof CelError) return { offset: error instanceof Misfit ? error.at : at, message: error.message };
    throw error;
  }
  if (list.items.length <= used) return undefined;
  const message = `too many arguments supplied to string.format (expected ${used}, got ${list.items.length})`;
  return { offset: at, message };
}
