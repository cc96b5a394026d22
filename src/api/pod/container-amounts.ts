import type { PodSpec } from "../generated/core-v1.ts";
import { add, max } from "./quantities.ts";

/**
 * What the containers of a pod ask for together ("requests"), or may use ("limits"): init containers run before the
 * others, sidecars beside them.
 */
export function containerAmounts(spec: PodSpec, field: "requests" | "limits"): Record<string, string> {
  let total: Record<string, string> = {};
  for (const container of spec.containers ?? []) total = add(total, container.resources?.[field] ?? {});
  let sidecars: Record<string, string> = {};
  let peak: Record<string, string> = {};
  for (const container of spec.initContainers ?? []) {
    const amounts = container.resources?.[field] ?? {};
    if (container.restartPolicy === "Always") {
      total = add(total, amounts);
      sidecars = add(sidecars, amounts);
      peak = max(peak, sidecars);
    } else {
      peak = max(peak, add(sidecars, amounts));
    }
  }
  return max(total, peak);
}
