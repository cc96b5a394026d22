import type { Clock, Timer } from "../machinery/clock.ts";

export interface WorkQueueOptions {
  readonly clock: Clock;
  /** First delay of `addRateLimited`; doubles with each call until `forget`. Default 5 ms. */
  readonly baseDelayMs?: number;
  /** Longest delay of `addRateLimited`. Default 1,000 s. */
  readonly maxDelayMs?: number;
}

interface Waiting {
  readonly atMs: number;
  readonly timer: Timer;
}

/**
 * A queue of keys as client-go's: a key waits at most once, is worked on by one worker at a time, and when it is added
 * while it is worked on, it comes back after `done`. Waiting costs no timer: workers sleep on a promise.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #baseDelayMs: number;
  readonly #maxDelayMs: number;
  /** Keys in order of arrival; a Set keeps insertion order and gives cheap removal. */
  readonly #ready = new Set<string>();
  readonly #processing = new Set<string>();
  /** Added again while being processed. */
  readonly #dirty = new Set<string>();
  readonly #delayed = new Map<string, Waiting>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #closed = false;

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#baseDelayMs = options.baseDelayMs ?? 5;
    this.#maxDelayMs = options.maxDelayMs ?? 1_000_000;
  }

  /** Keys that wait to be taken now (not the delayed ones). */
  get length(): number {
    return this.#ready.size;
  }

  /** True while nothing waits and nobody works; delayed keys do not count. */
  get idle(): boolean {
    return this.#ready.size === 0 && this.#processing.size === 0;
  }

  /** Queues a key now, unless it waits already. */
  add(key: string): void {
    if (this.#closed) return;
    if (this.#processing.has(key)) {
      this.#dirty.add(key);
      return;
    }
    if (this.#ready.has(key)) return;
    const taker = this.#takers.shift();
    if (taker) {
      this.#processing.add(key);
      taker(key);
    } else {
      this.#ready.add(key);
    }
  }

  /** Queues a key after `delayMs`; of several delays of one key the earliest counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const atMs = this.#clock.now() + delayMs;
    const waiting = this.#delayed.get(key);
    if (waiting) {
      if (waiting.atMs <= atMs) return;
      waiting.timer.cancel();
    }
    const timer = this.#clock.after(delayMs, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { atMs, timer });
  }

  /** Queues a key after its back-off: base · 2^(calls since `forget`), at most the maximum. */
  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.addAfter(key, Math.min(this.#maxDelayMs, this.#baseDelayMs * 2 ** Math.min(failures, 60)));
  }

  /** Ends the back-off of a key. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** How often a key was added with back-off since it was last forgotten. */
  retries(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The next key, to be given back with `done`; `undefined` once the queue is closed. */
  take(): Promise<string | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    for (const key of this.#ready) {
      this.#ready.delete(key);
      this.#processing.add(key);
      return Promise.resolve(key);
    }
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  /** Says that the work on a key is over. */
  done(key: string): void {
    this.#processing.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
  }

  /** Wakes all takers with `undefined` and drops what waits. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    this.#ready.clear();
    this.#dirty.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }
}
