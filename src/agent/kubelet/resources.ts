import type { Pod } from "../../api/generated/core-v1.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { ContainerResources } from "../containerd/cri-messages.ts";
import { type AnyContainer, qosClassOf } from "./pod-facts.ts";

const quotaPeriodMicros = 100_000;
const smallestQuotaMicros = 1000;

/** CPU shares of a request in thousandths of a core; 2 is the kernel's least. */
export function sharesOf(milliCpu: number): number {
  return Math.min(262_144, Math.max(2, Math.floor((milliCpu * 1024) / 1000)));
}

/** How readily the kernel kills a container when memory runs out (-1000 never … 1000 first). */
export function oomScoreAdj(pod: Pod, container: AnyContainer, memoryCapacityBytes: number): number {
  const qos = qosClassOf(pod);
  if (pod.spec!.priorityClassName === "system-node-critical" || qos === "Guaranteed") return -997;
  if (qos === "BestEffort") return 1000;
  const request = container.resources?.requests?.["memory"] ?? container.resources?.limits?.["memory"];
  const requestBytes = request ? parseQuantity(request).toUnits() : 0;
  const score = 1000 - Math.floor((1000 * requestBytes) / memoryCapacityBytes);
  return Math.min(999, Math.max(3, score));
}

/** Limits of a container as the runtime takes them. */
export function linuxResources(pod: Pod, container: AnyContainer, memoryCapacityBytes: number): ContainerResources {
  const { limits = {}, requests = {} } = container.resources ?? {};
  const cpuLimit = limits["cpu"] ? parseQuantity(limits["cpu"]).toMilli() : 0;
  const cpuRequest = requests["cpu"] ? parseQuantity(requests["cpu"]).toMilli() : cpuLimit;
  const memoryLimit = limits["memory"] ? parseQuantity(limits["memory"]).toUnits() : 0;
  return {
    cpuShares: sharesOf(cpuRequest),
    ...(cpuLimit > 0
      ? {
          cpuPeriod: quotaPeriodMicros,
          cpuQuota: Math.max(smallestQuotaMicros, Math.floor((cpuLimit * quotaPeriodMicros) / 1000)),
        }
      : {}),
    ...(memoryLimit > 0 ? { memoryLimitInBytes: memoryLimit } : {}),
    oomScoreAdj: oomScoreAdj(pod, container, memoryCapacityBytes),
    hugepageLimits: Object.entries(limits)
      .filter(([name]) => name.startsWith("hugepages-"))
      .map(([name, size]) => ({
        pageSize: `${name.slice(10).replace("i", "")}B`,
        limit: parseQuantity(size).toUnits(),
      })),
  };
}
