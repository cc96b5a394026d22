/**
 * resource.Quantity: a fixed-point number with the notation that it was written in. Kept as a whole number of
 * billionths (Kubernetes' smallest step), so arithmetic is exact. Source: apimachinery's api/resource.
 */

export type QuantityFormat = "DecimalSI" | "BinarySI" | "DecimalExponent";

/** A text that is no quantity; the messages are Kubernetes'. */
export class QuantityError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "QuantityError";
  }
}

const formatWrong = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const suffixWrong = "unable to parse quantity's suffix";
const numberWrong = "unable to parse numeric part of quantity";

const one = 1_000_000_000n;
const decimalSuffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const binarySuffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const maxInt64 = 2n ** 63n - 1n;
/** A larger power of ten could only be meant to exhaust memory. */
const maxExponent = 400;

interface Unit {
  format: QuantityFormat;
  base: 2 | 10;
  exponent: number;
}

function parseUnit(suffix: string): Unit {
  const decimal = decimalSuffixes.indexOf(suffix);
  if (decimal >= 0) return { format: "DecimalSI", base: 10, exponent: (decimal - 3) * 3 };
  const binary = binarySuffixes.indexOf(suffix);
  if (binary > 0) return { format: "BinarySI", base: 2, exponent: binary * 10 };
  if (/^[eE][+-]?\d+$/.test(suffix)) {
    const exponent = Number(suffix.slice(1));
    if (exponent <= maxExponent) return { format: "DecimalExponent", base: 10, exponent };
  }
  throw new QuantityError(suffixWrong);
}

/** Division that rounds away from zero. */
function divideUp(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  if (value % by === 0n) return quotient;
  return value < 0n ? quotient - 1n : quotient + 1n;
}

/** An immutable quantity. */
export class Quantity {
  /** The value in billionths. */
  readonly nano: bigint;
  readonly format: QuantityFormat;
  #text: string | undefined;

  constructor(nano: bigint, format: QuantityFormat, text?: string) {
    this.nano = nano;
    this.format = format;
    this.#text = text;
  }

  get isZero(): boolean {
    return this.nano === 0n;
  }

  /** -1, 0 or 1. */
  get sign(): number {
    return this.nano < 0n ? -1 : this.nano > 0n ? 1 : 0;
  }

  /** Negative when this is less than `other`, zero when equal, positive when more. */
  compare(other: Quantity): number {
    return this.nano < other.nano ? -1 : this.nano > other.nano ? 1 : 0;
  }

  /** The sum, in this one's notation (the other's when this is zero). */
  add(other: Quantity): Quantity {
    return new Quantity(this.nano + other.nano, this.isZero ? other.format : this.format);
  }

  /** The difference, in this one's notation (the other's when this is zero). */
  sub(other: Quantity): Quantity {
    return new Quantity(this.nano - other.nano, this.isZero ? other.format : this.format);
  }

  /** The product with a whole number. */
  multiply(by: number | bigint): Quantity {
    return new Quantity(this.nano * BigInt(by), this.format);
  }

  negate(): Quantity {
    return new Quantity(-this.nano, this.format);
  }

  /** The value as a double: 0.5 for "500m". */
  toNumber(): number {
    return this.nano % one === 0n ? Number(this.nano / one) : Number(this.nano) / 1e9;
  }

  /** Whole units, rounded away from zero: 1 for "500m". Go's Value(). */
  toUnits(): number {
    return Number(divideUp(this.nano, one));
  }

  /** Whole thousandths, rounded away from zero: 500 for "500m". Go's MilliValue(). */
  toMilli(): number {
    return Number(divideUp(this.nano, 1_000_000n));
  }

  /** Whole units as BigInt, rounded away from zero; for byte counts beyond 2^53. */
  toBigInt(): bigint {
    return divideUp(this.nano, one);
  }

  /** The canonical text: no fraction, the largest suffix that loses nothing. */
  toString(): string {
    this.#text ??= canonicalText(this.nano, this.format);
    return this.#text;
  }

  toJSON(): string {
    return this.toString();
  }
}

