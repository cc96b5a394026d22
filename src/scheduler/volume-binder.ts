import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
} from "../api/generated/core-v1.ts";
import { boundByControllerAnnotation, isReservedFor, selectedNodeAnnotation } from "../api/volume/matching.ts";
import type { Client } from "../client/client.ts";
import type { Clock } from "../machinery/clock.ts";
import type { NodeState } from "./node-state.ts";
import type { PendingPod } from "./pending-pod.ts";
import { areBound, type VolumeDecision, type VolumeLookups, volumeDecision } from "./plugins/volume-binding.ts";

/** How long a pod waits for its volumes on the node that was chosen (Kubernetes' default). */
const bindTimeoutMs = 600_000;

export interface VolumeBinderOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly lookups: VolumeLookups;
  readonly signal: AbortSignal;
}

/** Has the claims of a pod that wait for its node bound before the pod is. */
export class VolumeBinder {
  readonly #options: VolumeBinderOptions;
  #waiters: (() => void)[] = [];

  constructor(options: VolumeBinderOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.changed(), { once: true });
  }

  /** A claim, a volume or a class changed: who waits for one looks again. */
  changed(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Resolves at once for pods without such claims. Rejects when the claims are not bound in time. */
  async bind(pod: PendingPod, node: NodeState): Promise<void> {
    const { lookups, clock, signal } = this.#options;
    if (!pod.spec?.volumes?.some((volume) => volume.persistentVolumeClaim || volume.ephemeral)) return;
    const decision = volumeDecision(pod, node, lookups);
    if (!decision) return;
    await this.#write(decision, node.name);
    const untilMs = clock.now() + bindTimeoutMs;
    const timer = clock.after(bindTimeoutMs, () => this.changed());
    try {
      while (!areBound(pod, lookups)) {
        if (signal.aborted) throw signal.reason;
        if (clock.now() >= untilMs) throw new Error("binding volumes: timed out waiting for the condition");
        await new Promise<void>((resolve) => this.#waiters.push(resolve));
      }
    } finally {
      timer.cancel();
    }
  }

  async #write({ reserve, provision }: VolumeDecision, node: string): Promise<void> {
    const { client } = this.#options;
    for (const { volume, claim } of reserve) {
      if (isReservedFor(volume, claim)) continue;
      const { name = "", namespace = "", uid = "", resourceVersion = "" } = claim.metadata;
      const next = structuredClone(volume) as PersistentVolume;
      const claimRef = { kind: "PersistentVolumeClaim", apiVersion: "v1", namespace, name, uid, resourceVersion };
      next.spec = { ...next.spec, claimRef };
      next.metadata.annotations = { ...next.metadata.annotations, [boundByControllerAnnotation]: "yes" };
      await client.update(persistentVolumes, next);
    }
    for (const claim of provision) {
      if (claim.metadata.annotations?.[selectedNodeAnnotation] === node) continue;
      const next = structuredClone(claim) as PersistentVolumeClaim;
      next.metadata.annotations = { ...next.metadata.annotations, [selectedNodeAnnotation]: node };
      await client.update(persistentVolumeClaims, next);
    }
  }
}
