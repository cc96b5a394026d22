/** Kubernetes' quantity library. */
import { parseQuantity, type Quantity, quantityOf } from "../../quantity.ts";
import { global, type Library, member, type Overload } from "../functions.ts";
import { costs } from "../sizes.ts";
import { bool, type CelType, double, int, opaque, string } from "../types.ts";
import { CelError, type CelInt, CelObject, type CelValue, canonicalInt, Double, sizeOf } from "../values.ts";

export const quantityType = opaque("kubernetes.Quantity");
const nanoPerUnit = 1_000_000_000n;
const maxInt64 = 2n ** 63n - 1n;

export class QuantityValue extends CelObject {
  readonly quantity: Quantity;
  /**
   * The power of ten that Go's number is a multiple of; undefined when Go keeps it as a decimal. Only those of whole
   * units become integers there: "2000m" does not.
   */
  readonly scale: number | undefined;

  constructor(quantity: Quantity, scale: number | undefined) {
    super();
    this.quantity = quantity;
    this.scale = scale;
  }

  get type(): CelType {
    return quantityType;
  }

  equals(other: CelValue): boolean {
    return other instanceof QuantityValue && other.quantity.nano === this.quantity.nano;
  }
}

const exponents: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  "": 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};

/** Go's quick form of a number: up to 18 digits, and not finer than a billionth. */
function scaleOf(text: string): number | undefined {
  const [, whole = "", fraction = "", suffix = ""] = /^[+-]?0*(\d*)(?:\.(\d*))?(.*)$/.exec(text) ?? [];
  const binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].indexOf(suffix) + 1;
  if (binary > 0) {
    const digits = 15 - (whole.length || 1) - Math.trunc((binary * 10 * 3) / 10) - 1;
    return fraction === "" && digits >= 0 ? 0 : undefined;
  }
  const exponent = /^[eE][+-]?\d+$/.test(suffix) ? Number(suffix.slice(1)) : exponents[suffix];
  const scale = exponent === undefined ? undefined : exponent - fraction.length;
  return (whole.length || 1) + fraction.length <= 18 && scale !== undefined && scale >= -9 ? scale : undefined;
}

function parse(text: string): QuantityValue {
  try {
    return new QuantityValue(parseQuantity(text), scaleOf(text));
  } catch (error) {
    throw new CelError((error as Error).message);
  }
}

function isQuantity(text: string): boolean {
  try {
    parseQuantity(text);
    return true;
  } catch {
    return false;
  }
}

const fitsInteger = ({ quantity: { nano }, scale }: QuantityValue) => {
  if (scale === undefined || scale < 0) return false;
  const units = nano / nanoPerUnit;
  return nano % nanoPerUnit === 0n && units <= maxInt64 && units >= -maxInt64 - 1n;
};

function asInteger(value: QuantityValue): CelInt {
  if (!fitsInteger(value)) throw new CelError("cannot convert value to integer");
  return canonicalInt(value.quantity.nano / nanoPerUnit);
}

function combine(name: "add" | "sub", a: QuantityValue, b: QuantityValue): QuantityValue {
  const quantity = a.quantity[name](b.quantity);
  if (b.quantity.isZero) return new QuantityValue(quantity, a.scale);
  if (a.quantity.isZero) return new QuantityValue(quantity, b.scale);
  const scale = a.scale === undefined || b.scale === undefined ? undefined : Math.min(a.scale, b.scale);
  return new QuantityValue(quantity, scale);
}

const walk = ([text]: readonly CelValue[]) => Math.ceil(sizeOf(text!) * costs.stringTraversal);
const q = quantityType;
type Q = QuantityValue;

const arithmetic = (name: "add" | "sub"): Overload[] => [
  member(`quantity_${name}`, [q, q], q, (a: Q, b: Q) => combine(name, a, b)),
  member(`quantity_${name}_int`, [q, int], q, (a: Q, b: CelInt) =>
    combine(name, a, new QuantityValue(quantityOf(b), 0)),
  ),
];

export const quantities: Library = [
  ["quantity", global("string_to_quantity", [string], q, parse, walk)],
  ["isQuantity", global("is_quantity_string", [string], bool, isQuantity, walk)],
  ["sign", global("quantity_sign", [q], int, ({ quantity }: Q) => quantity.sign)],
  [
    "isGreaterThan",
    member("quantity_is_greater_than", [q, q], bool, (a: Q, b: Q) => a.quantity.compare(b.quantity) > 0),
  ],
  ["isLessThan", member("quantity_is_less_than", [q, q], bool, (a: Q, b: Q) => a.quantity.compare(b.quantity) < 0)],
  ["compareTo", member("quantity_compare_to", [q, q], int, (a: Q, b: Q) => a.quantity.compare(b.quantity))],
  [
    "asApproximateFloat",
    member("quantity_get_float", [q], double, ({ quantity }: Q) => new Double(quantity.toNumber())),
  ],
  ["asInteger", member("quantity_get_int", [q], int, asInteger)],
  ["isInteger", member("quantity_is_integer", [q], bool, fitsInteger)],
  ["add", ...arithmetic("add")],
  ["sub", ...arithmetic("sub")],
];
