import { parseQuantity } from "../machinery/quantity.ts";
import type { PendingPod } from "./pending-pod.ts";

/** Amounts by resource name: cpu in millicores, everything else in its unit (bytes, pieces). */
export type Amounts = Record<string, number>;

type Container = NonNullable<PendingPod["spec"]>["containers"][number];

/** Nodes are not overcrowded by pods that ask for nothing: for scoring such a container counts as this much. */
const assumedCpuMilli = 100;
const assumedMemoryBytes = 200 * 1024 * 1024;

export function amountOf(name: string, quantity: string | number): number {
  const parsed = parseQuantity(quantity);
  return name === "cpu" ? parsed.toMilli() : parsed.toUnits();
}

export function addAmounts(into: Amounts, amounts: Readonly<Amounts>, factor = 1): void {
  for (const [name, amount] of Object.entries(amounts)) into[name] = (into[name] ?? 0) + amount * factor;
}

function maxAmounts(into: Amounts, amounts: Readonly<Amounts>): void {
  for (const [name, amount] of Object.entries(amounts)) into[name] = Math.max(into[name] ?? 0, amount);
}

function requestsOf(container: Container, assume: boolean): Amounts {
  const requests = container.resources?.requests ?? {};
  const amounts: Amounts = {};
  for (const [name, quantity] of Object.entries(requests)) amounts[name] = amountOf(name, quantity as string);
  if (assume) {
    amounts["cpu"] ??= assumedCpuMilli;
    amounts["memory"] ??= assumedMemoryBytes;
  }
  return amounts;
}

/**
 * What a pod asks for: the sum over its containers and sidecars, or the most that any init container needs together
 * with the sidecars started before it, whichever is more, plus the overhead (Kubernetes documentation, "Sidecar
 * containers": resource sharing).
 * @param assume count containers without requests as a little, for scoring
 */
export function podRequests(pod: PendingPod, assume = false): Amounts {
  const total: Amounts = {};
  const sidecars: Amounts = {};
  const initial: Amounts = {};
  for (const container of pod.spec?.containers ?? []) addAmounts(total, requestsOf(container, assume));
  for (const container of pod.spec?.initContainers ?? []) {
    const requests = requestsOf(container as Container, assume);
    if (container.restartPolicy === "Always") {
      addAmounts(sidecars, requests);
      maxAmounts(initial, sidecars);
    } else {
      const together = { ...sidecars };
      addAmounts(together, requests);
      maxAmounts(initial, together);
    }
  }
  addAmounts(total, sidecars);
  maxAmounts(total, initial);
  for (const [name, quantity] of Object.entries(pod.spec?.overhead ?? {})) {
    total[name] = (total[name] ?? 0) + amountOf(name, quantity as string);
  }
  return total;
}
