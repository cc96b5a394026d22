import type { Clock } from "../../machinery/clock.ts";

/** Work that may start in one turn of the event loop; a longer burst is spread over the next turns. */
const budgetMs = 4;

/**
 * Spreads a burst of requests over several turns of the event loop, so that leases, probes and watches in between are
 * not held up by it.
 */
export class Turns {
  readonly #clock: Clock;
  #startedMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Is there time left in this turn? Otherwise wait for {@link next}. */
  get open(): boolean {
    const nowMs = this.#clock.now();
    if (this.#startedMs === undefined) {
      this.#startedMs = nowMs;
      setImmediate(() => {
        this.#startedMs = undefined;
      });
    }
    return nowMs - this.#startedMs < budgetMs;
  }

  /** Resolves in a turn that has time left, in order of arrival. */
  async next(): Promise<void> {
    do await new Promise((resolve) => setImmediate(resolve));
    while (!this.open);
  }
}
