import type { HorizontalPodAutoscaler, HPAScalingRules } from "../api/generated/autoscaling-v2.ts";
import type { DeepReadonly } from "../machinery/object.ts";

export type AutoscalerView = DeepReadonly<HorizontalPodAutoscaler>;
type Rules = DeepReadonly<HPAScalingRules>;

/** How far back scaling down looks when nobody says otherwise, milliseconds. */
const downStabilizationMs = 300_000;

/** What an autoscaler remembers between its looks; it is lost with the process, as in Kubernetes. */
export interface Memory {
  recommendations: { readonly replicas: number; readonly atMs: number }[];
  ups: { readonly change: number; readonly atMs: number }[];
  downs: { readonly change: number; readonly atMs: number }[];
}

export interface Verdict {
  readonly replicas: number;
  readonly able: { readonly reason: string; readonly message: string };
  readonly limited: { readonly is: boolean; readonly reason: string; readonly message: string };
}

interface Limit {
  readonly replicas: number;
  readonly reason: string;
  readonly message: string;
}

const within = { reason: "DesiredWithinRange", message: "the desired count is within the acceptable range" };
const tooMany = {
  reason: "TooManyReplicas",
  message: "the desired replica count is more than the maximum replica count",
};
const tooFew = {
  reason: "TooFewReplicas",
  message: "the desired replica count is less than the minimum replica count",
};
const upTooFast = {
  reason: "ScaleUpLimit",
  message: "the desired replica count is increasing faster than the maximum scale rate",
};
const downTooFast = {
  reason: "ScaleDownLimit",
  message: "the desired replica count is decreasing faster than the maximum scale rate",
};

/** What of a wish for `desired` replicas is done now; notes the wish. */
export function normalize(
  { spec }: AutoscalerView,
  memory: Memory,
  current: number,
  desired: number,
  nowMs: number,
): Verdict {
  const minimum = spec?.minReplicas ?? 1;
  const maximum = spec?.maxReplicas ?? 1;
  const up = spec?.behavior?.scaleUp;
  const down = spec?.behavior?.scaleDown;
  const withBehavior = spec?.behavior !== undefined;
  const upMs = (up?.stabilizationWindowSeconds ?? 0) * 1000;
  const downMs =
    down?.stabilizationWindowSeconds === undefined ? downStabilizationMs : down.stabilizationWindowSeconds * 1000;
  const wanted = withBehavior
    ? stabilizeBoth(memory, current, desired, upMs, downMs, nowMs)
    : Math.max(
        desired,
        ...memory.recommendations.filter(({ atMs }) => atMs >= nowMs - downMs).map(({ replicas }) => replicas),
      );
  const keepMs = withBehavior ? Math.max(upMs, downMs) : downMs;
  memory.recommendations = memory.recommendations.filter(({ atMs }) => atMs >= nowMs - keepMs);
  memory.recommendations.push({ replicas: desired, atMs: nowMs });
  const able =
    wanted === desired
      ? { reason: "ReadyForNewScale", message: "recommended size matches current size" }
      : withBehavior && desired >= current
        ? {
            reason: "ScaleUpStabilized",
            message: "recent recommendations were lower than current one, applying the lowest recent recommendation",
          }
        : {
            reason: "ScaleDownStabilized",
            message: "recent recommendations were higher than current one, applying the highest recent recommendation",
          };
  const limit = withBehavior
    ? limitByRules(memory, { current, wanted, minimum, maximum, up, down }, nowMs)
    : limitPlainly(current, wanted, minimum, maximum);
  const { replicas, reason, message } = limit;
  return { replicas, able, limited: { is: replicas !== wanted, reason, message } };
}

/** The lowest recent wish holds back growth, the highest recent one holds back shrinking. */
function stabilizeBoth(
  memory: Memory,
  current: number,
  desired: number,
  upMs: number,
  downMs: number,
  nowMs: number,
): number {
  let [lowest, highest] = [desired, desired];
  for (const { replicas, atMs } of memory.recommendations) {
    if (atMs > nowMs - upMs) lowest = Math.min(lowest, replicas);
    if (atMs > nowMs - downMs) highest = Math.max(highest, replicas);
  }
  return Math.min(Math.max(current, lowest), highest);
}

function limitPlainly(current: number, wanted: number, minimum: number, maximum: number): Limit {
  // At most twice as many at once, and four at any time.
  const fastest = Math.max(2 * current, 4);
  if (wanted < minimum) return { replicas: minimum, ...tooFew };
  if (wanted <= Math.min(maximum, fastest)) return { replicas: wanted, ...within };
  return maximum > fastest ? { replicas: fastest, ...upTooFast } : { replicas: maximum, ...tooMany };
}

function limitByRules(
  memory: Memory,
  wish: {
    readonly current: number;
    readonly wanted: number;
    readonly minimum: number;
    readonly maximum: number;
    readonly up: Rules | undefined;
    readonly down: Rules | undefined;
  },
  nowMs: number,
): Limit {
  const { current, wanted, minimum, maximum } = wish;
  if (wanted > current) {
    const fastest = Math.max(current, rateLimit(memory, current, wish.up, 1, nowMs));
    const most = Math.min(maximum, fastest);
    if (wanted > most) return { replicas: most, ...(maximum > fastest ? upTooFast : tooMany) };
  } else if (wanted < current) {
    const fastest = Math.min(current, rateLimit(memory, current, wish.down, -1, nowMs));
    const least = Math.max(minimum, fastest);
    if (wanted < least) return { replicas: least, ...(minimum < fastest ? downTooFast : tooFew) };
  }
  return { replicas: wanted, ...within };
}

/** How far the policies let the number go in one direction now. */
function rateLimit(
  memory: Memory,
  current: number,
  rules: Rules | undefined,
  direction: 1 | -1,
  nowMs: number,
): number {
  if (!rules || rules.selectPolicy === "Disabled")
    return rules ? current : current + direction * Number.MAX_SAFE_INTEGER;
  const proposals = (rules.policies ?? []).map(({ type, value, periodSeconds }) => {
    const since = nowMs - periodSeconds * 1000;
    const sum = (list: Memory["ups"]) =>
      list.filter(({ atMs }) => atMs > since).reduce((total, { change }) => total + change, 0);
    const start = current - sum(memory.ups) + sum(memory.downs);
    if (type === "Pods") return start + direction * value;
    const share = start * (1 + (direction * value) / 100);
    return direction > 0 ? Math.ceil(share) : Math.trunc(share);
  });
  // "Max" and "Min" are about how much changes.
  const farthest = rules.selectPolicy !== "Min";
  return farthest === direction > 0 ? Math.max(...proposals) : Math.min(...proposals);
}

/** Notes a change of the number of replicas, for the policies. */
export function noteScaling({ spec }: AutoscalerView, memory: Memory, from: number, to: number, nowMs: number): void {
  if (!spec?.behavior) return;
  const longestMs = (rules: Rules | undefined) =>
    Math.max(0, ...(rules?.policies ?? []).map(({ periodSeconds }) => periodSeconds * 1000));
  memory.ups = memory.ups.filter(({ atMs }) => atMs >= nowMs - longestMs(spec.behavior?.scaleUp));
  memory.downs = memory.downs.filter(({ atMs }) => atMs >= nowMs - longestMs(spec.behavior?.scaleDown));
  if (to > from) memory.ups.push({ change: to - from, atMs: nowMs });
  else memory.downs.push({ change: from - to, atMs: nowMs });
}
