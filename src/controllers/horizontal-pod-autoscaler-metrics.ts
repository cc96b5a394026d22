import { parseQuantity } from "../machinery/quantity.ts";
import { isReady, type PodView, podCondition } from "./shared/pod-facts.ts";

/** How long after a pod's start its use of cpu says little, milliseconds. */
const cpuInitializationMs = 300_000;
/** How long after its start a pod that never was ready counts as starting, milliseconds. */
const initialReadinessMs = 30_000;

/** What one pod uses, in thousandths, over `windowMs` up to `atMs`. */
export interface PodUse {
  readonly milli: number;
  readonly atMs: number;
  readonly windowMs: number;
}

export interface Tolerances {
  readonly up: number;
  readonly down: number;
}

/** A proposed number of replicas, and what it was found from. */
export interface Proposal {
  readonly replicas: number;
  /** Average use of a pod in thousandths. */
  readonly averageMilli: number;
  /** Percent of what is requested. */
  readonly utilization?: number;
}

/** What is aimed at: a share of the requests in percent, or a use of each pod in thousandths. */
export type Aim = { readonly utilization: number } | { readonly averageMilli: number };

interface Groups {
  ready: number;
  readonly unready: Set<string>;
  readonly missing: Set<string>;
  readonly ignored: Set<string>;
}

const nameOf = ({ metadata }: PodView) => metadata.name ?? "";

function groupPods(
  pods: readonly PodView[],
  uses: ReadonlyMap<string, PodUse>,
  resource: string,
  nowMs: number,
): Groups {
  const groups: Groups = { ready: 0, unready: new Set(), missing: new Set(), ignored: new Set() };
  for (const pod of pods) {
    const name = nameOf(pod);
    const use = uses.get(name);
    if (pod.metadata.deletionTimestamp || pod.status?.phase === "Failed") groups.ignored.add(name);
    else if (pod.status?.phase === "Pending") groups.unready.add(name);
    else if (!use) groups.missing.add(name);
    else if (resource === "cpu" && isStarting(pod, use, nowMs)) groups.unready.add(name);
    else groups.ready++;
  }
  return groups;
}

function isStarting(pod: PodView, use: PodUse, nowMs: number): boolean {
  const condition = podCondition(pod, "Ready");
  if (!condition || !pod.status?.startTime) return true;
  const startMs = Date.parse(pod.status.startTime);
  const sinceMs = Date.parse(condition.lastTransitionTime ?? pod.status.startTime);
  if (startMs + cpuInitializationMs > nowMs) {
    return condition.status === "False" || use.atMs < sinceMs + use.windowMs;
  }
  return condition.status === "False" && startMs + initialReadinessMs > sinceMs;
}

/** Thousandths of a resource that each pod requests. Throws an Error naming what requests none. */
function requestsOf(pods: readonly PodView[], resource: string, container: string | undefined): Map<string, number> {
  const requests = new Map<string, number>();
  for (const pod of pods) {
    const name = nameOf(pod);
    const whole = pod.spec?.resources?.requests;
    if (container === undefined && whole && Object.keys(whole).length > 0) {
      const text = whole[resource];
      if (text === undefined) throw new Error(`missing pod-level request for ${resource} in Pod ${name}`);
      requests.set(name, parseQuantity(text).toMilli());
      continue;
    }
    const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always");
    const all = [...(pod.spec?.containers ?? []), ...sidecars];
    const counted = container === undefined ? all : all.filter((one) => one.name === container);
    if (container !== undefined && counted.length === 0)
      throw new Error(`container ${container} not found in Pod ${name}`);
    let sum = 0;
    for (const one of counted) {
      const text = one.resources?.requests?.[resource];
      if (text === undefined)
        throw new Error(`missing request for ${resource} in container ${one.name} of Pod ${name}`);
      sum += parseQuantity(text).toMilli();
    }
    requests.set(name, sum);
  }
  return requests;
}

/**
 * How many replicas would bring the pods' use to what is aimed at. Pods that are starting or say nothing are counted so
 * that they never cause a change in the direction that their true use might speak against.
 * Throws an Error that says why no number can be found.
 */
export function proposeReplicas(
  current: number,
  pods: readonly PodView[],
  uses: ReadonlyMap<string, PodUse>,
  options: {
    readonly resource: string;
    readonly container?: string | undefined;
    readonly aim: Aim;
    readonly tolerances: Tolerances;
    readonly nowMs: number;
  },
): Proposal {
  const { resource, container, aim, tolerances, nowMs } = options;
  if (pods.length === 0) throw new Error("no pods returned by selector while calculating replica count");
  const { ready, unready, missing, ignored } = groupPods(pods, uses, resource, nowMs);
  const milli = new Map<string, number>();
  for (const [name, use] of uses) if (!ignored.has(name) && !unready.has(name)) milli.set(name, use.milli);
  if (milli.size === 0) throw new Error("did not receive metrics for targeted pods (pods might be unready)");
  const requests = "utilization" in aim ? requestsOf(pods, resource, container) : undefined;

  const ratioOf = (): { ratio: number; averageMilli: number; utilization?: number } => {
    if (!requests) {
      const average = Math.trunc([...milli.values()].reduce((sum, value) => sum + value, 0) / milli.size);
      return { ratio: average / (aim as { averageMilli: number }).averageMilli, averageMilli: average };
    }
    let [used, requested, count] = [0, 0, 0];
    for (const [name, value] of milli) {
      const request = requests.get(name);
      if (request === undefined) continue;
      used += value;
      requested += request;
      count++;
    }
    if (requested === 0) throw new Error("no metrics returned matched known pods");
    const utilization = Math.trunc((used * 100) / requested);
    const target = (aim as { utilization: number }).utilization;
    return { ratio: utilization / target, averageMilli: Math.trunc(used / count), utilization };
  };
  const { ratio, ...found } = ratioOf();
  const isWithin = (value: number) => value >= 1 - tolerances.down && value <= 1 + tolerances.up;
  const growWithUnready = unready.size > 0 && ratio > 1;
  if (!growWithUnready && missing.size === 0) {
    return { replicas: isWithin(ratio) ? current : Math.ceil(ratio * ready), ...found };
  }
  // Those that say nothing are taken to use what they are aimed at when shrinking, and nothing when growing.
  for (const name of missing) {
    if (ratio > 1) milli.set(name, 0);
    else if (ratio < 1) {
      const fallback = requests
        ? Math.trunc(((requests.get(name) ?? 0) * Math.max(100, (aim as { utilization: number }).utilization)) / 100)
        : (aim as { averageMilli: number }).averageMilli;
      milli.set(name, fallback);
    }
  }
  if (growWithUnready) for (const name of unready) milli.set(name, 0);
  const { ratio: careful } = ratioOf();
  const turned = (ratio < 1 && careful > 1) || (ratio > 1 && careful < 1);
  if (isWithin(careful) || turned) return { replicas: current, ...found };
  const replicas = Math.ceil(careful * milli.size);
  const contradicts = (careful < 1 && replicas > current) || (careful > 1 && replicas < current);
  return { replicas: contradicts ? current : replicas, ...found };
}

/** Pods that run and are ready. */
export function readyPods(pods: readonly PodView[]): number {
  return pods.filter((pod) => pod.status?.phase === "Running" && isReady(pod)).length;
}
