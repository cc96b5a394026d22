import { OverloadedError } from "./store.ts";

/** More than one value may be, and what many clients write at once; what waits for a store is memory. */
const mostBytes = 128 * 1024 * 1024;
const mostWrites = 10_000;

/** Bounds what waits for a store that is slow or silent: more is refused at once, and may come again later. */
export class WriteBound {
  readonly #store: string;
  #bytes = 0;
  #writes = 0;

  /** @param store how messages name it */
  constructor(store: string) {
    this.#store = store;
  }

  /** Throws OverloadedError when there is no place; otherwise it is taken until {@link leave}. */
  enter(bytes: number): void {
    if (this.#writes >= mostWrites || (this.#writes > 0 && this.#bytes + bytes > mostBytes))
      throw new OverloadedError(`${this.#store} is behind: ${this.#writes} writes wait for it already`);
    this.#writes++;
    this.#bytes += bytes;
  }

  leave(bytes: number): void {
    this.#writes--;
    this.#bytes -= bytes;
  }
}
