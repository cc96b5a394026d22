/** Arithmetic, order and conversions of numbers. Source: the CEL language definition. */
import { global, type Library, type Overload } from "../functions.ts";
import * as types from "../types.ts";
import { bool, type CelType, double, int, string, uint } from "../types.ts";
import { CelError, type CelInt, type CelValue, canonicalInt, Double, noSuchOverload, Uint } from "../values.ts";

const minInt = -(2n ** 63n);
const maxInt = 2n ** 63n - 1n;
const maxUint = 2n ** 64n - 1n;
const overflow = (kind: string) => new CelError(`${kind} overflow`);

/** A 64-bit integer, or the error that it does not fit. */
export function checkedInt(value: bigint): CelInt {
  if (value < minInt || value > maxInt) throw overflow("integer");
  return canonicalInt(value);
}

function checkedUint(value: bigint): Uint {
  if (value < 0n || value > maxUint) throw overflow("unsigned integer");
  return new Uint(value);
}

function wide(value: CelInt): bigint {
  if (typeof value !== "number" && typeof value !== "bigint") throw noSuchOverload();
  return BigInt(value);
}

/** Numbers where the result is exact, BigInt where it may not be. */
function addInt(a: CelInt, b: CelInt): CelInt {
  if (typeof a === "number" && typeof b === "number") {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return checkedInt(wide(a) + wide(b));
}

function subtractInt(a: CelInt, b: CelInt): CelInt {
  if (typeof a === "number" && typeof b === "number") {
    const difference = a - b;
    if (Number.isSafeInteger(difference)) return difference;
  }
  return checkedInt(wide(a) - wide(b));
}

function multiplyInt(a: CelInt, b: CelInt): CelInt {
  if (typeof a === "number" && typeof b === "number") {
    const product = a * b;
    // Zero has one form only.
    if (Number.isSafeInteger(product)) return product + 0;
  }
  return checkedInt(wide(a) * wide(b));
}

function divideInt(a: CelInt, b: CelInt): CelInt {
  if (b === 0) throw new CelError("division by zero");
  if (typeof a === "number" && typeof b === "number") return Math.trunc(a / b) + 0;
  return checkedInt(wide(a) / wide(b));
}

function moduloInt(a: CelInt, b: CelInt): CelInt {
  if (b === 0) throw new CelError("modulus by zero");
  if (typeof a === "number" && typeof b === "number") return (a % b) + 0;
  return checkedInt(wide(a) % wide(b));
}

const binary = (name: string, id: string, type: CelType, call: (a: never, b: never) => CelValue): Overload =>
  global(`${name}_${id}`, [type, type], type, call);

const uints = (name: string, call: (a: bigint, b: bigint) => bigint) =>
  binary(name, "uint64", uint, (a: Uint, b: Uint) => checkedUint(call(a.value, b.value)));
const doubles = (name: string, call: (a: number, b: number) => number) =>
  binary(name, "double", double, (a: Double, b: Double) => new Double(call(a.value, b.value)));

const nonZero = (b: bigint, name: string): bigint => {
  if (b === 0n) throw new CelError(`${name} by zero`);
  return b;
};

/** What JavaScript's operators can compare; with a double on one side, both become doubles, as in cel-go. */
const plain = (value: CelValue): number | bigint =>
  value instanceof Double || value instanceof Uint ? value.value : (value as CelInt);
const asDouble = (value: CelValue) => Number(plain(value));

type Order = (a: number | bigint, b: number | bigint) => boolean;
const numeric: readonly (readonly [string, CelType])[] = [
  ["int64", int],
  ["uint64", uint],
  ["double", double],
];

/** The overloads of a comparison between numbers; first those of one type, as cel-go lists them. */
export function numericOrder(name: string, compare: Order): Overload[] {
  const mixed = numeric.flatMap(([aName, a]) =>
    numeric.flatMap(([bName, b]) =>
      a === b
        ? []
        : [
            global(
              `${name}_${aName}_${bName}`,
              [a, b],
              bool,
              a === double || b === double
                ? (x: CelValue, y: CelValue) => compare(asDouble(x), asDouble(y))
                : (x: CelValue, y: CelValue) => compare(plain(x), plain(y)),
            ),
          ],
    ),
  );
  return [
    // JavaScript compares numbers with bigints exactly.
    global(`${name}_int64`, [int, int], bool, compare),
    global(`${name}_uint64`, [uint, uint], bool, (a: Uint, b: Uint) => compare(a.value, b.value)),
    global(`${name}_double`, [double, double], bool, (a: Double, b: Double) => compare(a.value, b.value)),
    ...mixed,
  ];
}

function truncated(value: number, low: number, high: number, kind: string): bigint {
  if (!(value > low && value < high)) throw overflow(kind);
  return BigInt(Math.trunc(value));
}

/** As Go's FormatFloat with 'g': shortest, with an exponent below 1e-4 and from a million on. */
export function doubleText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  if (Object.is(value, -0)) return "-0";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return String(value);
}

