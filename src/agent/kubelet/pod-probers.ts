import type { Pod } from "../../api/generated/core-v1.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Cri } from "../containerd/cri.ts";
import { ContainerProber, probeFailureText } from "./container-prober.ts";
import { latestContainer, type ObservedContainer, type ObservedPod } from "./observed-pod.ts";
import { type AnyContainer, allContainers, isSidecar } from "./pod-facts.ts";

export interface ProbedContainer {
  readonly container: AnyContainer;
  readonly observed: ObservedContainer;
}

/** The containers that are to be probed now: those with probes that run, sidecars included. */
export function probedContainers(pod: Pod, observed: ObservedPod): ProbedContainer[] {
  return allContainers(pod).flatMap(({ kind, container }) => {
    if (kind === "ephemeral" || (kind === "init" && !isSidecar(container))) return [];
    const latest = latestContainer(observed, container.name);
    const probed = container.startupProbe || container.livenessProbe || container.readinessProbe;
    return probed && latest?.state === "running" ? [{ container, observed: latest }] : [];
  });
}

interface PodProbersOptions {
  readonly cri: Cri;
  readonly clock: Clock;
  /** The readiness, start or health of a container changed. */
  onChange(): void;
  /** A probe failed; `text` is for its event. */
  onFailure(container: string, text: string): void;
}

/** The probers of a pod's running containers. */
export class PodProbers {
  readonly #options: PodProbersOptions;
  /** By container id. */
  readonly #probers = new Map<string, ContainerProber>();

  constructor(options: PodProbersOptions) {
    this.#options = options;
  }

  /** Starts probing what runs by now, and stops probing what does not. */
  follow(pod: Pod, observed: ObservedPod, podIp: string): void {
    const wanted = probedContainers(pod, observed);
    const ids = new Set(wanted.map((entry) => entry.observed.id));
    for (const id of this.#probers.keys()) if (!ids.has(id)) this.#drop(id);
    for (const entry of wanted) if (!this.#probers.has(entry.observed.id)) this.#add(pod, entry, podIp);
  }

  started(container: ObservedContainer): boolean {
    return this.#probers.get(container.id)?.started ?? true;
  }

  /** One that is not probed is ready, unless it has a readiness probe. */
  ready(pod: Pod, container: ObservedContainer): boolean {
    const prober = this.#probers.get(container.id);
    return prober ? prober.ready : !hasReadiness(pod, container.name);
  }

  unhealthy(container: ObservedContainer): ContainerProber["unhealthy"] {
    return this.#probers.get(container.id)?.unhealthy;
  }

  /** Probes a container no more; its last word stands until {@link follow}. */
  stop(id: string): void {
    this.#probers.get(id)?.stop();
  }

  stopAll(): void {
    for (const id of this.#probers.keys()) this.#drop(id);
  }

  #drop(id: string): void {
    this.#probers.get(id)?.stop();
    this.#probers.delete(id);
  }

  #add(pod: Pod, { container, observed }: ProbedContainer, podIp: string): void {
    const { cri, clock, onChange, onFailure } = this.#options;
    const all = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
    const before = all.find(({ containerID }) => containerID === `containerd://${observed.id}`);
    const prober = new ContainerProber({
      target: { containerId: observed.id, container, podIp },
      startedAtMs: observed.startedAtMs,
      before: before && { started: before.started === true, ready: before.ready },
      cri,
      clock,
      onChange,
      onFailure: (kind, output) => onFailure(container.name, probeFailureText(kind, output)),
    });
    this.#probers.set(observed.id, prober);
  }
}

function hasReadiness(pod: Pod, name: string): boolean {
  return allContainers(pod).some(({ container }) => container.name === name && container.readinessProbe !== undefined);
}
