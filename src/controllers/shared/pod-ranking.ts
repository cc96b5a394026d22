import { isReady, maxRestarts, type PodView, podCondition } from "./pod-facts.ts";

const phaseRank: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };

function deletionCost(pod: PodView): number {
  const text = pod.metadata.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? "0";
  return /^(0|-?[1-9]\d*)$/.test(text) ? Number(text) : 0;
}

/** Ages are compared by orders of magnitude, so that among pods of about the same age others than the newest go too. */
function ageBucket(sinceMs: number, nowMs: number): number {
  const ageMs = nowMs - sinceMs;
  return ageMs <= 0 ? 0 : Math.floor(Math.log2(ageMs));
}

const time = (text: string | undefined) => (text ? Date.parse(text) : 0);

/**
 * Orders pods by which one is given up first (sort.go's ActivePodsWithRanks): unassigned, pending, not ready, cheap by
 * annotation, many of its owner on the same node, ready for a short time, restarted often, young.
 */
export function rankForDeletion(pods: readonly PodView[], related: readonly PodView[], nowMs: number): PodView[] {
  const onNode = new Map<string, number>();
  for (const pod of related) {
    const node = pod.spec?.nodeName;
    if (node) onNode.set(node, (onNode.get(node) ?? 0) + 1);
  }
  const crowd = (pod: PodView) => onNode.get(pod.spec?.nodeName ?? "") ?? 0;
  const flag = (value: boolean) => (value ? 1 : 0);
  const compare = (a: PodView, b: PodView): number => {
    const byState =
      flag(!!a.spec?.nodeName) - flag(!!b.spec?.nodeName) ||
      (phaseRank[a.status?.phase ?? "Pending"] ?? 0) - (phaseRank[b.status?.phase ?? "Pending"] ?? 0) ||
      flag(isReady(a)) - flag(isReady(b)) ||
      deletionCost(a) - deletionCost(b) ||
      crowd(b) - crowd(a);
    if (byState !== 0) return byState;
    if (isReady(a) && isReady(b)) {
      const [readyA, readyB] = [a, b].map((pod) => time(podCondition(pod, "Ready")?.lastTransitionTime));
      const byReady = ageBucket(readyA!, nowMs) - ageBucket(readyB!, nowMs);
      if (byReady !== 0) return byReady;
    }
    const byRestarts = maxRestarts(b) - maxRestarts(a);
    if (byRestarts !== 0) return byRestarts;
    const [madeA, madeB] = [a, b].map((pod) => time(pod.metadata.creationTimestamp));
    const byAge = ageBucket(madeA!, nowMs) - ageBucket(madeB!, nowMs);
    if (byAge !== 0) return byAge;
    return (a.metadata.uid ?? "") < (b.metadata.uid ?? "") ? -1 : 1;
  };
  return [...pods].sort(compare);
}
