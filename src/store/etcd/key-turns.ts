import type { Clock } from "../../machinery/clock.ts";
import { UnavailableError } from "../store.ts";

/** Runs work of one key in the order in which it came, of several keys at once, and only so much of it at a time. */
export class KeyTurns {
  readonly #atOnce: number;
  readonly #patienceMs: number;
  readonly #clock: Clock;
  readonly #lastOfKey = new Map<string, Promise<void>>();
  readonly #queue: (() => void)[] = [];
  #running = 0;

  /** @param patienceMs work that could not begin for this long fails with UnavailableError, without having begun */
  constructor({ atOnce, patienceMs, clock }: { atOnce: number; patienceMs: number; clock: Clock }) {
    this.#atOnce = atOnce;
    this.#patienceMs = patienceMs;
    this.#clock = clock;
  }

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const latestMs = this.#clock.now() + this.#patienceMs;
    const begin = () => this.#begin(work, latestMs);
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

  async #begin<T>(work: () => Promise<T>, latestMs: number): Promise<T> {
    if (this.#running >= this.#atOnce) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#running++;
    try {
      if (this.#clock.now() > latestMs)
        throw new UnavailableError(`etcd is not available: nothing was written in ${this.#patienceMs} ms of waiting`);
      return await work();
    } finally {
      // The place is handed on.
      const next = this.#queue.shift();
      if (next) next();
      else this.#running--;
    }
  }
}
