import type { ObservedContainer } from "./observed-pod.ts";

export const firstBackoffMs = 10_000;
const largestBackoffMs = 300_000;
/** A container that ran this long is taken for healthy: its next end starts from the shortest wait. */
const resetMs = 600_000;

interface Crash {
  readonly delayMs: number;
  /** The container whose wait was reported. */
  reportedFor?: string;
}

// One that the runtime could not start has an end and no start.
const ranLong = (last: ObservedContainer | undefined): boolean =>
  last !== undefined && last.startedAtMs > 0 && last.finishedAtMs - last.startedAtMs > resetMs;

/** How long the containers of one pod wait before each restart: 10 s, doubled each time, at most 5 min. */
export class CrashBackoff {
  readonly #crashes = new Map<string, Crash>();

  /** A container is started again (or could not be started): its next restart waits longer. */
  raise(name: string, last: ObservedContainer | undefined): void {
    const before = ranLong(last) ? undefined : this.#crashes.get(name);
    this.#crashes.set(name, { delayMs: before ? Math.min(largestBackoffMs, before.delayMs * 2) : firstBackoffMs });
  }

  /** What crashed under this name is another container now. */
  forget(name: string): void {
    this.#crashes.delete(name);
  }

  has(name: string): boolean {
    return this.#crashes.has(name);
  }

  /** When a container that ended at `finishedAtMs` may start again; 0: at once. */
  restartAtMs(name: string, finishedAtMs: number, last: ObservedContainer | undefined): number {
    const crash = this.#crashes.get(name);
    return !crash || ranLong(last) ? 0 : finishedAtMs + crash.delayMs;
  }

  /** The present wait of a container in words: "10s", "2m40s". */
  waitText(name: string): string {
    const delayMs = this.#crashes.get(name)?.delayMs ?? 0;
    return delayMs >= 60_000 ? `${Math.floor(delayMs / 60_000)}m${(delayMs % 60_000) / 1000}s` : `${delayMs / 1000}s`;
  }

  /** True once for each container that waits for its restart: its event is written once. */
  isNews(name: string, last: ObservedContainer | undefined): boolean {
    const crash = this.#crashes.get(name);
    if (!crash || !last || crash.reportedFor === last.id) return false;
    crash.reportedFor = last.id;
    return true;
  }
}
