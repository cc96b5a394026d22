import type { Pod } from "../../api/generated/core-v1.ts";
import type { ObservedContainer, ObservedPod } from "./observed-pod.ts";
import { type AnyContainer, allContainers, isSidecar } from "./pod-facts.ts";

/** Least time that a container gets after its preStop hook, or after the containers that end before it. */
const leastGraceSeconds = 2;

/** A container that has to end, with its spec if the pod still has one for it. */
export interface Killing {
  readonly observed: ObservedContainer;
  readonly container: AnyContainer | undefined;
}

export interface Ending {
  /** These end at the same time. */
  readonly together: readonly Killing[];
  /** Sidecars: they serve the others to the end, and end one by one in the reverse of the order of their start. */
  readonly inTurn: readonly Killing[];
}

/** In which order what still runs of a pod has to end. */
export function endingOf(pod: Pod, observed: ObservedPod): Ending {
  const specs = new Map(allContainers(pod).map((entry) => [entry.container.name, entry]));
  const together: Killing[] = [];
  const sidecars: Killing[] = [];
  for (const container of observed.containers) {
    if (container.state !== "running" && container.state !== "unknown") continue;
    const spec = specs.get(container.name);
    const list = spec?.kind === "init" && isSidecar(spec.container) ? sidecars : together;
    list.push({ observed: container, container: spec?.container });
  }
  const order = (pod.spec!.initContainers ?? []).map(({ name }) => name);
  const place = ({ observed }: Killing) => order.indexOf(observed.name);
  return { together, inTurn: sidecars.sort((a, b) => place(b) - place(a)) };
}

/** The seconds that the containers of a pod have between the request to end and the kill; at least 1. */
export function graceSecondsOf(pod: Pod): number {
  return Math.max(1, pod.metadata.deletionGracePeriodSeconds ?? pod.spec!.terminationGracePeriodSeconds ?? 30);
}

/** What is left of a container's grace after something took `tookMs` of it. */
export function graceLeftSeconds(graceSeconds: number, tookMs: number): number {
  return Math.max(leastGraceSeconds, Math.ceil(graceSeconds - tookMs / 1000));
}

/** When a pod has been active for as long as it may; Infinity without a deadline, or before it has started. */
export function deadlineMsOf(pod: Pod): number {
  const startedMs = Date.parse(pod.status?.startTime ?? "");
  const seconds = pod.spec!.activeDeadlineSeconds;
  return seconds && Number.isFinite(startedMs) ? startedMs + seconds * 1000 : Number.POSITIVE_INFINITY;
}
