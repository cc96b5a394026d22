import type { Logger } from "../machinery/log.ts";
import type { StoreEvent, WatchOptions } from "./store.ts";

/** Changes of the past, oldest first. */
export interface HistoryPage {
  readonly events: readonly StoreEvent[];
  /** Nothing below the prefix lies between the last event and this revision. */
  readonly upTo: number;
  /** The page reaches what was the newest revision when it was read. */
  readonly complete: boolean;
}

interface Emission {
  readonly events: readonly StoreEvent[];
  readonly progress: number;
}

interface Watcher extends WatchOptions {
  readonly prefix: string;
  /** Everything up to here was delivered. */
  position: number;
  /** What happened while a page of history is being read; absent for a watcher that is up to date. */
  meanwhile: Emission[] | undefined;
}

/** The watches of a store: each is brought up to date from history, and then gets every event as it is emitted. */
export class WatchSet {
  readonly #logger: Logger;
  readonly #watchers = new Set<Watcher>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /**
   * Begins a watch. `read` gives a page of history after a revision that holds at least what was emitted before the call;
   * whatever the first one throws is thrown. The returned function ends the watch.
   */
  async add(
    prefix: string,
    options: WatchOptions,
    read: (afterRevision: number) => Promise<HistoryPage>,
  ): Promise<() => void> {
    const { afterRevision, onEvents, onError } = options;
    const watcher: Watcher = {
      prefix,
      afterRevision,
      onEvents,
      onError,
      position: afterRevision,
      meanwhile: undefined,
    };
    this.#watchers.add(watcher);
    try {
      // The first page decides whether the revision is still there; the rest follows on its own.
      if (!(await this.#takePage(watcher, read))) void this.#catchUp(watcher, read);
    } catch (error) {
      this.#watchers.delete(watcher);
      throw error;
    }
    return () => this.#watchers.delete(watcher);
  }

  /** Hands events, and the revision up to which these are all, to every watch; in the order of revisions. */
  emit(events: readonly StoreEvent[], progress: number): void {
    for (const watcher of this.#watchers) {
      if (watcher.meanwhile) watcher.meanwhile.push({ events, progress });
      else this.#pass(watcher, events, progress);
    }
  }

  /** Ends every watch with an error. */
  fail(error: Error): void {
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const watcher of watchers) watcher.onError(error);
  }

  async #catchUp(watcher: Watcher, read: (afterRevision: number) => Promise<HistoryPage>): Promise<void> {
    try {
      while (this.#watchers.has(watcher) && !(await this.#takePage(watcher, read)));
    } catch (error) {
      if (this.#watchers.delete(watcher)) watcher.onError(error as Error);
    }
  }

  /** Reads and delivers a page; true when the watcher is up to date. */
  async #takePage(watcher: Watcher, read: (afterRevision: number) => Promise<HistoryPage>): Promise<boolean> {
    const meanwhile: Emission[] = [];
    watcher.meanwhile = meanwhile;
    const { events, upTo, complete } = await read(watcher.position);
    if (!this.#watchers.has(watcher)) return true;
    // Also without events: how far it is stands nowhere else until something is written.
    if (upTo > watcher.position) this.#deliver(watcher, events, upTo);
    if (!complete) return false;
    watcher.meanwhile = undefined;
    for (const { events: missed, progress } of meanwhile) this.#pass(watcher, missed, progress);
    return true;
  }

  /** Delivers those of the events that are the watcher's and that it has not had. */
  #pass(watcher: Watcher, events: readonly StoreEvent[], progress: number): void {
    if (progress <= watcher.position) return;
    const own = events.filter((event) => event.revision > watcher.position && event.key.startsWith(watcher.prefix));
    this.#deliver(watcher, own, progress);
  }

  #deliver(watcher: Watcher, events: readonly StoreEvent[], progress: number): void {
    // A watch may have been ended by the events before these.
    if (!this.#watchers.has(watcher)) return;
    watcher.position = progress;
    try {
      watcher.onEvents(events, progress);
    } catch (error) {
      this.#logger.error({ err: error, prefix: watcher.prefix }, "A store watcher threw; its watch ends");
      this.#watchers.delete(watcher);
      watcher.onError(error as Error);
    }
  }
}
