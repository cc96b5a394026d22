import type { ResourceFacts } from "../../api/resource.ts";
import type { Clock, Timer } from "../../machinery/clock.ts";
import { expired, StatusError, serviceUnavailable } from "../../machinery/status.ts";
import { CompactedError, type Store, type StoreEvent } from "../../store/store.ts";
import type { CachedObject } from "./cached-object.ts";
import { prefixOf } from "./codec.ts";
import { decodeEntries } from "./decode-entries.ts";
import { OrderedMap, type Snapshot } from "./ordered-map.ts";
import { keyRoot, type StoreFeed } from "./store-feed.ts";
import { WatcherIndex, type WatchScope } from "./watcher-index.ts";

/** A change as watchers see it. Encodings are made at first use and shared by all watchers. */
export class CacheEvent {
  readonly revision: number;
  /** The object after the change; for a delete the last one, at the revision of its deletion. */
  readonly item: CachedObject;
  /** The object before the change; absent for a create. */
  readonly previous: CachedObject | undefined;
  readonly deleted: boolean;
  /** When the cache learned of it, milliseconds since the epoch. */
  readonly atMs: number;
  #previousAtRevision: CachedObject | undefined;
  readonly #frames = new Map<string, Buffer>();

  constructor(item: CachedObject, previous: CachedObject | undefined, deleted: boolean, atMs: number) {
    this.revision = item.revision;
    this.item = item;
    this.previous = previous;
    this.deleted = deleted;
    this.atMs = atMs;
  }

  /** What a watcher gets when the object leaves its selection: the state that it knew, at this revision. */
  get left(): CachedObject {
    if (this.deleted) return this.item;
    this.#previousAtRevision ??= this.previous!.at(this.revision);
    return this.#previousAtRevision;
  }

  /** The bytes of this event in one encoding, made once. */
  frame(encoding: string, make: () => Buffer): Buffer {
    let frame = this.#frames.get(encoding);
    if (!frame) {
      frame = make();
      this.#frames.set(encoding, frame);
    }
    return frame;
  }
}

/** Takes events in order. Must not throw. */
export interface CacheWatcher {
  /** What it is about: other events may be kept from it. Absent: all. */
  readonly scope?: WatchScope;
  onEvents(events: readonly CacheEvent[]): void;
  /** The resource is no longer served, or, with an error, its objects cannot be read any more. */
  onClose(error?: StatusError): void;
}

/** Events that are kept for watches that come back after a short while. */
const windowSize = 1000;
const windowAgeMs = 5 * 60_000;
/** Events that are dropped together. */
const windowTrim = 100;
/** Objects read and parsed in one piece while a cache is filled. */
const fillPage = 100;
/** States of earlier revisions kept for paged lists, and for how long after the last one was taken. */
const snapshotCount = 8;
const snapshotLifeMs = 60_000;
/** How long a request for a revision that is not there yet waits (as in the API server's cacher). */
const freshnessTimeoutMs = 3000;

/** One served version of a resource in memory: its present state, its last changes, and who watches it. */
export class ResourceCache {
  readonly facts: ResourceFacts;
  readonly #store: Store;
  readonly #feed: StoreFeed;
  readonly #clock: Clock;
  #items = new OrderedMap<CachedObject>();
  readonly #watchers = new WatcherIndex();
  #window: CacheEvent[] = [];
  /** Every change after this revision is in the window. */
  #windowStart = 0;
  readonly #snapshots = new Map<number, Snapshot<CachedObject>>();
  #snapshotTimer: Timer | undefined;
  #filling: Promise<void> | undefined;
  #closed = false;
  #early: StoreEvent[] | undefined = [];
  #unlisten: (() => void) | undefined;
  /** Changes that wait for their objects to be converted, in order; the first of them are under way. */
  #queue: StoreEvent[] = [];
  /** Ends with the conversion under way. */
  #step: Promise<void> | undefined;

  constructor(facts: ResourceFacts, store: Store, feed: StoreFeed, clock: Clock) {
    this.facts = facts;
    this.#store = store;
    this.#feed = feed;
    this.#clock = clock;
  }

