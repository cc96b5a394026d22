import { maxScore, type Plugin } from "../framework.ts";
import { podRequests } from "../pod-resources.ts";

/** A node needs room for what the pod asks for; the emptier one is better (LeastAllocated). */
export const nodeResourcesFit: Plugin = {
  name: "NodeResourcesFit",
  weight: 1,
  retryOn: ["node-added", "node-resources", "pod-deleted", "pod-updated"],
  start(pod) {
    const requests = Object.entries(podRequests(pod)).filter(([, amount]) => amount > 0);
    const assumed = podRequests(pod, true);
    return {
      filter(node) {
        const maxPods = node.allocatable["pods"];
        const rejections = maxPods !== undefined && node.podCount + 1 > maxPods ? [{ reason: "Too many pods" }] : [];
        for (const [name, amount] of requests) {
          const allocatable = node.allocatable[name] ?? 0;
          if (amount <= allocatable - (node.requested[name] ?? 0)) continue;
          rejections.push({
            reason: `Insufficient ${name}`,
            // Not even an empty node of this size would do.
            ...(amount > allocatable ? { unresolvable: true } : {}),
          });
        }
        return rejections;
      },
      score(node) {
        const shares = ["cpu", "memory"].map((name) => {
          const capacity = node.allocatable[name] ?? 0;
          const used = (node.assumedRequested[name] ?? 0) + (assumed[name] ?? 0);
          return capacity === 0 || used > capacity ? 0 : Math.floor(((capacity - used) * maxScore) / capacity);
        });
        return Math.floor((shares[0]! + shares[1]!) / 2);
      },
    };
  },
};

/** A node whose CPU and memory fill up at the same rate is better. */
export const nodeResourcesBalancedAllocation: Plugin = {
  name: "NodeResourcesBalancedAllocation",
  weight: 1,
  retryOn: [],
  start(pod) {
    const requests = podRequests(pod);
    if (!requests["cpu"] && !requests["memory"]) return undefined;
    return {
      score(node) {
        const [cpu, memory] = ["cpu", "memory"].map((name) => {
          const capacity = node.allocatable[name] ?? 0;
          return capacity === 0 ? 1 : Math.min(1, ((node.requested[name] ?? 0) + (requests[name] ?? 0)) / capacity);
        }) as [number, number];
        return Math.floor((1 - Math.abs(cpu - memory) / 2) * maxScore);
      },
    };
  },
};
