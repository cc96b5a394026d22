import type { DeploymentCondition, DeploymentStatus } from "../api/generated/apps-v1.ts";
import { type Clock, formatTime } from "../machinery/clock.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import {
  type DeploymentView,
  hasProgressDeadline,
  isComplete,
  maxUnavailableOf,
  type ReplicaSetView,
  specReplicas,
  totalAvailable,
} from "./deployment-facts.ts";

type StatusView = DeepReadonly<DeploymentStatus>;

/** A condition to set besides those that follow from the sets. */
export interface ConditionChange {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

export function conditionOf(status: StatusView | undefined, type: string) {
  return status?.conditions?.find((condition) => condition.type === type);
}

/** lastUpdateTime moves whenever status or reason change, lastTransitionTime only with the status (as kubectl expects). */
export function setDeploymentCondition(
  conditions: readonly DeploymentCondition[],
  next: ConditionChange,
  clock: Clock,
): DeploymentCondition[] {
  const old = conditions.find(({ type }) => type === next.type);
  if (old && old.status === next.status && old.reason === next.reason) return [...conditions];
  const now = formatTime(clock.now());
  const lastTransitionTime = old?.status === next.status ? (old.lastTransitionTime ?? now) : now;
  const others = conditions.filter(({ type }) => type !== next.type);
  return [...others, { ...next, lastUpdateTime: now, lastTransitionTime }];
}

const sum = (sets: readonly ReplicaSetView[], count: (set: ReplicaSetView) => number | undefined) =>
  sets.reduce((total, set) => total + (count(set) ?? 0), 0);

/** Counts and the Available condition. */
export function countReplicas(
  deployment: DeploymentView,
  newSet: ReplicaSetView | undefined,
  all: readonly ReplicaSetView[],
  clock: Clock,
): DeploymentStatus {
  const available = totalAvailable(all);
  const replicas = sum(all, (set) => set.status?.replicas);
  const collisionCount = deployment.status?.collisionCount;
  const enough = available >= specReplicas(deployment) - maxUnavailableOf(deployment);
  const conditions = setDeploymentCondition(
    (deployment.status?.conditions ?? []) as DeploymentCondition[],
    enough
      ? {
          type: "Available",
          status: "True",
          reason: "MinimumReplicasAvailable",
          message: "Deployment has minimum availability.",
        }
      : {
          type: "Available",
          status: "False",
          reason: "MinimumReplicasUnavailable",
          message: "Deployment does not have minimum availability.",
        },
    clock,
  );
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas,
    updatedReplicas: newSet?.status?.replicas ?? 0,
    readyReplicas: sum(all, (set) => set.status?.readyReplicas),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, sum(all, specReplicas) - available),
    terminatingReplicas: sum(all, (set) => set.status?.terminatingReplicas),
    ...(collisionCount === undefined ? {} : { collisionCount }),
    conditions,
  };
}

/** Have more pods been updated, become ready or available, or fewer old ones been left, since the last status? */
function hasProgressed(old: StatusView | undefined, next: StatusView): boolean {
  const outdated = (status: StatusView | undefined) => (status?.replicas ?? 0) - (status?.updatedReplicas ?? 0);
  return (
    (next.updatedReplicas ?? 0) > (old?.updatedReplicas ?? 0) ||
    outdated(next) < outdated(old) ||
    (next.readyReplicas ?? 0) > (old?.readyReplicas ?? 0) ||
    (next.availableReplicas ?? 0) > (old?.availableReplicas ?? 0)
  );
}

/** Milliseconds until the progress deadline; negative when it has passed; undefined when none runs. */
export function deadlineInMs(deployment: DeploymentView, status: StatusView, clock: Clock): number | undefined {
  if (!hasProgressDeadline(deployment) || deployment.spec?.paused) return undefined;
  const condition = conditionOf(status, "Progressing");
  if (!condition?.lastUpdateTime || condition.reason === "NewReplicaSetAvailable") return undefined;
  const deadlineMs = (deployment.spec?.progressDeadlineSeconds ?? 0) * 1000;
  return Date.parse(condition.lastUpdateTime) + deadlineMs - clock.now();
}

/** The status while a rollout runs or after it: counts, and how far it has come (Progressing, ReplicaFailure). */
export function rolloutStatus(
  deployment: DeploymentView,
  newSet: ReplicaSetView | undefined,
  all: readonly ReplicaSetView[],
  clock: Clock,
): DeploymentStatus {
  const status = countReplicas(deployment, newSet, all, clock);
  let conditions = status.conditions ?? [];
  const current = conditions.find(({ type }) => type === "Progressing");
  const settled = status.replicas === status.updatedReplicas && current?.reason === "NewReplicaSetAvailable";
  if (!hasProgressDeadline(deployment)) {
    conditions = conditions.filter(({ type }) => type !== "Progressing");
  } else if (!settled) {
    const what = newSet ? `ReplicaSet "${newSet.metadata.name}"` : `Deployment "${deployment.metadata.name}"`;
    const say = (value: "True" | "False", reason: string, text: string): ConditionChange => ({
      type: "Progressing",
      status: value,
      reason,
      message: `${what} ${text}`,
    });
    if (isComplete(deployment, status)) {
      const change = say("True", "NewReplicaSetAvailable", "has successfully progressed.");
      conditions = setDeploymentCondition(conditions, change, clock);
    } else if (hasProgressed(deployment.status, status)) {
      // Every step forward starts the deadline anew, so lastUpdateTime moves though status and reason may stay.
      const change = say("True", "ReplicaSetUpdated", "is progressing.");
      const now = formatTime(clock.now());
      const since = current?.status === "True" ? (current.lastTransitionTime ?? now) : now;
      const others = conditions.filter(({ type }) => type !== "Progressing");
      conditions = [...others, { ...change, lastUpdateTime: now, lastTransitionTime: since }];
    } else {
      const leftMs = deadlineInMs(deployment, status, clock);
      if (leftMs !== undefined && leftMs < 0) {
        const change = say("False", "ProgressDeadlineExceeded", "has timed out progressing.");
        conditions = setDeploymentCondition(conditions, change, clock);
      }
    }
  }
  return { ...status, conditions: withFailure(conditions, newSet, all, clock) };
}

/** ReplicaFailure is that of the newest set, or else of any other. */
function withFailure(
  conditions: DeploymentCondition[],
  newSet: ReplicaSetView | undefined,
  all: readonly ReplicaSetView[],
  clock: Clock,
): DeploymentCondition[] {
  for (const set of newSet ? [newSet, ...all] : all) {
    const failure = set.status?.conditions?.find(({ type }) => type === "ReplicaFailure");
    if (!failure) continue;
    const { reason = "", message = "" } = failure;
    const status = failure.status as "True" | "False" | "Unknown";
    return setDeploymentCondition(conditions, { type: "ReplicaFailure", status, reason, message }, clock);
  }
  return conditions.filter(({ type }) => type !== "ReplicaFailure");
}
