import { parseQuantity, type Quantity } from "../../machinery/quantity.ts";
import type { Container, ContainerStatus, Pod } from "../generated/core-v1.ts";

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

/** Raises `amounts` to what is more in `others`, in place. */
function raise(amounts: Amounts, others: Amounts): void {
  for (const [name, amount] of others) {
    const now = amounts.get(name);
    if (!now || now.compare(amount) < 0) amounts.set(name, amount);
  }
}

/** Is a resource one that a pod can set for all of its containers together? */
function isPodLevel(name: string): boolean {
  return name === "cpu" || name === "memory" || name.startsWith("hugepages-");
}

/**
 * What a pod's containers request (or are limited to) together: init containers run one after the other before the main
 * ones, sidecars beside everything after them; what the pod sets for itself replaces their sum; its overhead comes on
 * top. During a resize in place both what is wanted and what is granted counts, unless the resize can never be.
 */
export function podAmounts({ spec, status }: Pod, kind: "requests" | "limits"): Amounts {
  const infeasible = status?.conditions?.some(
    ({ type, reason }) => type === "PodResizePending" && reason === "Infeasible",
  );
  const reported = new Map<string, ContainerStatus>();
  for (const one of [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])]) {
    reported.set(one.name, one);
  }
  const of = (container: Container): Amounts => {
    const wanted = readAmounts(container.resources?.[kind]);
    const seen = reported.get(container.name);
    if (!seen?.resources && !seen?.allocatedResources) return wanted;
    const granted = readAmounts(seen.resources?.[kind]);
    if (kind === "requests") raise(granted, readAmounts(seen.allocatedResources));
    if (infeasible && granted.size > 0) return granted;
    raise(wanted, granted);
    return wanted;
  };
  const total: Amounts = new Map();
  for (const container of spec?.containers ?? []) addAmounts(total, of(container));
  const sidecars: Amounts = new Map();
  const peak: Amounts = new Map();
  for (const container of spec?.initContainers ?? []) {
    if (restarts(container)) {
      addAmounts(sidecars, of(container));
      raise(peak, sidecars);
      continue;
    }
    const now = of(container);
    addAmounts(now, sidecars);
    raise(peak, now);
  }
  addAmounts(total, sidecars);
  raise(total, peak);
  for (const [name, amount] of readAmounts(spec?.resources?.[kind])) if (isPodLevel(name)) total.set(name, amount);
  for (const [name, amount] of readAmounts(spec?.overhead)) {
    const now = total.get(name);
    // Overhead makes no limit where there is none.
    if (now) total.set(name, now.add(amount));
    else if (kind === "requests") total.set(name, amount);
  }
  return total;
}
