/** CPU and memory of containers: as their spec has them, and as the runtime says them. */
import type { Container } from "../../api/generated/core-v1.ts";
import { milliQuantity, parseQuantity, quantityOf } from "../../machinery/quantity.ts";
import type { ContainerResources } from "../containerd/cri-messages.ts";
import type { AnyContainer } from "./pod-facts.ts";

export type Resources = NonNullable<Container["resources"]>;

/** What of a running container's limits can be changed, and read back. */
export type RuntimeAmounts = Required<
  Pick<ContainerResources, "cpuShares" | "cpuQuota" | "cpuPeriod" | "memoryLimitInBytes">
>;

const resizable = ["cpu", "memory"] as const;
const fewestShares = 2;
const smallestQuotaMilli = 10;

export type Resizable = (typeof resizable)[number];

/** Which of CPU and memory differ between two specs, in requests or limits. */
export function changedBetween(a: Resources, b: Resources): Resizable[] {
  const differs = (x: string | undefined, y: string | undefined) =>
    x === undefined || y === undefined ? x !== y : parseQuantity(x).compare(parseQuantity(y)) !== 0;
  return resizable.filter(
    (name) => differs(a.requests?.[name], b.requests?.[name]) || differs(a.limits?.[name], b.limits?.[name]),
  );
}

/** Which of CPU and memory the runtime does not have as they should be. */
export function changedFrom(has: RuntimeAmounts, wanted: ContainerResources): Resizable[] {
  const quota = (amount: number | undefined) => Math.max(0, amount ?? 0);
  const cpu = has.cpuShares !== wanted.cpuShares || quota(has.cpuQuota) !== quota(wanted.cpuQuota);
  const memory = has.memoryLimitInBytes !== (wanted.memoryLimitInBytes ?? 0);
  return [...(cpu ? ["cpu" as const] : []), ...(memory ? ["memory" as const] : [])];
}

/** Must the container be restarted to get another amount of one of these? */
export function needsRestart(container: AnyContainer, changed: readonly Resizable[]): boolean {
  const policies = (container as Container).resizePolicy ?? [];
  return policies.some(
    ({ resourceName, restartPolicy }) =>
      restartPolicy === "RestartContainer" && changed.includes(resourceName as Resizable),
  );
}

/** What a container that runs has, where the runtime says it; else what it was given. */
export function reportedResources(container: AnyContainer, has: RuntimeAmounts | undefined): Resources {
  const given: Resources = structuredClone(container.resources ?? {});
  if (!has) return given;
  const { requests, limits } = given;
  const milli = (text: string | undefined) => (text === undefined ? 0 : parseQuantity(text).toMilli());
  if (limits && has.cpuQuota > 0 && has.cpuPeriod > 0) {
    const actual = Math.round((has.cpuQuota * 1000) / has.cpuPeriod);
    const known = milli(limits["cpu"]);
    // The kernel takes no smaller quota: what was asked for says more.
    if (actual !== known && (actual > smallestQuotaMilli || known > smallestQuotaMilli)) {
      limits["cpu"] = String(milliQuantity(actual));
    }
  }
  if (limits && has.memoryLimitInBytes > 0) {
    const known = limits["memory"] === undefined ? 0 : parseQuantity(limits["memory"]).toUnits();
    if (has.memoryLimitInBytes !== known) limits["memory"] = String(quantityOf(has.memoryLimitInBytes, "BinarySI"));
  }
  if (requests && has.cpuShares > 0) {
    const actual = Math.ceil((has.cpuShares * 1000) / 1024);
    const known = milli(requests["cpu"]);
    if (actual !== known && (actual > fewestShares || known > fewestShares)) {
      requests["cpu"] = String(milliQuantity(actual));
    }
  }
  return given;
}
