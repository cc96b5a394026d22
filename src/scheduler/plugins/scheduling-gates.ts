import type { Plugin } from "../framework.ts";

/** A pod with scheduling gates waits until whoever set them takes the last one away. */
export const schedulingGates: Plugin = {
  name: "SchedulingGates",
  retryOn: [],
  gate(pod) {
    const gates = pod.spec?.schedulingGates ?? [];
    if (gates.length === 0) return undefined;
    return "Scheduling is blocked due to non-empty scheduling gates";
  },
  start: () => undefined,
};
