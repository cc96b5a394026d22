import type { Job, PodFailurePolicyRule } from "../api/generated/batch-v1.ts";
import type { Pod } from "../api/generated/core-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { isTerminating, type PodView } from "./shared/pod-facts.ts";

export type JobView = DeepReadonly<Job>;

export const trackingFinalizer = "batch.kubernetes.io/job-tracking";
export const completionIndexKey = "batch.kubernetes.io/job-completion-index";

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

export function hasTracking(pod: PodView): boolean {
  return pod.metadata.finalizers?.includes(trackingFinalizer) ?? false;
}

export function completionIndex(pod: PodView): number | undefined {
  const text = pod.metadata.annotations?.[completionIndexKey];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
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

/** When a pod ended, in milliseconds since the epoch; its deletion or creation when its containers do not tell. */
export function finishedMs(pod: PodView): number {
  const times = (pod.status?.containerStatuses ?? []).map(({ state }) =>
    Date.parse(state?.terminated?.finishedAt ?? ""),
  );
  const known = times.filter((time) => !Number.isNaN(time));
  if (known.length > 0) return Math.max(...known);
  return Date.parse(pod.metadata.deletionTimestamp ?? pod.metadata.creationTimestamp ?? "") || 0;
}

/** What the job's failure policy says about a failed pod. */
export interface FailureVerdict {
  readonly action: "FailJob" | "Ignore" | "Count";
  readonly message: string;
}

/** The first rule that matches decides; without one a failure counts. */
export function failureVerdict(job: JobView, pod: PodView): FailureVerdict {
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  for (const [index, rule] of (job.spec?.podFailurePolicy?.rules ?? []).entries()) {
    const match = matchRule(rule as PodFailurePolicyRule, pod as Pod, name);
    if (match === undefined) continue;
    const message = `${match} matching ${rule.action} rule at index ${index}`;
    return { action: rule.action as FailureVerdict["action"], message };
  }
  return { action: "Count", message: "" };
}

function matchRule({ onExitCodes, onPodConditions }: PodFailurePolicyRule, pod: Pod, name: string): string | undefined {
  if (onExitCodes) {
    for (const status of [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]) {
      const code = status.state?.terminated?.exitCode;
      if (code === undefined || code === 0) continue;
      if (onExitCodes.containerName && onExitCodes.containerName !== status.name) continue;
      const listed = onExitCodes.values.includes(code);
      if (onExitCodes.operator === "In" ? listed : !listed) {
        return `Container ${status.name} for pod ${name} failed with exit code ${code}`;
      }
    }
    return undefined;
  }
  for (const wanted of onPodConditions ?? []) {
    const has = pod.status?.conditions?.some(
      ({ type, status }) => type === wanted.type && status === (wanted.status ?? "True"),
    );
    if (has) return `Pod ${name} has condition ${wanted.type}`;
  }
  return undefined;
}
