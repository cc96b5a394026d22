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

  constructor(quantity: Quantity) {
    super();
    this.quantity = quantity;
  }

  get type(): CelType {
    return quantityType;
  }

  equals(other: CelValue): boolean {
    return other instanceof QuantityValue && other.quantity.nano === this.quantity.nano;
  }
}

function parse(text: string): QuantityValue {
  try {
    return new QuantityValue(parseQuantity(text));
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

const fitsInteger = ({ nano }: Quantity) => {
  const units = nano / nanoPerUnit;
  return nano % nanoPerUnit === 0n && units <= maxInt64 && units >= -maxInt64 - 1n;
};

function asInteger({ quantity }: QuantityValue): CelInt {
  if (!fitsInteger(quantity)) throw new CelError("cannot convert value to integer");
  return canonicalInt(quantity.nano / nanoPerUnit);
}

const walk = ([text]: readonly CelValue[]) => Math.ceil(sizeOf(text!) * costs.stringTraversal);
const q = quantityType;
type Q = QuantityValue;

const arithmetic = (name: "add" | "sub"): Overload[] => [
  member(`quantity_${name}`, [q, q], q, (a: Q, b: Q) => new QuantityValue(a.quantity[name](b.quantity))),
  member(`quantity_${name}_int`, [q, int], q, (a: Q, b: CelInt) => new QuantityValue(a.quantity[name](quantityOf(b)))),
];

export const quantities: Library = [
  ["quantity", global("string_to_quantity", [string], q, parse, walk)],
  ["isQuantity", global("is_quantity_string", [string], bool, isQuantity, walk)],
  ["sign", member("quantity_sign", [q], int, ({ quantity }: Q) => quantity.sign)],
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
  ["isInteger", member("quantity_is_integer", [q], bool, ({ quantity }: Q) => fitsInteger(quantity))],
  ["add", ...arithmetic("add")],
  ["sub", ...arithmetic("sub")],
];
