import type { Clock, Timer } from "../../machinery/clock.ts";

export interface WorkLoopOptions {
  /**
   * Does what can be done now. Returns when to come back though nothing happens (milliseconds since the epoch; Infinity:
   * never). `signal` aborts when something more urgent has come up; a rejection after that is no failure.
   */
  step(signal: AbortSignal): Promise<number>;
  /** A step failed; it is tried again after the wait. */
  onFailure(error: Error, retryInMs: number): void;
  readonly clock: Clock;
}

const firstRetryMs = 500;
const largestRetryMs = 120_000;

/** Runs one step at a time: when woken, when due, and after a failure with growing waits. */
export class WorkLoop {
  readonly #options: WorkLoopOptions;
  #interrupt = new AbortController();
  #stopped = false;
  #dirty = false;
  #wake: (() => void) | undefined;
  #failures = 0;

  constructor(options: WorkLoopOptions) {
    this.#options = options;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Runs until {@link stop}. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      this.#dirty = false;
      const nextAtMs = await this.#step();
      if (!this.#stopped && !this.#dirty) await this.#idle(nextAtMs);
    }
  }

  /** Asks for a step soon; one that runs is followed by another. */
  wake(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  /** Breaks off what the running step waits for, and asks for another. */
  interrupt(): void {
    this.#interrupt.abort();
    this.#interrupt = new AbortController();
    this.wake();
  }

  /** No step begins any more; what the running one waits for is broken off. */
  stop(): void {
    this.#stopped = true;
    this.interrupt();
  }

  async #step(): Promise<number> {
    const { step, onFailure, clock } = this.#options;
    const { signal } = this.#interrupt;
    try {
      const nextAtMs = await step(signal);
      this.#failures = 0;
      return nextAtMs;
    } catch (error) {
      // What was broken off makes room for something more urgent.
      if (this.#stopped || signal.aborted) return 0;
      const retryInMs = Math.min(largestRetryMs, firstRetryMs * 2 ** this.#failures++);
      onFailure(error as Error, retryInMs);
      return clock.now() + retryInMs;
    }
  }

  #idle(untilMs: number): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      this.#wake = () => {
        timer?.cancel();
        this.#wake = undefined;
        resolve();
      };
      if (Number.isFinite(untilMs)) timer = clock.after(Math.max(1, untilMs - clock.now()), this.#wake);
    });
  }
}
