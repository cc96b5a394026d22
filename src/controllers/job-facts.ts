import type { Job, PodFailurePolicyRule } from "../api/generated/batch-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { isTerminating, type PodView, podCondition } from "./shared/pod-facts.ts";

export type JobView = DeepReadonly<Job>;

export const trackingFinalizer = "batch.kubernetes.io/job-tracking";
export const completionIndexKey = "batch.kubernetes.io/job-completion-index";
/** Failures of its index before this pod, as annotations on pods of Jobs with a limit for each index. */
export const indexFailureCountKey = "batch.kubernetes.io/job-index-failure-count";
export const indexIgnoredFailureCountKey = "batch.kubernetes.io/job-index-ignored-failure-count";

export function jobCondition(job: JobView, type: string) {
  return job.status?.conditions?.find((condition) => condition.type === type && condition.status === "True");
}

/** Complete or Failed: nothing more will happen. */
export function isFinished(job: JobView): boolean {
  return jobCondition(job, "Complete") !== undefined || jobCondition(job, "Failed") !== undefined;
}

export function isIndexed(job: JobView): boolean {
  return job.spec?.completionMode === "Indexed";
}

/** Does another controller care for this job? */
export function isManagedElsewhere(job: JobView): boolean {
  return job.spec?.managedBy !== undefined && job.spec.managedBy !== "kubernetes.io/job-controller";
}

export function hasTracking(pod: PodView): boolean {
  return pod.metadata.finalizers?.includes(trackingFinalizer) ?? false;
}

/** The completion index of a pod, if it is one of the job. */
export function completionIndex(pod: PodView): number | undefined {
  const text = pod.metadata.annotations?.[completionIndexKey];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Is a pod one that counts: of an indexed job only those with an index below the number of completions do. */
export function hasValidIndex(job: JobView, pod: PodView): boolean {
  return !isIndexed(job) || (completionIndex(pod) ?? Number.POSITIVE_INFINITY) < (job.spec?.completions ?? 0);
}

/** Are pods replaced only once they have failed for good, or also while they are still going? */
export function replacesOnlyFailed(job: JobView): boolean {
  return job.spec?.podReplacementPolicy === "Failed" || job.spec?.podFailurePolicy !== undefined;
}

export function hasSucceeded(pod: PodView): boolean {
  return pod.status?.phase === "Succeeded";
}

/** A pod that is deleted before its end may never say how it ended: that counts as a failure. */
export function hasFailed(job: JobView, pod: PodView): boolean {
  if (pod.status?.phase === "Failed") return true;
  return !replacesOnlyFailed(job) && isTerminating(pod) && !hasSucceeded(pod);
}

/** How often the index of a pod failed before it, without and with failures that the policy ignores. */
export function indexFailures({ metadata }: PodView): { readonly counted: number; readonly all: number } {
  const read = (key: string) => {
    const text = metadata.annotations?.[key] ?? "";
    return /^\d+$/.test(text) ? Number(text) : 0;
  };
  const counted = read(indexFailureCountKey);
  return { counted, all: counted + read(indexIgnoredFailureCountKey) };
}

/**
 * When a pod ended, in milliseconds since the epoch: as its containers tell, or when it stopped being ready, or when its
 * deletion began.
 */
export function finishedMs(pod: PodView): number {
  const sidecars = new Set(
    (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always").map(({ name }) => name),
  );
  const statuses = [
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.initContainerStatuses ?? []).filter(({ name }) => sidecars.has(name)),
  ];
  const times = statuses.map(({ state }) => Date.parse(state?.terminated?.finishedAt ?? ""));
  if (times.length > 0 && !times.some(Number.isNaN)) return Math.max(...times);
  const ready = podCondition(pod, "Ready");
  if (ready?.status === "False" && ready.lastTransitionTime) return Date.parse(ready.lastTransitionTime);
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, creationTimestamp } = pod.metadata;
  if (deletionTimestamp) return Date.parse(deletionTimestamp) - deletionGracePeriodSeconds * 1000;
  return Date.parse(creationTimestamp ?? "") || 0;
}

/** What the job's failure policy says about a failed pod. */
export interface FailureVerdict {
  readonly action: "FailJob" | "FailIndex" | "Ignore" | "Count";
  readonly message: string;
}

/** The first rule that matches decides; without one a failure counts. */
export function failureVerdict(job: JobView, pod: PodView): FailureVerdict {
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  for (const [index, rule] of (job.spec?.podFailurePolicy?.rules ?? []).entries()) {
    const match = matchRule(rule, pod, name);
    if (match === undefined) continue;
    const message = `${match} matching ${rule.action} rule at index ${index}`;
    return { action: rule.action as FailureVerdict["action"], message };
  }
  return { action: "Count", message: "" };
}

function matchRule(
  { onExitCodes, onPodConditions }: DeepReadonly<PodFailurePolicyRule>,
  { status }: PodView,
  name: string,
): string | undefined {
  if (onExitCodes) {
    for (const one of [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])]) {
      const code = one.state?.terminated?.exitCode;
      if (code === undefined || code === 0) continue;
      if (onExitCodes.containerName && onExitCodes.containerName !== one.name) continue;
      const listed = onExitCodes.values.includes(code);
      if (onExitCodes.operator === "In" ? listed : !listed) {
        return `Container ${one.name} for pod ${name} failed with exit code ${code}`;
      }
    }
    return undefined;
  }
  for (const wanted of onPodConditions ?? []) {
    const has = status?.conditions?.some(
      (condition) => condition.type === wanted.type && condition.status === (wanted.status ?? "True"),
    );
    if (has) return `Pod ${name} has condition ${wanted.type}`;
  }
  return undefined;
}
