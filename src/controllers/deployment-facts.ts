import type { Deployment, ReplicaSet } from "../api/generated/apps-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { resolveIntOrPercent } from "./shared/int-or-percent.ts";
import { equalTemplates } from "./shared/template-hash.ts";

export type DeploymentView = DeepReadonly<Deployment>;
export type ReplicaSetView = DeepReadonly<ReplicaSet>;

export const revisionAnnotation = "deployment.kubernetes.io/revision";
export const revisionHistoryAnnotation = "deployment.kubernetes.io/revision-history";
export const desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas";
export const maxReplicasAnnotation = "deployment.kubernetes.io/max-replicas";

/** A deadline of this many seconds stands for none. */
const noDeadline = 2 ** 31 - 1;

export function specReplicas(object: DeploymentView | ReplicaSetView): number {
  return object.spec?.replicas ?? 1;
}

export function isRollingUpdate(deployment: DeploymentView): boolean {
  return (deployment.spec?.strategy?.type ?? "RollingUpdate") === "RollingUpdate";
}

export function hasProgressDeadline(deployment: DeploymentView): boolean {
  return (deployment.spec?.progressDeadlineSeconds ?? noDeadline) !== noDeadline;
}

/** maxSurge and maxUnavailable as numbers. Both zero would stand still, so then one may be unavailable. */
export function rollingLimits(deployment: DeploymentView): { maxSurge: number; maxUnavailable: number } {
  if (!isRollingUpdate(deployment)) return { maxSurge: 0, maxUnavailable: 0 };
  const replicas = specReplicas(deployment);
  const rolling = deployment.spec?.strategy?.rollingUpdate;
  const maxSurge = resolveIntOrPercent(rolling?.maxSurge ?? "25%", replicas, true);
  const maxUnavailable = resolveIntOrPercent(rolling?.maxUnavailable ?? "25%", replicas, false);
  return { maxSurge, maxUnavailable: maxSurge === 0 && maxUnavailable === 0 ? 1 : maxUnavailable };
}

/** maxUnavailable, which cannot be more than there are. */
export function maxUnavailableOf(deployment: DeploymentView): number {
  const replicas = specReplicas(deployment);
  return replicas === 0 ? 0 : Math.min(rollingLimits(deployment).maxUnavailable, replicas);
}

export function isComplete(
  deployment: DeploymentView,
  status: DeepReadonly<NonNullable<Deployment["status"]>>,
): boolean {
  const replicas = specReplicas(deployment);
  return (
    (status.updatedReplicas ?? 0) === replicas &&
    (status.replicas ?? 0) === replicas &&
    (status.availableReplicas ?? 0) === replicas &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

/** The revision that an object's annotation gives, of 64 bits; 0 when there is none. */
export function revisionOf(object: DeploymentView | ReplicaSetView): bigint {
  return revisionIn(object.metadata.annotations?.[revisionAnnotation] ?? "");
}

/** The largest of their revisions; 0 when there are none. */
export function newestRevision(sets: readonly ReplicaSetView[]): bigint {
  let newest = 0n;
  for (const set of sets) {
    const revision = revisionOf(set);
    if (revision > newest) newest = revision;
  }
  return newest;
}

function revisionIn(text: string): bigint {
  return /^\d{1,19}$/.test(text) ? BigInt(text) : 0n;
}

const createdMs = (set: ReplicaSetView) => Date.parse(set.metadata.creationTimestamp ?? "") || 0;

/** Older first; of equal age by name, so that every reader sees the same order. */
export function byCreation(a: ReplicaSetView, b: ReplicaSetView): number {
  return createdMs(a) - createdMs(b) || ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1);
}

/** The ReplicaSet of the deployment's present template: the oldest, should there be several. */
export function findNewReplicaSet(
  deployment: DeploymentView,
  sets: readonly ReplicaSetView[],
): ReplicaSetView | undefined {
  return [...sets]
    .sort(byCreation)
    .find((set) => equalTemplates(set.spec?.template ?? {}, deployment.spec?.template ?? {}));
}

/** Sets that are meant to have pods. */
export function activeSets(sets: readonly ReplicaSetView[]): ReplicaSetView[] {
  return sets.filter((set) => specReplicas(set) > 0);
}

export function totalSpecReplicas(sets: readonly ReplicaSetView[]): number {
  return sets.reduce((sum, set) => sum + specReplicas(set), 0);
}

export function totalAvailable(sets: readonly ReplicaSetView[]): number {
  return sets.reduce((sum, set) => sum + (set.status?.availableReplicas ?? 0), 0);
}

/** Annotations of the deployment that its ReplicaSets do not inherit. */
const ownAnnotations = new Set([
  "kubectl.kubernetes.io/last-applied-configuration",
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
  "deprecated.deployment.rollback.to",
]);

/** Annotations that a set carries to remember how large its deployment was meant to be. */
export function sizeAnnotations(deployment: DeploymentView): Record<string, string> {
  const replicas = specReplicas(deployment);
  return {
    [desiredReplicasAnnotation]: String(replicas),
    [maxReplicasAnnotation]: String(replicas + rollingLimits(deployment).maxSurge),
  };
}

/**
 * Annotations of the newest set: those of the deployment, the revision (raised when others are newer, with the former
 * one in the history), and the sizes.
 */
export function newSetAnnotations(
  deployment: DeploymentView,
  current: Readonly<Record<string, string>> | undefined,
  newRevision: bigint,
): Record<string, string> {
  const annotations: Record<string, string> = { ...current };
  for (const [key, value] of Object.entries(deployment.metadata.annotations ?? {})) {
    if (!ownAnnotations.has(key)) annotations[key] = value as string;
  }
  const oldRevision = annotations[revisionAnnotation];
  if (oldRevision === undefined || revisionIn(oldRevision) < newRevision) {
    annotations[revisionAnnotation] = String(newRevision);
    if (oldRevision !== undefined) {
      const history = annotations[revisionHistoryAnnotation];
      annotations[revisionHistoryAnnotation] = history ? `${history},${oldRevision}` : oldRevision;
    }
  }
  return { ...annotations, ...(current ? {} : sizeAnnotations(deployment)) };
}
