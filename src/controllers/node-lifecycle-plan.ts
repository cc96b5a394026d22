import type { Node, NodeCondition, Taint } from "../api/generated/core-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import type { DeepReadonly } from "../machinery/object.ts";

export type NodeView = DeepReadonly<Node>;

export const notReadyTaint = "node.kubernetes.io/not-ready";
export const unreachableTaint = "node.kubernetes.io/unreachable";
export const outOfServiceTaint = "node.kubernetes.io/out-of-service";

/** Conditions that a kubelet keeps up to date; without it they are unknown. */
const kubeletConditions = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] as const;

/** Condition and value → taint that keeps new pods away. */
const conditionTaints: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Ready: { False: notReadyTaint, Unknown: unreachableTaint },
  MemoryPressure: { True: "node.kubernetes.io/memory-pressure" },
  DiskPressure: { True: "node.kubernetes.io/disk-pressure" },
  PIDPressure: { True: "node.kubernetes.io/pid-pressure" },
  NetworkUnavailable: { True: "node.kubernetes.io/network-unavailable" },
};
const unschedulableTaint = "node.kubernetes.io/unschedulable";
const noScheduleKeys = new Set([unschedulableTaint, ...Object.values(conditionTaints).flatMap(Object.values)]);
const noExecuteKeys = new Set([notReadyTaint, unreachableTaint]);

export function readiness(node: NodeView): "True" | "False" | "Unknown" {
  const status = node.status?.conditions?.find(({ type }) => type === "Ready")?.status;
  return status === "True" || status === "False" ? status : "Unknown";
}

/** What a kubelet writes when it is alive, besides its lease: a change of it is a heartbeat. */
export function heartbeatOf(node: NodeView | undefined, renewTime: string | undefined): string {
  const condition = node?.status?.conditions?.find(({ type }) => type === "Ready");
  return JSON.stringify([renewTime, condition?.lastHeartbeatTime, condition?.status]);
}

/** The conditions of a node whose kubelet is silent; undefined when they say so already. */
export function unknownConditions(node: NodeView, nowMs: number): NodeCondition[] | undefined {
  const now = formatTime(nowMs);
  const conditions = (node.status?.conditions ?? []) as readonly NodeCondition[];
  let changed = false;
  const next = [...conditions];
  for (const type of kubeletConditions) {
    const index = next.findIndex((condition) => condition.type === type);
    const old = next[index];
    if (!old) {
      changed = true;
      next.push({
        type,
        status: "Unknown",
        reason: "NodeStatusNeverUpdated",
        message: "Kubelet never posted node status.",
        lastHeartbeatTime: node.metadata.creationTimestamp ?? now,
        lastTransitionTime: now,
      });
    } else if (old.status !== "Unknown") {
      changed = true;
      next[index] = {
        ...old,
        status: "Unknown",
        reason: "NodeStatusUnknown",
        message: "Kubelet stopped posting node status.",
        lastTransitionTime: now,
      };
    }
  }
  return changed ? next : undefined;
}

/**
 * The taints that follow from a node's conditions; undefined when it has exactly those. Taints of others stay. With
 * `evict` false no NoExecute taint is set: when no node at all is heard of, the fault is more likely on our side.
 */
export function planTaints(node: NodeView, evict: boolean, nowMs: number): Taint[] | undefined {
  const wanted: Taint[] = [];
  for (const { type, status } of node.status?.conditions ?? []) {
    const key = conditionTaints[type]?.[status];
    if (key) wanted.push({ key, effect: "NoSchedule" });
  }
  if (!node.status?.conditions?.some(({ type }) => type === "Ready")) {
    wanted.push({ key: notReadyTaint, effect: "NoSchedule" });
  }
  if (node.spec?.unschedulable) wanted.push({ key: unschedulableTaint, effect: "NoSchedule" });
  const ready = readiness(node);
  if (evict && ready !== "True" && node.status?.conditions?.some(({ type }) => type === "Ready")) {
    wanted.push({ key: ready === "False" ? notReadyTaint : unreachableTaint, effect: "NoExecute" });
  }

  const present = (node.spec?.taints ?? []) as readonly Taint[];
  const isOurs = ({ key, effect }: Taint) =>
    (effect === "NoSchedule" && noScheduleKeys.has(key)) || (effect === "NoExecute" && noExecuteKeys.has(key));
  const same = (a: Taint, b: Taint) => a.key === b.key && a.effect === b.effect;
  const missing = wanted.filter((taint) => !present.some((other) => same(taint, other)));
  const surplus = present.filter((taint) => isOurs(taint) && !wanted.some((other) => same(taint, other)));
  if (missing.length === 0 && surplus.length === 0) return undefined;
  const now = formatTime(nowMs);
  return [
    ...present.filter((taint) => !surplus.includes(taint)),
    ...missing.map((taint) => ({ ...taint, timeAdded: now })),
  ];
}
