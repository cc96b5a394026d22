import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { serviceUnavailable } from "../../machinery/status.ts";
import { CompactedError, type Store, StoreClosedError, type StoreEvent } from "../../store/store.ts";

/** Every key of the API lies below this. */
export const keyRoot = "/registry/";

/** Takes the events of the keys below one prefix, in the order of revisions. */
export type FeedListener = (events: readonly StoreEvent[]) => void;

/** How long a read waits for the store's watch to catch up with the store before it is told to come again. */
const catchUpTimeoutMs = 10_000;
/** Between attempts to begin a new watch. */
const restartDelayMs = 1000;

/**
 * The one watch on the store that all caches live from. It knows the newest revision, so that a cache of a resource
 * that never changes still has a current one. Where the watch lost its place for good (the store was away for longer than
 * it keeps history), it begins anew and every cache starts over; until then nothing is answered.
 */
export class StoreFeed {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #listeners = new Map<string, Set<FeedListener>>();
  readonly #waiting = new Set<{ readonly revision: number; readonly settle: (delivered: boolean) => void }>();
  #revision = 0;
  #stop: (() => void) | undefined;
  #failed: Error | undefined;
  #stopped = false;
  #asking: Promise<number> | undefined;
  #askingNext: Promise<number> | undefined;
  readonly #onRestart = new Set<() => void>();

  /** @param clock the io clock */
  constructor(store: Store, clock: Clock, logger: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    const head = await this.#store.currentRevision();
    this.#revision = head;
    const stop = await this.#store.watch(keyRoot, {
      afterRevision: head,
      onEvents: (events, progress) => this.#onEvents(events, progress),
      onError: (error) => this.#onError(error),
    });
    if (this.#stopped) stop();
    else this.#stop = stop;
  }

  stop(): void {
    this.#stopped = true;
    this.#stop?.();
  }

  /** Why nothing can be read at the moment. */
  problem(): string | undefined {
    return this.#failed?.message ?? this.#store.problem();
  }

  /** Calls `tell` when events may have been missed, before anything is answered again. */
  onRestart(tell: () => void): () => void {
    this.#onRestart.add(tell);
    return () => this.#onRestart.delete(tell);
  }

  /** The newest revision that every cache has seen. */
  get revision(): number {
    return this.#revision;
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
    const revision = await this.#newestRevision();
    const inTime = await this.reached(revision, catchUpTimeoutMs);
    this.assertAlive();
    if (inTime) return;
    throw serviceUnavailable(
      `the store's watch stands at revision ${this.#revision} and the store at ${revision}; it is catching up`,
    );
  }

  /**
   * The store's newest revision at some time after the call: who asks while an answer is under way, which may be too old
   * for it, shares the next one with all others that do.
   */
  #newestRevision(): Promise<number> {
    if (!this.#asking) {
      this.#asking = this.#store.currentRevision().finally(() => {
        this.#asking = undefined;
      });
      return this.#asking;
    }
    this.#askingNext ??= this.#asking
      .catch(() => {})
      .then(() => {
        this.#askingNext = undefined;
        return this.#newestRevision();
      });
    return this.#askingNext;
  }

  /**
   * Resolves with true when this revision was delivered, or the feed has begun anew, and with false when neither happened in
   * so many milliseconds.
   */
  reached(revision: number, timeoutMs: number): Promise<boolean> {
    if (revision <= this.#revision) return Promise.resolve(true);
    return new Promise((resolve) => {
      const settle = (delivered: boolean) => {
        timer.cancel();
        // Whoever asks for what never comes must not be remembered.
        this.#waiting.delete(wait);
        resolve(delivered);
      };
      const wait = { revision, settle };
      const timer = this.#clock.after(timeoutMs, () => settle(false));
      this.#waiting.add(wait);
    });
  }

  #onError(error: Error): void {
    this.#failed = error;
    if (this.#stopped) return;
    if (error instanceof StoreClosedError) {
      this.#logger.error({ err: error }, "The store was closed; the API cannot answer any more");
      return;
    }
    const lost = error instanceof CompactedError;
    this.#logger.warn(
      { err: error },
      lost ? "The store's watch lost its place; it begins anew" : "The store's watch ended",
    );
    void this.#restart();
  }

  async #restart(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.start();
        for (const tell of [...this.#onRestart]) tell();
        this.#failed = undefined;
        // Whoever waited for a revision finds out for itself what became of it.
        for (const { settle } of [...this.#waiting]) settle(true);
        this.#logger.info({ revision: this.#revision }, "The store's watch goes on");
        return;
      } catch (error) {
        this.#failed = error as Error;
        if (error instanceof StoreClosedError) return;
        await this.#clock.sleep(restartDelayMs);
      }
    }
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
    for (const { revision, settle } of this.#waiting) if (revision <= this.#revision) settle(true);
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
