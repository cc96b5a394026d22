import type { Clock } from "../machinery/clock.ts";
import { jittered } from "../machinery/jitter.ts";

/** Growing waits between attempts, each with up to half of itself added by chance so that clients spread out. */
export class Backoff {
  readonly #clock: Clock;
  readonly #firstMs: number;
  readonly #maxMs: number;
  #nextMs: number;

  constructor(options: { readonly clock: Clock; readonly firstMs: number; readonly maxMs: number }) {
    this.#clock = options.clock;
    this.#firstMs = options.firstMs;
    this.#maxMs = options.maxMs;
    this.#nextMs = options.firstMs;
  }

  /** The next wait starts from the beginning. */
  reset(): void {
    this.#nextMs = this.#firstMs;
  }

  /** Waits; rejects with the signal's reason when it aborts first. */
  wait(signal?: AbortSignal): Promise<void> {
    const delayMs = jittered(this.#nextMs, 0.5);
    this.#nextMs = Math.min(this.#maxMs, this.#nextMs * 2);
    return this.#clock.sleep(delayMs, signal);
  }
}
