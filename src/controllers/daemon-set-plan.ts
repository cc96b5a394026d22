import type { DaemonSet, DaemonSetStatus } from "../api/generated/apps-v1.ts";
import type { PodSpec, PodTemplateSpec, Toleration } from "../api/generated/core-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { type NodeView, notReadyTaint, unreachableTaint } from "./node-lifecycle-plan.ts";
import { resolveIntOrPercent } from "./shared/int-or-percent.ts";
import { asksForNode } from "./shared/node-match.ts";
import { availableInMs, isAvailable, isReady, isTerminating, type PodView } from "./shared/pod-facts.ts";
import { tolerates } from "./taint-eviction-plan.ts";

export type DaemonSetView = DeepReadonly<DaemonSet>;

export const revisionHashLabel = "controller-revision-hash";
export const templateGenerationLabel = "pod-template-generation";

/** Taints that a daemon's pods put up with, whatever their template says: they belong to the node. */
const ownTolerations: readonly Toleration[] = [
  { key: notReadyTaint, operator: "Exists", effect: "NoExecute" },
  { key: unreachableTaint, operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/disk-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/memory-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/pid-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/unschedulable", operator: "Exists", effect: "NoSchedule" },
];
const hostNetworkToleration: Toleration = {
  key: "node.kubernetes.io/network-unavailable",
  operator: "Exists",
  effect: "NoSchedule",
};

function tolerationsOf(spec: DeepReadonly<PodSpec> | undefined): readonly DeepReadonly<Toleration>[] {
  return [...(spec?.tolerations ?? []), ...ownTolerations, ...(spec?.hostNetwork ? [hostNetworkToleration] : [])];
}

/** Shall a daemon's pod be on a node, and if one is there, may it stay? */
export function placement(set: DaemonSetView, node: NodeView): { readonly run: boolean; readonly stay: boolean } {
  const spec = set.spec?.template.spec;
  if (!asksForNode(spec, node)) return { run: false, stay: false };
  const tolerations = tolerationsOf(spec);
  const bad = (node.spec?.taints ?? [])
    .filter(({ effect }) => effect === "NoSchedule" || effect === "NoExecute")
    .filter((taint) => !tolerations.some((toleration) => tolerates(toleration, taint)));
  return { run: bad.length === 0, stay: !bad.some(({ effect }) => effect === "NoExecute") };
}

/** The template of the pod for one node: bound to it by affinity, so that the scheduler checks it and binds it. */
export function templateForNode(
  set: DaemonSetView,
  nodeName: string,
  hash: string,
  templateGeneration: string | undefined,
): PodTemplateSpec {
  const template = structuredClone(set.spec?.template ?? {}) as PodTemplateSpec;
  const spec: PodSpec = { ...(template.spec ?? { containers: [] }) };
  const onlyThere = { matchFields: [{ key: "metadata.name", operator: "In", values: [nodeName] }] };
  spec.affinity = {
    ...spec.affinity,
    nodeAffinity: {
      ...spec.affinity?.nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [onlyThere] },
    },
  };
  const given = spec.tolerations ?? [];
  const same = (a: Toleration, b: Toleration) => a.key === b.key && a.effect === b.effect && a.operator === b.operator;
  const own = [...ownTolerations, ...(spec.hostNetwork ? [hostNetworkToleration] : [])];
  spec.tolerations = [...given, ...own.filter((toleration) => !given.some((other) => same(other, toleration)))];
  const labels = {
    ...template.metadata?.labels,
    [revisionHashLabel]: hash,
    ...(templateGeneration ? { [templateGenerationLabel]: templateGeneration } : {}),
  };
  return { metadata: { ...template.metadata, labels }, spec };
}

/** The node that a daemon's pod is on or is meant for. */
export function targetNode(pod: PodView): string | undefined {
  if (pod.spec?.nodeName) return pod.spec.nodeName;
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const term of required?.nodeSelectorTerms ?? []) {
    for (const { key, operator, values } of term.matchFields ?? []) {
      if (key === "metadata.name" && operator === "In" && values?.length === 1) return values[0];
    }
  }
  return undefined;
}

