import type { Container, Pod } from "../../api/generated/core-v1.ts";
import { parseQuantity, type Quantity } from "../../machinery/quantity.ts";

/** Amounts by resource name. */
export type Amounts = Map<string, Quantity>;

/** Adds `more` to `amounts`, in place. */
export function addAmounts(amounts: Amounts, more: Amounts): void {
  for (const [name, amount] of more) {
    const now = amounts.get(name);
    amounts.set(name, now ? now.add(amount) : amount);
  }
}

/** A wire map of quantities as amounts. */
export function readAmounts(map: Readonly<Record<string, string>> | undefined): Amounts {
  return new Map(Object.entries(map ?? {}).map(([name, text]) => [name, parseQuantity(text)]));
}

const restarts = (container: Container) => container.restartPolicy === "Always";

/**
 * What a pod's containers request (or are limited to) together: init containers run one after the other before the main
 * ones, sidecars beside everything after them; the pod's overhead comes on top.
 */
export function podAmounts({ spec }: Pod, kind: "requests" | "limits"): Amounts {
  const of = (container: Container) => readAmounts(container.resources?.[kind]);
  const total: Amounts = new Map();
  for (const container of spec?.containers ?? []) addAmounts(total, of(container));
  const sidecars: Amounts = new Map();
  const peak: Amounts = new Map();
  const raise = (amounts: Amounts) => {
    for (const [name, amount] of amounts) {
      const now = peak.get(name);
      if (!now || now.compare(amount) < 0) peak.set(name, amount);
    }
  };
  for (const container of spec?.initContainers ?? []) {
    if (restarts(container)) {
      addAmounts(sidecars, of(container));
      raise(sidecars);
      continue;
    }
    const now = of(container);
    addAmounts(now, sidecars);
    raise(now);
  }
  addAmounts(total, sidecars);
  for (const [name, amount] of peak) {
    const now = total.get(name);
    if (!now || now.compare(amount) < 0) total.set(name, amount);
  }
  addAmounts(total, readAmounts(spec?.overhead));
  return total;
}