/** A text that does not say a value of the type. */
export const noConversion = (to: string) => new CelError(`type conversion error from 'string' to '${to}'`);

function parseDouble(text: string): Double {
  const trimmed = /^[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)$/.test(text);
  const special = /^([+-]?)(?:inf|infinity)$/i.exec(text);
  if (special) return new Double(special[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY);
  if (/^nan$/i.test(text)) return new Double(Number.NaN);
  if (!trimmed) throw noConversion("double");
  return new Double(Number(text));
}

function parseInteger(text: string, unsigned: boolean): bigint {
  const wrong = () => noConversion(unsigned ? "uint" : "int");
  if (!(unsigned ? /^\d+$/ : /^[+-]?\d+$/).test(text)) throw wrong();
  // More digits are out of range whatever they are.
  if (text.replace(/^[+-]?0+/, "").length > 25) throw wrong();
  const value = BigInt(text.replace(/^\+/, ""));
  if (unsigned ? value > maxUint : value > maxInt || value < minInt) throw wrong();
  return value;
}

/** 2^63 as a double is outside already. */
const int64Edge = 2 ** 63;

export const numbers: Library = [
  ["_+_", binary("add", "int64", int, addInt), uints("add", (a, b) => a + b), doubles("add", (a, b) => a + b)],
  [
    "_-_",
    binary("subtract", "int64", int, subtractInt),
    uints("subtract", (a, b) => a - b),
    doubles("subtract", (a, b) => a - b),
  ],
  [
    "_*_",
    binary("multiply", "int64", int, multiplyInt),
    uints("multiply", (a, b) => a * b),
    doubles("multiply", (a, b) => a * b),
  ],
  [
    "_/_",
    binary("divide", "int64", int, divideInt),
    uints("divide", (a, b) => a / nonZero(b, "division")),
    doubles("divide", (a, b) => a / b),
  ],
  ["_%_", binary("modulo", "int64", int, moduloInt), uints("modulo", (a, b) => a % nonZero(b, "modulus"))],
  [
    "-_",
    global("negate_int64", [int], int, (a: CelInt) => (typeof a === "number" ? 0 - a : checkedInt(-a))),
    global("negate_double", [double], double, (a: Double) => new Double(-a.value)),
  ],
  [
    "int",
    global("int64_to_int64", [int], int, (a: CelInt) => a),
    global("double_to_int64", [double], int, (a: Double) =>
      canonicalInt(truncated(a.value, -int64Edge, int64Edge, "integer")),
    ),
    global("string_to_int64", [string], int, (a: string) => canonicalInt(parseInteger(a, false))),
    global("uint64_to_int64", [uint], int, (a: Uint) => checkedInt(a.value)),
  ],
  [
    "uint",
    global("uint64_to_uint64", [uint], uint, (a: Uint) => a),
    global("double_to_uint64", [double], uint, (a: Double) =>
      checkedUint(truncated(a.value, -1, 2 ** 64, "unsigned integer")),
    ),
    global("int64_to_uint64", [int], uint, (a: CelInt) => checkedUint(wide(a))),
    global("string_to_uint64", [string], uint, (a: string) => new Uint(parseInteger(a, true))),
  ],
  [
    "double",
    global("double_to_double", [double], double, (a: Double) => a),
    global("int64_to_double", [int], double, (a: CelInt) => new Double(Number(a))),
    global("string_to_double", [string], double, parseDouble),
    global("uint64_to_double", [uint], double, (a: Uint) => new Double(Number(a.value))),
  ],
  [
    "string",
    global("double_to_string", [double], string, (a: Double) => doubleText(a.value)),
    global("int64_to_string", [int], string, (a: CelInt) => String(a)),
    global("uint64_to_string", [uint], string, (a: Uint) => String(a.value)),
  ],
  ["dyn", global("to_dyn", [types.param("A")], types.dyn, (a: CelValue) => a)],
];
