import type { Clock } from "../../machinery/clock.ts";
import { UnavailableError } from "../store.ts";

export interface KeyTurnsOptions {
  /** How much runs at a time. */
  readonly atOnce: number;
  /** Work that waits fails with UnavailableError, without having begun, when none has succeeded for this long. */
  readonly patienceMs: number;
  /** And also while others succeed, when it has waited for so long. */
  readonly longestMs: number;
  /** The io clock. */
  readonly clock: Clock;
}

/** Runs work of one key in the order in which it came, of several keys at once, and only so much of it at a time. */
export class KeyTurns {
  readonly #options: KeyTurnsOptions;
  readonly #lastOfKey = new Map<string, Promise<void>>();
  readonly #queue: (() => void)[] = [];
  #running = 0;
  /** When work last succeeded: a store that is slow is not one that is away. */
  #succeededMs = 0;

  constructor(options: KeyTurnsOptions) {
    this.#options = options;
  }

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const sinceMs = this.#options.clock.now();
    const begin = () => this.#begin(work, sinceMs);
    const before = this.#lastOfKey.get(key);
    const result = before ? before.then(begin) : begin();
    const settled: Promise<void> = result.then(
      () => this.#leave(key, settled),
      () => this.#leave(key, settled),
    );
    this.#lastOfKey.set(key, settled);
    return result;
  }

  /** Resolves when nothing is left to run. */
  async drained(): Promise<void> {
    while (this.#lastOfKey.size > 0) await Promise.all(this.#lastOfKey.values());
  }

  #leave(key: string, settled: Promise<void>): void {
    if (this.#lastOfKey.get(key) === settled) this.#lastOfKey.delete(key);
  }

  async #begin<T>(work: () => Promise<T>, sinceMs: number): Promise<T> {
    if (this.#running >= this.#options.atOnce) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#running++;
    try {
      this.#assertPatient(sinceMs);
      const result = await work();
      this.#succeededMs = this.#options.clock.now();
      return result;
    } finally {
      // The place is handed on.
      const next = this.#queue.shift();
      if (next) next();
      else this.#running--;
    }
  }

  #assertPatient(sinceMs: number): void {
    const { clock, patienceMs, longestMs } = this.#options;
    const nowMs = clock.now();
    if (nowMs > Math.max(sinceMs, this.#succeededMs) + patienceMs)
      throw new UnavailableError(`etcd is not available: nothing was written in ${patienceMs} ms of waiting`);
    if (nowMs > sinceMs + longestMs)
      throw new UnavailableError(`etcd is behind: the turn of a write did not come in ${longestMs} ms`);
  }
}