export function podsByNode(pods: readonly PodView[]): Map<string, PodView[]> {
  const byNode = new Map<string, PodView[]>();
  for (const pod of pods) {
    const node = targetNode(pod);
    if (node === undefined) continue;
    const list = byNode.get(node);
    if (list) list.push(pod);
    else byNode.set(node, [pod]);
  }
  return byNode;
}

export interface DaemonPlan {
  /** Nodes that need a pod. */
  readonly create: readonly string[];
  readonly remove: readonly PodView[];
  /** Pods among `remove` that failed: they are replaced with a back-off. */
  readonly failed: readonly PodView[];
  readonly succeeded: readonly PodView[];
}

const created = (pod: PodView) => pod.metadata.creationTimestamp ?? "";

/** One pod on each node that shall have one, none elsewhere. */
export function planDaemons(
  set: DaemonSetView,
  nodes: readonly NodeView[],
  pods: readonly PodView[],
  hash: string,
): DaemonPlan {
  const create: string[] = [];
  const remove: PodView[] = [];
  const failed: PodView[] = [];
  const succeeded: PodView[] = [];
  const byNode = podsByNode(pods);
  const { maxSurge } = daemonLimits(set, nodes.length);
  for (const node of nodes) {
    const name = node.metadata.name ?? "";
    const { run, stay } = placement(set, node);
    const here = byNode.get(name) ?? [];
    byNode.delete(name);
    if (!stay) {
      remove.push(...here.filter((pod) => !isTerminating(pod)));
      continue;
    }
    const living: PodView[] = [];
    for (const pod of here) {
      if (isTerminating(pod)) continue;
      if (pod.status?.phase === "Failed") failed.push(pod);
      else if (pod.status?.phase === "Succeeded") succeeded.push(pod);
      else living.push(pod);
    }
    // A pod that is going still holds the node's ports and directories.
    const leaving = here.some(isTerminating);
    if (run && here.length === 0) create.push(name);
    else if (run && living.length === 0 && leaving && maxSurge > 0 && failed.length === 0) create.push(name);
    if (living.length <= 1) continue;
    const isNew = (pod: PodView) => pod.metadata.labels?.[revisionHashLabel] === hash;
    const fresh = living.filter(isNew);
    const old = living.filter((pod) => !isNew(pod));
    // While surging, an old and a new pod stand beside each other.
    const groups = maxSurge > 0 && fresh.length > 0 && old.length > 0 ? [fresh, old] : [living];
    for (const group of groups) {
      const [, ...surplus] = [...group].sort(
        (a, b) => Number(!a.spec?.nodeName) - Number(!b.spec?.nodeName) || (created(a) < created(b) ? -1 : 1),
      );
      remove.push(...surplus);
    }
  }
  // Pods for nodes that are gone and that were never bound would wait for ever; bound ones are the pod collector's.
  for (const orphans of byNode.values()) {
    remove.push(...orphans.filter((pod) => !pod.spec?.nodeName && !isTerminating(pod)));
  }
  return { create, remove: [...remove, ...failed, ...succeeded], failed, succeeded };
}

/** maxUnavailable and maxSurge of a rolling update as numbers; both 0 for OnDelete. */
export function daemonLimits(set: DaemonSetView, desired: number): { maxSurge: number; maxUnavailable: number } {
  if ((set.spec?.updateStrategy?.type ?? "RollingUpdate") !== "RollingUpdate")
    return { maxSurge: 0, maxUnavailable: 0 };
  const rolling = set.spec?.updateStrategy?.rollingUpdate;
  const maxSurge = resolveIntOrPercent(rolling?.maxSurge ?? 0, desired, true);
  const maxUnavailable = resolveIntOrPercent(rolling?.maxUnavailable ?? 1, desired, true);
  return { maxSurge, maxUnavailable: maxSurge === 0 && maxUnavailable === 0 ? 1 : maxUnavailable };
}

