import type { ResourceFacts } from "../../api/resource.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Store } from "../../store/store.ts";
import { ResourceCache } from "./resource-cache.ts";
import type { StoreFeed } from "./store-feed.ts";

/** The watch caches of all resources, each filled when it is first read. */
export class CacheSet {
  readonly #store: Store;
  readonly #feed: StoreFeed;
  readonly #clock: Clock;
  readonly #caches = new Map<ResourceFacts, ResourceCache>();
  readonly #dropped = new WeakSet<ResourceFacts>();

  constructor(store: Store, feed: StoreFeed, clock: Clock) {
    this.#store = store;
    this.#feed = feed;
    this.#clock = clock;
  }

  /** The cache of a stored resource; `ready()` of it fills it. */
  of(facts: ResourceFacts): ResourceCache {
    let cache = this.#caches.get(facts);
    if (!cache) {
      cache = new ResourceCache(facts, this.#store, this.#feed, this.#clock);
      // Requests that were let in before the resource was dropped read it once more; nobody would drop it again.
      if (this.#dropped.has(facts)) cache.close();
      else this.#caches.set(facts, cache);
    }
    return cache;
  }

  /** Every cache that was read so far. */
  all(): IterableIterator<ResourceCache> {
    return this.#caches.values();
  }

  get revision(): number {
    return this.#feed.revision;
  }

  /** Frees a resource that is no longer served; its watchers are told to go. */
  drop(facts: ResourceFacts): void {
    this.#dropped.add(facts);
    this.#caches.get(facts)?.close();
    this.#caches.delete(facts);
  }
}
