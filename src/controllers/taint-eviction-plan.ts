import type { Taint, Toleration } from "../api/generated/core-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";

type TaintView = DeepReadonly<Taint>;
type TolerationView = DeepReadonly<Toleration>;

/** Does a toleration put up with a taint? (core/v1 helper ToleratesTaint) */
export function tolerates(toleration: TolerationView, taint: TaintView): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  if (toleration.operator === "Exists") return true;
  return (toleration.operator ?? "Equal") === "Equal" && (toleration.value ?? "") === (taint.value ?? "");
}

/**
 * When a pod on a node with these taints has to go, in milliseconds since the epoch: 0 at once, undefined never. Time
 * counts from when the taint was added, also over a restart of this controller; for a taint that does not say when, from
 * `seenMs`, when the pod was first found under it.
 */
export function evictAtMs(
  taints: readonly TaintView[],
  tolerations: readonly TolerationView[],
  seenMs: number,
): number | undefined {
  const noExecute = taints.filter(({ effect }) => effect === "NoExecute");
  let dueMs: number | undefined;
  for (const taint of noExecute) {
    const using = tolerations.filter((toleration) => tolerates(toleration, taint));
    if (using.length === 0) return 0;
    const seconds = using.flatMap(({ tolerationSeconds }) =>
      tolerationSeconds === undefined ? [] : [tolerationSeconds],
    );
    if (seconds.length === 0) continue;
    const shortest = Math.max(0, Math.min(...seconds.map(Number)));
    const sinceMs = taint.timeAdded ? Date.parse(taint.timeAdded) : seenMs;
    const atMs = sinceMs + shortest * 1000;
    dueMs = dueMs === undefined ? atMs : Math.min(dueMs, atMs);
  }
  return dueMs;
}