  /** Fills the cache at first use. Rejects when the store cannot be read; the next call tries again. */
  ready(): Promise<void> {
    if (this.#filling) return this.#filling;
    const filling: Promise<void> = this.#fill().catch((error) => {
      if (this.#filling === filling) {
        this.#filling = undefined;
        this.#unlisten?.();
      }
      throw error;
    });
    this.#filling = filling;
    return filling;
  }

  /** The revision that this cache has seen everything of. */
  get revision(): number {
    const [waiting] = this.#queue;
    return waiting ? waiting.revision - 1 : this.#feed.revision;
  }

  /** True when its resource is no longer served: it hears of no change any more. */
  get closed(): boolean {
    return this.#closed;
  }

  get size(): number {
    return this.#items.size;
  }

  get(key: string): CachedObject | undefined {
    return this.#items.get(key);
  }

  /** Items as of now, for good. */
  snapshot(): Snapshot<CachedObject> {
    return this.#items.snapshot();
  }

  /** Objects in key order; the caller must not wait between steps. */
  items(prefix: string): Generator<CachedObject, void> {
    return this.#items.range(prefix);
  }

  /** The part of the keys that all objects of a namespace share. */
  keyPrefix(namespace: string | undefined): string {
    const inNamespace = namespace && this.facts.namespaced ? `${namespace}/` : "";
    return `${keyRoot}${prefixOf(this.facts)}${inNamespace}`;
  }

  /** Waits until the cache is as new as every acknowledged write. */
  async barrier(): Promise<void> {
    // It may have to start over meanwhile, and knows nothing until it is filled again.
    do {
      await this.ready();
      await this.#feed.barrier();
      if (this.#queue.length > 0) await this.#converted(this.#feed.revision);
    } while (!this.#filling);
  }

  /** Waits until the cache has reached a revision; throws the 504 that clients retry when it does not come. */
  async reached(revision: number): Promise<void> {
    do {
      await this.ready();
      this.#feed.assertAlive();
      await this.#feed.reached(revision, freshnessTimeoutMs);
      if (this.#queue.length > 0) await this.#converted(revision);
    } while (!this.#filling);
    if (revision <= this.#feed.revision) return;
    throw new StatusError(
      504,
      "Timeout",
      `Timeout: Too large resource version: ${revision}, current: ${this.#feed.revision}`,
      {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      },
    );
  }

  /** Whether {@link watch} knows everything that happened after a revision; {@link history} may still. */
  remembers(revision: number): boolean {
    return revision >= this.#windowStart;
  }

  /** Registers a watcher, which gets first what is remembered of what happened after `afterRevision`. The returned function ends it. */
  watch(afterRevision: number, watcher: CacheWatcher): () => void {
    this.#feed.assertAlive();
    const missed = this.#window.filter((event) => event.revision > afterRevision);
    if (missed.length > 0) watcher.onEvents(missed);
    // What is still to come may be older than where the watcher stands: it may have been told by a server that is ahead.
    const own = this.#queue.length > 0 || afterRevision > this.revision ? after(afterRevision, watcher) : watcher;
    this.#watchers.add(own);
    return () => this.#watchers.delete(own);
  }

  /**
   * What happened after one revision, up to and with another, from the store: a cache that was filled late or forgot
   * does not make a revision too old. Throws 410 Expired when the store has compacted it.
   */
  async *history(afterRevision: number, upToRevision: number): AsyncGenerator<readonly CacheEvent[], void> {
    const nowMs = this.#clock.now();
    try {
      for await (const page of this.#store.history(this.keyPrefix(undefined), afterRevision)) {
        const wanted = page.filter(({ revision }) => revision <= upToRevision);
        if (wanted.length > 0) yield await this.#pastEvents(wanted, nowMs);
        if (wanted.length < page.length) return;
      }
    } catch (error) {
      if (!(error instanceof CompactedError)) throw error;
      throw expired(`too old resource version: ${afterRevision} (${error.compactedRevision})`);
    }
  }

  async #pastEvents(events: readonly StoreEvent[], nowMs: number): Promise<CacheEvent[]> {
    const entries = events.flatMap(({ previous, entry }) => [previous, entry].filter((one) => one !== undefined));
    const items = (await decodeEntries(this.facts, entries)).values();
    const next = () => items.next().value as CachedObject;
    return events.map((event) => {
      const previous = event.previous && next();
      if (event.entry) return new CacheEvent(next(), previous, false, nowMs);
      return new CacheEvent(previous!.at(event.revision), previous, true, nowMs);
    });
  }

  get watcherCount(): number {
    return this.#watchers.size;
  }

  /** Remembers the state at a revision for the pages that follow. */
  keepSnapshot(revision: number, snapshot: Snapshot<CachedObject>): void {
    this.#snapshots.delete(revision);
    this.#snapshots.set(revision, snapshot);
    const [oldest] = this.#snapshots.keys();
    if (this.#snapshots.size > snapshotCount) this.#snapshots.delete(oldest!);
    // A paged list that nobody finishes must not hold memory for good; the store's history serves it then.
    this.#snapshotTimer?.cancel();
    this.#snapshotTimer = this.#clock.after(snapshotLifeMs, () => this.#snapshots.clear());
  }

  /** The state at a revision, while it is remembered. */
  snapshotAt(revision: number): Snapshot<CachedObject> | undefined {
    return this.#snapshots.get(revision);
  }

  /** Forgets everything and ends all watches. */
  close(): void {
    this.#closed = true;
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#queue = [];
    this.#snapshotTimer?.cancel();
    this.#endWatches(undefined);
  }

  #endWatches(error: StatusError | undefined): void {
    for (const watcher of [...this.#watchers]) watcher.onClose(error);
    this.#watchers.clear();
  }

  async #fill(): Promise<void> {
    // What an attempt that failed half-way left behind may be out of date.
    const found = new OrderedMap<CachedObject>();
    this.#items = found;
    this.#early = [];
    const unlisten = this.#feed.listen(prefixOf(this.facts), (events) => {
      if (this.#early) this.#early.push(...events);
      else this.#take(events);
    });
    const forget = this.#feed.onRestart(() =>
      this.#startOver(expired("the connection to the store was lost for too long; list again")),
    );
    const end = () => {
      unlisten();
      forget();
    };
    this.#unlisten = end;
    const prefix = this.keyPrefix(undefined);
    let after: string | undefined;
    let revision: number | undefined;
    for (;;) {
      const page = await this.#store.list(prefix, {
        limit: fillPage,
        ...(after === undefined ? {} : { after }),
        ...(revision === undefined ? {} : { revision }),
      });
      revision = page.revision;
      // A copy, because the entry's bytes are a view of a whole page.
      const own = page.entries.map((entry) => ({ ...entry, value: Buffer.from(entry.value) }));
      const items = decodeEntries(this.facts, own);
      for (const item of "then" in items ? await items : items) found.set(item);
      if (!page.more) break;
      after = page.entries.at(-1)!.key;
    }
    if (this.#unlisten !== end && !this.#closed)
      throw serviceUnavailable("the connection to the store was lost while it was read");
    this.#windowStart = revision;
    const early = this.#early.filter((event) => event.revision > revision);
    this.#early = undefined;
    if (early.length > 0) this.#take(early);
    if (this.#closed) this.#unlisten?.();
  }

  /** Takes changes in: at once where nothing has to be asked, otherwise one conversion after the other. */
  #take(events: readonly StoreEvent[]): void {
    const waits = this.#queue.length > 0;
    const items = waits ? undefined : this.#decode(events);
    if (items && !("then" in items)) {
      this.#apply(events, items);
      return;
    }
    this.#queue.push(...events);
    if (items) this.#follow(items, events.length);
  }

  #decode(events: readonly StoreEvent[]) {
    return decodeEntries(
      this.facts,
      events.flatMap(({ entry }) => (entry ? [entry] : [])),
    );
  }

  #follow(items: Promise<readonly CachedObject[]>, count: number): void {
    this.#step = this.#convert(items, count);
    // Whoever waits for it hears of a failure; nobody may wait.
    this.#step.catch(() => {});
  }

  /** Takes in what is being converted, the first of the queue, and goes on with what came meanwhile. */
  async #convert(converting: Promise<readonly CachedObject[]>, count: number): Promise<void> {
    const current = this.#unlisten;
    try {
      const items = await converting;
      // It was closed, or begun anew.
      if (this.#unlisten !== current) return;
      this.#apply(this.#queue.splice(0, count), items);
    } catch (error) {
      if (this.#unlisten === current) this.#startOver(error as StatusError);
      throw error;
    }
    const events = [...this.#queue];
    if (events.length === 0) return;
    const next = this.#decode(events);
    if ("then" in next) this.#follow(next, events.length);
    else this.#apply(this.#queue.splice(0), next);
  }

  /** Waits until all changes up to a revision are converted. Rejects when they cannot be. */
  async #converted(revision: number): Promise<void> {
    while (this.#queue.length > 0 && this.#queue[0]!.revision <= revision) await this.#step;
  }

  /** Without a change that it cannot read this cache knows nothing for sure: it is filled anew when it is next read. */
  #startOver(error: StatusError): void {
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#filling = undefined;
    this.#queue = [];
    this.#window = [];
    this.#snapshots.clear();
    this.#endWatches(error);
  }

  #apply(events: readonly StoreEvent[], items: readonly CachedObject[]): void {
    const decoded = items.values();
    const nowMs = this.#clock.now();
    const changes: CacheEvent[] = [];
    for (const event of events) {
      const previous = this.#items.get(event.key);
      if (event.type === "put") {
        const item = decoded.next().value as CachedObject;
        this.#items.set(item);
        changes.push(new CacheEvent(item, previous, false, nowMs));
      } else if (previous) {
        this.#items.delete(event.key);
        changes.push(new CacheEvent(previous.at(event.revision), previous, true, nowMs));
      }
    }
    this.#window.push(...changes);
    this.#trimWindow(nowMs);
    if (changes.length > 0) this.#watchers.dispatch(changes);
  }
  /** Drops what is too much or too old, many events at once, so that an idle cluster's leases do not pile up. */
  #trimWindow(nowMs: number): void {
    let dropped = Math.max(0, this.#window.length - windowSize);
    while (dropped < this.#window.length && this.#window[dropped]!.atMs < nowMs - windowAgeMs) dropped++;
    if (dropped < windowTrim) return;
    this.#windowStart = this.#window[dropped - 1]!.revision;
    this.#window = this.#window.slice(dropped);
  }
}

/** A watcher that hears only of what happened after a revision that its cache has still to come to. */
function after(revision: number, watcher: CacheWatcher): CacheWatcher {
  return {
    ...(watcher.scope ? { scope: watcher.scope } : {}),
    onEvents: (events) => {
      // Arrays are handed on as they are, since watchers share what they make of them.
      if (events[0]!.revision > revision) return watcher.onEvents(events);
      const later = events.filter((event) => event.revision > revision);
      if (later.length > 0) watcher.onEvents(later);
    },
    onClose: (error) => watcher.onClose(error),
  };
}
