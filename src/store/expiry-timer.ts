import type { Clock, Timer } from "../machinery/clock.ts";

/** Expired keys are collected at most this often. */
const granularityMs = 1000;
/** After an attempt that failed. */
const retryMs = 60_000;

/** Wakes up when the next key expires. */
export class ExpiryTimer {
  readonly #clock: Clock;
  readonly #expire: () => Promise<number | undefined>;
  readonly #onError: (error: Error) => void;
  #timer: Timer | undefined;
  #atMs = Number.POSITIVE_INFINITY;
  #stopped = false;

  /**
   * @param options.clock the cluster's clock
   * @param options.expire deletes what is due and tells when the next key is, in milliseconds since the epoch
   */
  constructor(options: {
    clock: Clock;
    expire: () => Promise<number | undefined>;
    onError: (error: Error) => void;
  }) {
    this.#clock = options.clock;
    this.#expire = options.expire;
    this.#onError = options.onError;
  }

  /** Makes sure that it wakes up at that time, or before. */
  arm(atMs: number | undefined): void {
    if (atMs === undefined || atMs >= this.#atMs || this.#stopped) return;
    this.#timer?.cancel();
    this.#atMs = atMs;
    this.#timer = this.#clock.after(Math.max(granularityMs, atMs - this.#clock.now()), () => void this.#run());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #run(): Promise<void> {
    this.#atMs = Number.POSITIVE_INFINITY;
    try {
      this.arm(await this.#expire());
    } catch (error) {
      if (this.#stopped) return;
      this.#onError(error as Error);
      this.arm(this.#clock.now() + retryMs);
    }
  }
}
