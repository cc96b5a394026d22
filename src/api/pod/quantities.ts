/** Sums and maxima over lists of resources ("cpu": "500m", …), entry by entry. */
import { parseQuantity } from "../../machinery/quantity.ts";

type Resources = Readonly<Record<string, string>>;

export function add(a: Resources, b: Resources): Record<string, string> {
  return merge(a, b, (x, y) => String(parseQuantity(x).add(parseQuantity(y))));
}

export function max(a: Resources, b: Resources): Record<string, string> {
  return merge(a, b, (x, y) => (parseQuantity(x).compare(parseQuantity(y)) >= 0 ? x : y));
}

function merge(a: Resources, b: Resources, combine: (x: string, y: string) => string): Record<string, string> {
  const result: Record<string, string> = { ...a };
  for (const [name, quantity] of Object.entries(b)) {
    result[name] = result[name] === undefined ? quantity : combine(result[name], quantity);
  }
  return result;
}