function canonicalText(nano: bigint, format: QuantityFormat): string {
  if (nano === 0n) return "0";
  const whole = nano % one === 0n;
  // Small or fractional values lose nothing only in decimal notation.
  if (format === "BinarySI" && whole && (nano <= -1024n * one || nano >= 1024n * one)) {
    let mantissa = nano / one;
    let power = 0;
    while (power < binarySuffixes.length - 1 && mantissa % 1024n === 0n) {
      mantissa /= 1024n;
      power++;
    }
    return `${mantissa}${binarySuffixes[power]}`;
  }
  let mantissa = nano;
  let exponent = -9;
  const largest = format === "DecimalExponent" ? Number.POSITIVE_INFINITY : 18;
  while (exponent < largest && mantissa % 1000n === 0n) {
    mantissa /= 1000n;
    exponent += 3;
  }
  if (format === "DecimalExponent") return `${mantissa}${exponent === 0 ? "" : `e${exponent}`}`;
  return `${mantissa}${decimalSuffixes[exponent / 3 + 3]}`;
}

/**
 * Parses "100m", "1.5Gi", "1e3", 2, … Throws {@link QuantityError}. What is finer than a billionth is rounded up, as
 * Kubernetes does; binary values are capped at 2^63-1.
 */
export function parseQuantity(text: string | number | bigint): Quantity {
  const source = typeof text === "string" ? text : String(text).replace("e+", "e");
  // First, since the expression below takes quadratic time on endless digits.
  if (source.length > maxExponent) throw new QuantityError(numberWrong);
  const match = /^([+-]?)(\d*)(?:(\.)(\d*))?([eEinumkKMGTP]*[+-]?\d*)$/.exec(source);
  if (!match || source === "") throw new QuantityError(formatWrong);
  const [, sign, integer = "", dot, fraction = "", suffix = ""] = match;
  if (integer === "" && fraction === "" && !(dot === undefined && suffix === "" && sign !== "")) {
    throw new QuantityError(dot === undefined ? formatWrong : numberWrong);
  }
  const unit = parseUnit(suffix);
  const digits = integer.replace(/^0+(?=\d)/, "") + fraction;
  let mantissa = BigInt(digits === "" ? "0" : digits);
  if (unit.base === 2) mantissa *= 2n ** BigInt(unit.exponent);
  const scale = (unit.base === 10 ? unit.exponent : 0) - fraction.length;
  let nano: bigint;
  if (scale >= -9) nano = mantissa * 10n ** BigInt(scale + 9);
  else nano = scale < -2 * maxExponent ? (mantissa === 0n ? 0n : 1n) : divideUp(mantissa, 10n ** BigInt(-9 - scale));
  let { format } = unit;
  if (format === "BinarySI") {
    if (nano > maxInt64 * one) nano = maxInt64 * one;
    if (nano > 0n && nano < one) format = "DecimalSI";
  }
  if (sign === "-") nano = -nano;
  return new Quantity(nano, format, keptText(source, integer, fraction, unit, scale));
}

/**
 * Kubernetes keeps the text of a quantity as it was written when a quick look finds nothing to shorten; the odd cases
 * that slip through ("+1", "1.500") are part of its canonical form.
 */
function keptText(source: string, integer: string, fraction: string, unit: Unit, scale: number): string | undefined {
  const numerator = integer.replace(/^0+/, "") || "0";
  const shifted = numerator + fraction;
  if (unit.format === "BinarySI") {
    if (fraction !== "" || 15 - numerator.length - Math.trunc((unit.exponent * 3) / 10) - 1 < 0) return undefined;
    const value = BigInt(shifted);
    return (value & 7n) !== 0n && value << BigInt(unit.exponent) <= maxInt64 ? source : undefined;
  }
  if (shifted.length > 18 || scale < -9) return undefined;
  return scale % 3 === 0 && !shifted.endsWith("000") && !shifted.startsWith("0") ? source : undefined;
}

/** A quantity of whole units. */
export function quantityOf(units: number | bigint, format: QuantityFormat = "DecimalSI"): Quantity {
  return new Quantity(BigInt(units) * one, format);
}

/** A quantity of thousandths: 1500 is "1500m". */
export function milliQuantity(milli: number | bigint, format: QuantityFormat = "DecimalSI"): Quantity {
  return new Quantity(BigInt(milli) * 1_000_000n, format);
}
