import type { ReplicaSetCondition, ReplicaSetStatus } from "../api/generated/apps-v1.ts";
import type { PodTemplateSpec } from "../api/generated/core-v1.ts";
import type { Clock } from "../machinery/clock.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { withCondition, withoutCondition } from "./shared/conditions.ts";
import { labelsOf } from "./shared/owned.ts";
import { availableInMs, isActive, isReady, isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";

export interface ReplicaSetObservation {
  readonly generation: number | undefined;
  readonly template: DeepReadonly<PodTemplateSpec> | undefined;
  readonly minReadySeconds: number;
  readonly old: DeepReadonly<ReplicaSetStatus> | undefined;
  readonly pods: readonly PodView[];
  /** Error of the last attempt to create (`FailedCreate`) or delete (`FailedDelete`) pods. */
  readonly failure?: { readonly reason: string; readonly message: string };
}

/** The status of a ReplicaSet or ReplicationController as its pods show it, and when a pod will become available. */
export function replicaSetStatus(
  { generation, template, minReadySeconds, old, pods, failure }: ReplicaSetObservation,
  clock: Clock,
): { status: ReplicaSetStatus; availableInMs: number | undefined } {
  const wanted = Object.entries(labelsOf({ metadata: template?.metadata }));
  const nowMs = clock.now();
  const active = pods.filter(isActive);
  const ready = active.filter(isReady);
  const waits = ready.map((pod) => availableInMs(pod, minReadySeconds, nowMs));
  const labeled = active.filter((pod) => wanted.every(([key, value]) => pod.metadata.labels?.[key] === value));
  const oldConditions = old?.conditions as ReplicaSetCondition[] | undefined;
  const conditions = failure
    ? withCondition(oldConditions, { type: "ReplicaFailure", status: "True", ...failure }, clock)
    : withoutCondition(oldConditions, "ReplicaFailure");
  const pending = waits.filter((waitMs) => waitMs > 0);
  return {
    status: {
      replicas: active.length,
      fullyLabeledReplicas: labeled.length,
      readyReplicas: ready.length,
      availableReplicas: ready.length - pending.length,
      terminatingReplicas: pods.filter((pod) => isTerminating(pod) && !isTerminated(pod)).length,
      observedGeneration: generation ?? 0,
      ...(conditions.length > 0 ? { conditions: [...conditions] } : {}),
    },
    availableInMs: pending.length > 0 ? Math.min(...pending) : undefined,
  };
}

/** Are two statuses the same to a reader? Absent counts are zero. */
export function sameReplicaSetStatus(a: DeepReadonly<ReplicaSetStatus> | undefined, b: ReplicaSetStatus): boolean {
  const counts = [
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "terminatingReplicas",
    "observedGeneration",
  ] as const;
  return (
    a !== undefined &&
    counts.every((count) => (a[count] ?? 0) === (b[count] ?? 0)) &&
    JSON.stringify(a.conditions ?? []) === JSON.stringify(b.conditions ?? [])
  );
}
