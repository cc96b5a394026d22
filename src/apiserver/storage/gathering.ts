import type { Clock } from "../../machinery/clock.ts";

/** Holds writes back so that those of one moment reach the store in one turn, which commits them in one transaction. */
export class Gathering {
  readonly #clock: Clock;
  readonly #windows = new Map<string, Promise<void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Resolves, for all who wait under one name, at the end of the window that the first of them opened.
   * @param windowMs how long the first waits
   */
  wait(name: string, windowMs: number): Promise<void> {
    let window = this.#windows.get(name);
    if (!window) {
      window = new Promise((resolve) => {
        this.#clock.after(windowMs, () => {
          this.#windows.delete(name);
          resolve();
        });
      });
      this.#windows.set(name, window);
    }
    return window;
  }
}
