import type { StatefulSet, StatefulSetStatus } from "../api/generated/apps-v1.ts";
import { statefulSets } from "../api/generated/apps-v1.ts";
import type { PersistentVolumeClaim, Pod, PodTemplateSpec, Volume } from "../api/generated/core-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { podFromTemplate } from "./shared/pod-control.ts";
import { availableInMs, isAvailable, isReady, isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";
import { revisionHashLabel } from "./shared/revisions.ts";

export type StatefulSetView = DeepReadonly<StatefulSet>;

export const podNameLabel = "statefulset.kubernetes.io/pod-name";
export const podIndexLabel = "apps.kubernetes.io/pod-index";

/** A template with the name of its revision. */
export interface Revision {
  readonly name: string;
  readonly template: DeepReadonly<PodTemplateSpec>;
}

export interface StatefulPlan {
  /** Pods to create, in order; with `OrderedReady` at most one. */
  readonly create: readonly { readonly ordinal: number; readonly revision: Revision }[];
  readonly remove: readonly PodView[];
}

/** The number at the end of a pod's name; undefined when the name is not one of this set. */
export function ordinalOf(set: StatefulSetView, pod: PodView): number | undefined {
  const prefix = `${set.metadata.name}-`;
  const text = pod.metadata.name?.startsWith(prefix) ? pod.metadata.name.slice(prefix.length) : "";
  return /^(0|[1-9]\d*)$/.test(text) ? Number(text) : undefined;
}

export function ordinalRange(set: StatefulSetView): { readonly start: number; readonly end: number } {
  const start = set.spec?.ordinals?.start ?? 0;
  return { start, end: start + (set.spec?.replicas ?? 1) };
}

const revisionOf = (pod: PodView) => pod.metadata.labels?.[revisionHashLabel] ?? "";

/** The revision that a pod made now gets: below the partition the former one, so that a partition holds. */
export function revisionFor(set: StatefulSetView, ordinal: number, current: Revision, update: Revision): Revision {
  if (set.spec?.updateStrategy?.type === "OnDelete") return update;
  const partition = set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  const { start } = ordinalRange(set);
  return ordinal < start + partition ? current : update;
}

/** The next step: missing pods from the lowest ordinal up, surplus ones from the highest down, then updates. */
export function planStatefulSet(
  set: StatefulSetView,
  pods: readonly PodView[],
  current: Revision,
  update: Revision,
  nowMs: number,
): StatefulPlan {
  const parallel = set.spec?.podManagementPolicy === "Parallel";
  const minReady = set.spec?.minReadySeconds ?? 0;
  const { start, end } = ordinalRange(set);
  const byOrdinal = new Map<number, PodView>();
  for (const pod of pods) {
    const ordinal = ordinalOf(set, pod);
    if (ordinal !== undefined) byOrdinal.set(ordinal, pod);
  }
  const healthy = (pod: PodView) => isReady(pod) && !isTerminating(pod) && !isTerminated(pod);
  const available = (pod: PodView) => healthy(pod) && isAvailable(pod, minReady, nowMs);

  const create: StatefulPlan["create"][number][] = [];
  const remove: PodView[] = [];
  for (let ordinal = start; ordinal < end; ordinal++) {
    const pod = byOrdinal.get(ordinal);
    if (pod && isTerminated(pod) && !isTerminating(pod)) {
      remove.push(pod);
      if (!parallel) return { create, remove };
    } else if (!pod) {
      create.push({ ordinal, revision: revisionFor(set, ordinal, current, update) });
      if (!parallel) return { create, remove };
    } else if (!parallel && !available(pod)) {
      // The next one waits until this one serves (or is gone).
      return { create, remove };
    }
  }
  const surplus = [...byOrdinal].filter(([ordinal]) => ordinal < start || ordinal >= end).sort(([a], [b]) => b - a);
  // All that has to stay serves, so the first that does not, if there is one, is the lowest of the surplus.
  const firstUnavailable = surplus.findLast(([, pod]) => !available(pod))?.[1];
  for (const [, pod] of surplus) {
    // While one below does not serve, the ones above are not taken down.
    const halted = !parallel && !available(pod) && pod !== firstUnavailable;
    if (!isTerminating(pod) && !halted) remove.push(pod);
    if (!parallel) return { create, remove };
  }
  if (create.length > 0 || remove.length > 0) return { create, remove };
  if (set.spec?.updateStrategy?.type === "OnDelete") return { create, remove };

  const partition = set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  for (let ordinal = end - 1; ordinal >= start + partition; ordinal--) {
    const pod = byOrdinal.get(ordinal);
    if (!pod) break;
    if (revisionOf(pod) !== update.name) {
      if (!isTerminating(pod)) remove.push(pod);
      break;
    }
    if (!available(pod)) break;
  }
  return { create, remove };
}

export function statefulSetStatus(
  set: StatefulSetView,
  pods: readonly PodView[],
  current: Revision,
  update: Revision,
  nowMs: number,
): { readonly status: StatefulSetStatus; readonly availableInMs: number | undefined } {
  const minReady = set.spec?.minReadySeconds ?? 0;
  const living = pods.filter((pod) => ordinalOf(set, pod) !== undefined);
  const running = living.filter((pod) => !isTerminating(pod) && !isTerminated(pod));
  const ready = living.filter((pod) => isReady(pod) && !isTerminated(pod));
  const waits = ready.map((pod) => availableInMs(pod, minReady, nowMs)).filter((waitMs) => waitMs > 0);
  const replicas = set.spec?.replicas ?? 1;
  const updated = running.filter((pod) => revisionOf(pod) === update.name).length;
  // All updated and ready: the update is what is current from now on.
  const rolling = set.spec?.updateStrategy?.type !== "OnDelete";
  const finished = rolling && updated === replicas && living.length === replicas && ready.length === replicas;
  const settled = finished ? update : current;
  const { collisionCount, conditions } = set.status ?? {};
  return {
    status: {
      observedGeneration: set.metadata.generation ?? 0,
      replicas: living.length,
      readyReplicas: ready.length,
      availableReplicas: ready.length - waits.length,
      currentReplicas: finished ? updated : running.filter((pod) => revisionOf(pod) === current.name).length,
      updatedReplicas: updated,
      currentRevision: settled.name,
      updateRevision: update.name,
      collisionCount: collisionCount ?? 0,
      ...(conditions
        ? { conditions: structuredClone(conditions) as NonNullable<StatefulSetStatus["conditions"]> }
        : {}),
    },
    availableInMs: waits.length > 0 ? Math.min(...waits) : undefined,
  };
}

function claimName(template: DeepReadonly<PersistentVolumeClaim>, podName: string): string {
  return `${template.metadata.name}-${podName}`;
}

/** The claims of one pod; they outlive it. */
export function claimsOf(set: StatefulSetView, ordinal: number): PersistentVolumeClaim[] {
  const podName = `${set.metadata.name}-${ordinal}`;
  return (set.spec?.volumeClaimTemplates ?? []).map((template) => {
    const claim = structuredClone(template) as PersistentVolumeClaim;
    const { namespace } = set.metadata;
    claim.metadata = {
      ...claim.metadata,
      name: claimName(template, podName),
      ...(namespace ? { namespace } : {}),
      labels: { ...claim.metadata.labels, ...(set.spec?.selector.matchLabels as Record<string, string> | undefined) },
    };
    delete claim.status;
    return claim;
  });
}

/** The pod of one ordinal: its name, host name and claims are its identity and stay over its replacements. */
export function statefulPod(set: StatefulSetView, ordinal: number, revision: Revision): Pod {
  const pod = podFromTemplate(revision.template, statefulSets, set);
  const name = `${set.metadata.name}-${ordinal}`;
  delete pod.metadata.generateName;
  pod.metadata.name = name;
  pod.metadata.labels = {
    ...pod.metadata.labels,
    [podNameLabel]: name,
    [podIndexLabel]: String(ordinal),
    [revisionHashLabel]: revision.name,
  };
  if (!pod.spec) return pod;
  pod.spec.hostname = name;
  if (set.spec?.serviceName) pod.spec.subdomain = set.spec.serviceName;
  const templates = set.spec?.volumeClaimTemplates ?? [];
  const claimed: Volume[] = templates.map((template) => ({
    name: template.metadata.name ?? "",
    persistentVolumeClaim: { claimName: claimName(template, name) },
  }));
  const others = (pod.spec.volumes ?? []).filter((volume) => !claimed.some((own) => own.name === volume.name));
  if (claimed.length > 0) pod.spec.volumes = [...others, ...claimed];
  return pod;
}
