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

function readAmounts(quantities: Readonly<Record<string, string>> = {}): Amounts {
  const amounts: Amounts = {};
  for (const [name, quantity] of Object.entries(quantities)) amounts[name] = amountOf(name, quantity);
  return amounts;
}

type Statuses = NonNullable<NonNullable<PendingPod["status"]>["containerStatuses"]>;

/** `seen`: what the node says of the container; `infeasible`: the node will never give what the spec asks for. */
function requestsOf(
  container: Container,
  assume: boolean,
  seen: Statuses[number] | undefined,
  infeasible: boolean,
): Amounts {
  let amounts = readAmounts(container.resources?.requests);
  if (seen?.resources) {
    // Amid a resize, the container has the old amounts still, or the new ones already.
    if (infeasible) amounts = {};
    maxAmounts(amounts, readAmounts(seen.resources.requests));
    maxAmounts(amounts, readAmounts(seen.allocatedResources));
  }
  if (assume) {
    amounts["cpu"] ??= assumedCpuMilli;
    amounts["memory"] ??= assumedMemoryBytes;
  }
  return amounts;
}

/**
 * What a pod asks for: the sum over its containers and sidecars, or the most that any init container needs together
 * with the sidecars started before it, whichever is more, plus the overhead (Kubernetes documentation, "Sidecar
 * containers": resource sharing). Of a pod that is being resized, what it has and what it is to have both count.
 * @param assume count containers without requests as a little, for scoring
 */
export function podRequests(pod: PendingPod, assume = false): Amounts {
  const total: Amounts = {};
  const sidecars: Amounts = {};
  const initial: Amounts = {};
  const { conditions = [], containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  const infeasible = conditions.some(({ type, reason }) => type === "PodResizePending" && reason === "Infeasible");
  const seen = (statuses: Statuses, { name }: Container) => statuses.find((one) => one.name === name);
  for (const container of pod.spec?.containers ?? []) {
    addAmounts(total, requestsOf(container, assume, seen(containerStatuses, container), infeasible));
  }
  for (const container of pod.spec?.initContainers ?? []) {
    const sidecar = container.restartPolicy === "Always";
    const status = sidecar ? seen(initContainerStatuses, container) : undefined;
    const requests = requestsOf(container, assume, status, infeasible);
    if (sidecar) {
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
  addAmounts(total, readAmounts(pod.spec?.overhead));
  return total;
}

/** Does the pod ask for less of anything than it did? */
export function asksForLess(pod: PendingPod, old: PendingPod): boolean {
  const before = podRequests(old);
  const now = podRequests(pod);
  return Object.entries(before).some(([name, amount]) => (now[name] ?? 0) < amount);
}
