import {
  activeSets,
  byCreation,
  type DeploymentView,
  desiredReplicasAnnotation,
  isRollingUpdate,
  maxReplicasAnnotation,
  maxUnavailableOf,
  type ReplicaSetView,
  revisionOf,
  rollingLimits,
  specReplicas,
  totalAvailable,
  totalSpecReplicas,
} from "./deployment-facts.ts";

/** A ReplicaSet and the number of replicas that it shall have. */
export interface Scaling {
  readonly set: ReplicaSetView;
  readonly replicas: number;
}

/** How many replicas the newest set may have now, so that the surge is kept. */
export function newSetReplicas(deployment: DeploymentView, all: readonly ReplicaSetView[], current: number): number {
  const wanted = specReplicas(deployment);
  if (!isRollingUpdate(deployment)) return wanted;
  const total = totalSpecReplicas(all);
  const limit = wanted + rollingLimits(deployment).maxSurge;
  if (total >= limit) return current;
  return current + Math.min(limit - total, wanted - current);
}

/**
 * The next step of a rolling update: either the newest set grows (or shrinks to its size), or old ones shrink as far as
 * availability allows, unhealthy pods first. Nothing: wait.
 */
export function planRollout(
  deployment: DeploymentView,
  newSet: ReplicaSetView,
  oldSets: readonly ReplicaSetView[],
): readonly Scaling[] {
  const wanted = specReplicas(deployment);
  const current = specReplicas(newSet);
  const all = [...oldSets, newSet];
  const target = current > wanted ? wanted : newSetReplicas(deployment, all, current);
  if (target !== current) return [{ set: newSet, replicas: target }];

  const old = activeSets(oldSets).sort(byCreation);
  if (old.length === 0) return [];
  const minAvailable = wanted - maxUnavailableOf(deployment);
  const newUnavailable = current - (newSet.status?.availableReplicas ?? 0);
  const maxScaledDown = totalSpecReplicas(all) - minAvailable - newUnavailable;
  if (maxScaledDown <= 0) return [];

  const sizes = new Map(old.map((set) => [set, specReplicas(set)]));
  // Pods that do not serve anyway go first: they cost no availability.
  let budget = maxScaledDown;
  for (const set of old) {
    const unhealthy = specReplicas(set) - (set.status?.availableReplicas ?? 0);
    const count = Math.min(budget, Math.max(0, unhealthy));
    sizes.set(set, specReplicas(set) - count);
    budget -= count;
  }
  let spare = totalAvailable(all) - minAvailable;
  for (const set of old) {
    const size = sizes.get(set) ?? 0;
    const count = Math.min(size, Math.max(0, spare));
    sizes.set(set, size - count);
    spare -= count;
  }
  return old
    .filter((set) => sizes.get(set) !== specReplicas(set))
    .map((set) => ({ set, replicas: sizes.get(set) ?? 0 }));
}

/** Has the deployment's size changed since its sets were last given theirs? */
export function isScalingEvent(deployment: DeploymentView, all: readonly ReplicaSetView[]): boolean {
  return activeSets(all).some((set) => {
    const desired = set.metadata.annotations?.[desiredReplicasAnnotation];
    return desired !== undefined && Number(desired) !== specReplicas(deployment);
  });
}

/** Is the newest set at full size and wholly available? */
function isSaturated(deployment: DeploymentView, set: ReplicaSetView | undefined): boolean {
  if (!set) return false;
  const wanted = specReplicas(deployment);
  const desired = Number(set.metadata.annotations?.[desiredReplicasAnnotation]);
  return specReplicas(set) === wanted && desired === wanted && (set.status?.availableReplicas ?? 0) === wanted;
}

/**
 * New sizes after the deployment was scaled, also in the middle of a rollout or while paused: the difference is shared
 * in proportion to the sets' sizes, what rounding leaves over goes to the largest.
 */
export function planScale(
  deployment: DeploymentView,
  newSet: ReplicaSetView | undefined,
  oldSets: readonly ReplicaSetView[],
): readonly Scaling[] {
  const wanted = specReplicas(deployment);
  const all = newSet ? [...oldSets, newSet] : [...oldSets];
  const active = activeSets(all);
  if (active.length <= 1) {
    const only = active[0] ?? newSet ?? [...oldSets].sort(byCreation).at(-1);
    return only && needsScaling(deployment, only, wanted) ? [{ set: only, replicas: wanted }] : [];
  }
  if (isSaturated(deployment, newSet)) return activeSets(oldSets).map((set) => ({ set, replicas: 0 }));
  if (!isRollingUpdate(deployment)) return [];

  const { maxSurge } = rollingLimits(deployment);
  const total = totalSpecReplicas(active);
  const allowed = wanted > 0 ? wanted + maxSurge : 0;
  const toAdd = allowed - total;
  // The larger first; of equal size the newer grows first and the older shrinks first.
  const sign = toAdd >= 0 ? -1 : 1;
  const sorted = [...active].sort((a, b) => specReplicas(b) - specReplicas(a) || sign * byCreation(a, b));
  let added = 0;
  const sizes = sorted.map((set) => {
    const share = proportion(deployment, set, toAdd, added, wanted + maxSurge);
    added += share;
    return specReplicas(set) + share;
  });
  if (toAdd !== 0) sizes[0] = Math.max(0, sizes[0]! + toAdd - added);
  return sorted
    .map((set, i) => ({ set, replicas: sizes[i]! }))
    .filter(({ set, replicas }) => needsScaling(deployment, set, replicas));
}

function proportion(deployment: DeploymentView, set: ReplicaSetView, toAdd: number, added: number, limit: number) {
  const size = specReplicas(set);
  if (size === 0 || toAdd === 0 || toAdd === added) return 0;
  const allowed = toAdd - added;
  let fraction: number;
  if (specReplicas(deployment) === 0) {
    fraction = -size;
  } else {
    const annotated = Number(set.metadata.annotations?.[maxReplicasAnnotation]) || (deployment.status?.replicas ?? 0);
    // Without any earlier size there is nothing to be in proportion to.
    fraction = annotated > 0 ? Math.round((size * limit) / annotated) - size : 0;
  }
  return toAdd > 0 ? Math.min(fraction, allowed) : Math.max(fraction, allowed);
}

/** Also a set of the right size is written when its annotations still tell of another size of the deployment. */
function needsScaling(deployment: DeploymentView, set: ReplicaSetView, replicas: number): boolean {
  const wanted = specReplicas(deployment);
  const annotations = set.metadata.annotations;
  return (
    specReplicas(set) !== replicas ||
    annotations?.[desiredReplicasAnnotation] !== String(wanted) ||
    annotations?.[maxReplicasAnnotation] !== String(wanted + rollingLimits(deployment).maxSurge)
  );
}

/** Old sets beyond spec.revisionHistoryLimit, oldest revision first; only those without pods. */
export function planCleanup(deployment: DeploymentView, oldSets: readonly ReplicaSetView[]): readonly ReplicaSetView[] {
  const limit = deployment.spec?.revisionHistoryLimit ?? 10;
  const kept = oldSets.filter((set) => !set.metadata.deletionTimestamp);
  const surplus = kept.length - limit;
  if (surplus <= 0) return [];
  return kept
    .sort((a, b) => Number(revisionOf(a) - revisionOf(b)) || byCreation(a, b))
    .slice(0, surplus)
    .filter(
      (set) =>
        specReplicas(set) === 0 &&
        (set.status?.replicas ?? 0) === 0 &&
        (set.metadata.generation ?? 0) <= (set.status?.observedGeneration ?? 0),
    );
}
