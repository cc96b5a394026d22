import type { Pod } from "../../api/generated/core-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";

export type PodView = DeepReadonly<Pod>;

export function podCondition(pod: PodView, type: string) {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

export function isReady(pod: PodView): boolean {
  return podCondition(pod, "Ready")?.status === "True";
}

/** Ready for at least `minReadySeconds`. */
export function isAvailable(pod: PodView, minReadySeconds: number, nowMs: number): boolean {
  return isReady(pod) && availableInMs(pod, minReadySeconds, nowMs) === 0;
}

/** Milliseconds until a ready pod counts as available; 0: it does. */
export function availableInMs(pod: PodView, minReadySeconds: number, nowMs: number): number {
  if (minReadySeconds <= 0) return 0;
  const since = podCondition(pod, "Ready")?.lastTransitionTime;
  return since ? Math.max(0, Date.parse(since) + minReadySeconds * 1000 - nowMs) : minReadySeconds * 1000;
}

/** Succeeded or failed: its containers will not run again. */
export function isTerminated(pod: PodView): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export function isTerminating(pod: PodView): boolean {
  return pod.metadata.deletionTimestamp !== undefined;
}

/** Neither terminated nor being deleted. */
export function isActive(pod: PodView): boolean {
  return !isTerminated(pod) && !isTerminating(pod);
}

/** The most restarts of any container. */
export function maxRestarts(pod: PodView): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status) => status.restartCount));
}
