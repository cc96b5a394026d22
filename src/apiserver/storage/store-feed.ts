import type { Logger } from "../../machinery/log.ts";
import { serviceUnavailable } from "../../machinery/status.ts";
import type { Store, StoreEvent } from "../../store/store.ts";

/** Every key of the API lies below this. */
export const keyRoot = "/registry/";

/** Takes the events of the keys below one prefix, in the order of revisions. */
export type FeedListener = (events: readonly StoreEvent[]) => void;

/**
 * The one watch on the store that all caches live from. It knows the newest revision, so that a cache of a resource
 * that never changes still has a current one.
 */
export class StoreFeed {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #listeners = new Map<string, Set<FeedListener>>();
  readonly #waiting: { revision: number; resolve: () => void }[] = [];
  #revision = 0;
  #stop: (() => void) | undefined;
  #failed: Error | undefined;
  readonly #onFail: ((error: Error) => void)[] = [];

  constructor(store: Store, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    const head = await this.#store.currentRevision();
    this.#revision = head;
    this.#stop = await this.#store.watch(keyRoot, {
      afterRevision: head,
      onEvents: (events, progress) => this.#onEvents(events, progress),
      onError: (error) => {
        this.#failed = error;
        this.#logger.error({ err: error }, "The store's watch ended; the API cannot answer any more");
        for (const tell of this.#onFail) tell(error);
      },
    });
  }

  stop(): void {
    this.#stop?.();
  }

  /** The newest revision that every cache has seen. */
  get revision(): number {
    return this.#revision;
  }

  /** Calls `tell` when the store is lost for good. */
  onFailure(tell: (error: Error) => void): void {
    this.#onFail.push(tell);
  }

  assertAlive(): void {
    if (this.#failed) throw serviceUnavailable(`the store is not available: ${this.#failed.message}`);
  }

  /** Hands the events of the keys below `prefix` ("pods/") to `listener` from now on. */
  listen(prefix: string, listener: FeedListener): () => void {
    const listeners = this.#listeners.get(prefix) ?? new Set();
    this.#listeners.set(prefix, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** Resolves when every write that was acknowledged before this call is in the caches. */
  async barrier(): Promise<void> {
    this.assertAlive();
    // A store that has one writer delivers an event before it answers the write: nothing to wait for.
    if (this.#store.exclusive) return;
    const revision = await this.#store.currentRevision();
    await this.reached(revision);
  }

  /** Resolves when this revision was delivered. */
  reached(revision: number): Promise<void> {
    if (revision <= this.#revision) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ revision, resolve }));
  }

  #onEvents(events: readonly StoreEvent[], progress: number): void {
    let from = 0;
    while (from < events.length) {
      const prefix = this.#prefixOf(events[from]!.key);
      let to = from + 1;
      while (to < events.length && prefix !== undefined && events[to]!.key.startsWith(keyRoot + prefix)) to++;
      // The revision stands at the last event delivered while listeners run, so that bookmarks never run ahead.
      const run = events.slice(from, to);
      this.#revision = run.at(-1)!.revision;
      if (prefix !== undefined) for (const listener of this.#listeners.get(prefix)!) listener(run);
      from = to;
    }
    this.#revision = Math.max(this.#revision, progress);
    for (let index = this.#waiting.length - 1; index >= 0; index--) {
      if (this.#waiting[index]!.revision <= this.#revision) this.#waiting.splice(index, 1)[0]!.resolve();
    }
  }

  #prefixOf(key: string): string | undefined {
    const first = key.indexOf("/", keyRoot.length);
    if (first < 0) return undefined;
    const short = key.slice(keyRoot.length, first + 1);
    if (this.#listeners.has(short)) return short;
    const second = key.indexOf("/", first + 1);
    if (second < 0) return undefined;
    const long = key.slice(keyRoot.length, second + 1);
    return this.#listeners.has(long) ? long : undefined;
  }
}