/** The next step of replacing pods of older revisions: pods to delete, and nodes where a new pod comes beside. */
export function planDaemonUpdate(
  set: DaemonSetView,
  nodes: readonly NodeView[],
  pods: readonly PodView[],
  hash: string,
  nowMs: number,
): { readonly create: readonly string[]; readonly remove: readonly PodView[] } {
  if ((set.spec?.updateStrategy?.type ?? "RollingUpdate") !== "RollingUpdate") return { create: [], remove: [] };
  const wanted = nodes.filter((node) => placement(set, node).run);
  const { maxSurge, maxUnavailable } = daemonLimits(set, wanted.length);
  const minReady = set.spec?.minReadySeconds ?? 0;
  const byNode = podsByNode(pods);
  const available = (pod: PodView) => !isTerminating(pod) && isAvailable(pod, minReady, nowMs);
  let unavailable = 0;
  let surging = 0;
  const broken: PodView[] = [];
  const healthy: PodView[] = [];
  const createNow: string[] = [];
  const createLater: string[] = [];
  const replaced: PodView[] = [];
  for (const node of wanted) {
    const name = node.metadata.name ?? "";
    const here = byNode.get(name) ?? [];
    const fresh = here.find((pod) => pod.metadata.labels?.[revisionHashLabel] === hash && !isTerminating(pod));
    const old = here.find((pod) => pod.metadata.labels?.[revisionHashLabel] !== hash);
    if (maxSurge > 0) {
      if (!old) continue;
      if (!fresh) {
        if (isTerminating(old)) continue;
        if (available(old)) createLater.push(name);
        else createNow.push(name);
      } else if (available(fresh)) {
        if (!isTerminating(old)) replaced.push(old);
      } else surging++;
      continue;
    }
    if ((!fresh && !old) || (fresh && old)) unavailable++;
    else if (fresh) unavailable += available(fresh) ? 0 : 1;
    else if (old && !available(old)) {
      unavailable++;
      if (!isTerminating(old)) broken.push(old);
    } else if (old) healthy.push(old);
  }
  if (maxSurge > 0) {
    const room = Math.max(0, maxSurge - surging - createNow.length);
    return { create: [...createNow, ...createLater.slice(0, room)], remove: replaced };
  }
  return { create: [], remove: [...broken, ...healthy.slice(0, Math.max(0, maxUnavailable - unavailable))] };
}

/** Counts over nodes, as `kubectl rollout status` reads them, and when a pod will become available. */
export function daemonStatus(
  set: DaemonSetView,
  nodes: readonly NodeView[],
  pods: readonly PodView[],
  hash: string,
  nowMs: number,
): { readonly status: DaemonSetStatus; readonly availableInMs: number | undefined } {
  const byNode = podsByNode(pods);
  const minReady = set.spec?.minReadySeconds ?? 0;
  const counts = { desired: 0, current: 0, misplaced: 0, ready: 0, available: 0, updated: 0 };
  const waits: number[] = [];
  for (const node of nodes) {
    const here = byNode.get(node.metadata.name ?? "") ?? [];
    if (!placement(set, node).run) {
      if (here.length > 0) counts.misplaced++;
      continue;
    }
    counts.desired++;
    if (here.length === 0) continue;
    counts.current++;
    // The oldest ready one stands for the node.
    const pod = [...here].sort(
      (a, b) => Number(isReady(b)) - Number(isReady(a)) || (created(a) < created(b) ? -1 : 1),
    )[0]!;
    if (pod.metadata.labels?.[revisionHashLabel] === hash) counts.updated++;
    if (!isReady(pod)) continue;
    counts.ready++;
    const waitMs = availableInMs(pod, minReady, nowMs);
    if (waitMs > 0) waits.push(waitMs);
    else counts.available++;
  }
  const { collisionCount, conditions } = set.status ?? {};
  return {
    status: {
      currentNumberScheduled: counts.current,
      desiredNumberScheduled: counts.desired,
      numberMisscheduled: counts.misplaced,
      numberReady: counts.ready,
      numberAvailable: counts.available,
      numberUnavailable: counts.desired - counts.available,
      updatedNumberScheduled: counts.updated,
      observedGeneration: set.metadata.generation ?? 0,
      ...(collisionCount === undefined ? {} : { collisionCount }),
      ...(conditions ? { conditions: structuredClone(conditions) as NonNullable<DaemonSetStatus["conditions"]> } : {}),
    },
    availableInMs: waits.length > 0 ? Math.min(...waits) : undefined,
  };
}
