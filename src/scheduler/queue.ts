import type { Clock, Timer } from "../machinery/clock.ts";
import { keyOf } from "../machinery/object.ts";
import type { ClusterChange } from "./framework.ts";
import type { PendingPod } from "./pending-pod.ts";

interface Waiting {
  pod: PendingPod;
  attempts: number;
  /** When it was first seen: the order within a priority. */
  readonly order: number;
  /** Changes upon which an attempt may succeed. */
  retryOn: ReadonlySet<ClusterChange>;
  /** Not before this time. */
  notBeforeMs: number;
  state: "active" | "backoff" | "unschedulable" | "gated" | "taken";
  /** A change of interest came while it was being tried. */
  changedMeanwhile: boolean;
}

const firstBackoffMs = 1_000;
const longestBackoffMs = 10_000;
/** Whatever nobody thought of: an unschedulable pod is tried again after this long (Kubernetes' own). */
const unschedulableFlushMs = 5 * 60_000;

/**
 * Pods that wait for a node: by priority, then by age. One that does not fit waits until something changes that its
 * rejecting plugins named, and at least its back-off.
 */
export class SchedulingQueue {
  readonly #pods = new Map<string, Waiting>();
  readonly #clock: Clock;
  #order = 0;
  #wake: (() => void) | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A pod that has to be scheduled appeared or changed. `gate`: why it may not be tried now. */
  set(pod: PendingPod, gate: string | undefined): void {
    const key = keyOf(pod);
    const known = this.#pods.get(key);
    if (!known) {
      this.#pods.set(key, {
        pod,
        attempts: 0,
        order: this.#order++,
        retryOn: new Set(),
        notBeforeMs: 0,
        state: gate === undefined ? "active" : "gated",
        changedMeanwhile: false,
      });
      this.#signal();
      return;
    }
    const specChanged =
      known.pod.metadata.generation !== pod.metadata.generation || known.pod.metadata.labels !== pod.metadata.labels;
    known.pod = pod;
    if (known.state === "gated" && gate === undefined) known.state = "active";
    else if (known.state === "unschedulable" && specChanged) this.#requeue(known);
    else if (known.state === "taken") known.changedMeanwhile ||= specChanged;
    this.#signal();
  }

  remove(key: string): void {
    this.#pods.delete(key);
  }

  get(key: string): PendingPod | undefined {
    return this.#pods.get(key)?.pod;
  }

  /** The next pod to try; waits for one. `undefined` once the queue is closed. */
  async take(): Promise<PendingPod | undefined> {
    for (;;) {
      if (this.#closed) return undefined;
      const nowMs = this.#clock.now();
      let best: Waiting | undefined;
      let nextMs = Number.POSITIVE_INFINITY;
      for (const waiting of this.#pods.values()) {
        if (waiting.state === "unschedulable" || waiting.state === "backoff") {
          const dueMs = waiting.state === "backoff" ? waiting.notBeforeMs : waiting.notBeforeMs + unschedulableFlushMs;
          if (dueMs > nowMs) {
            nextMs = Math.min(nextMs, dueMs);
            continue;
          }
          waiting.state = "active";
        }
        if (waiting.state !== "active") continue;
        if (!best || isBefore(waiting, best)) best = waiting;
      }
      if (best) {
        best.state = "taken";
        best.changedMeanwhile = false;
        best.attempts += 1;
        return best.pod;
      }
      await this.#wait(nextMs - nowMs);
    }
  }

  /** The attempt failed: the pod waits for one of these changes. */
  reject(key: string, retryOn: Iterable<ClusterChange>): void {
    const waiting = this.#pods.get(key);
    if (!waiting) return;
    const backoffMs = Math.min(longestBackoffMs, firstBackoffMs * 2 ** (waiting.attempts - 1));
    waiting.notBeforeMs = this.#clock.now() + backoffMs;
    waiting.retryOn = new Set(retryOn);
    waiting.state = waiting.changedMeanwhile ? "backoff" : "unschedulable";
    this.#signal();
  }

  /** The attempt broke (a write failed): tried again after the back-off. */
  retry(key: string): void {
    const waiting = this.#pods.get(key);
    if (!waiting) return;
    waiting.changedMeanwhile = true;
    this.reject(key, []);
  }

  /** Something changed in the cluster. */
  changed(change: ClusterChange): void {
    let moved = false;
    for (const waiting of this.#pods.values()) {
      if (waiting.state === "taken") waiting.changedMeanwhile = true;
      if (waiting.state !== "unschedulable" || !waiting.retryOn.has(change)) continue;
      this.#requeue(waiting);
      moved = true;
    }
    if (moved) this.#signal();
  }

  close(): void {
    this.#closed = true;
    this.#signal();
  }

  #requeue(waiting: Waiting): void {
    waiting.state = waiting.notBeforeMs > this.#clock.now() ? "backoff" : "active";
  }

  #signal(): void {
    this.#wake?.();
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#timer?.cancel();
        this.#wake = undefined;
        resolve();
      };
      if (Number.isFinite(delayMs)) this.#timer = this.#clock.after(Math.max(1, delayMs), () => this.#wake?.());
    });
  }
}

function isBefore(a: Waiting, b: Waiting): boolean {
  const priority = (b.pod.spec?.priority ?? 0) - (a.pod.spec?.priority ?? 0);
  return priority === 0 ? a.order < b.order : priority < 0;
}
