import type { CachedObject } from "./cached-object.ts";
import type { CacheEvent, CacheWatcher } from "./resource-cache.ts";
import type { Selection } from "./selection.ts";

/** What a watcher is about: keys below a prefix, and of those what a selection takes. */
export interface WatchScope {
  readonly prefix: string;
  readonly selection: Selection;
}

type Watchers = Set<CacheWatcher>;

/** One property of objects by which watchers are found, such as their namespace or a label. */
interface Facet {
  readonly read: (item: CachedObject) => string | undefined;
  readonly watchers: Map<string, Watchers>;
}

interface Place {
  readonly facet: string;
  readonly value: string;
  readonly read: Facet["read"];
}

/** "/registry/pods/default/" of "/registry/pods/default/web". */
const parentOf = ({ key }: CachedObject) => key.slice(0, key.lastIndexOf("/") + 1);

/** Where a watcher is found: by the narrowest thing that its scope asks for. */
function placeOf(scope: WatchScope | undefined): Place {
  const all = { facet: "", value: "", read: () => "" };
  if (!scope) return all;
  const { labels, fields, fieldValue, namespace } = scope.selection;
  const exact = fields.requirements.find(({ operator }) => operator === "=");
  // An absent field counts as an empty one, also here.
  if (exact) {
    const { field, value } = exact;
    return { facet: `field ${field}`, value, read: ({ object }) => fieldValue(object, field) ?? "" };
  }
  for (const { key } of labels.requirements) {
    const value = labels.exactValue(key);
    if (value === undefined) continue;
    return {
      facet: `label ${key}`,
      value,
      read: ({ object }) =>
        Object.hasOwn(object.metadata.labels ?? {}, key) ? object.metadata.labels![key] : undefined,
    };
  }
  return namespace === undefined ? all : { facet: "namespace", value: scope.prefix, read: parentOf };
}

/**
 * The watchers of one resource, each found by one thing that it asks for: the value of a field or label, else its
 * namespace. An event costs those whom it may concern; thousands that watch other objects cost it nothing.
 */
export class WatcherIndex implements Iterable<CacheWatcher> {
  readonly #all: Watchers = new Set();
  readonly #facets = new Map<string, Facet>();

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): Iterator<CacheWatcher> {
    return this.#all.values();
  }

  add(watcher: CacheWatcher): void {
    this.#all.add(watcher);
    const { facet: name, value, read } = placeOf(watcher.scope);
    let facet = this.#facets.get(name);
    if (!facet) {
      facet = { read, watchers: new Map() };
      this.#facets.set(name, facet);
    }
    const watchers = facet.watchers.get(value);
    if (watchers) watchers.add(watcher);
    else facet.watchers.set(value, new Set([watcher]));
  }

  delete(watcher: CacheWatcher): void {
    if (!this.#all.delete(watcher)) return;
    const { facet: name, value } = placeOf(watcher.scope);
    const facet = this.#facets.get(name)!;
    const watchers = facet.watchers.get(value)!;
    watchers.delete(watcher);
    if (watchers.size > 0) return;
    facet.watchers.delete(value);
    if (facet.watchers.size === 0) this.#facets.delete(name);
  }

  clear(): void {
    this.#all.clear();
    this.#facets.clear();
  }

  /** Hands events to those whom they may concern: to watchers of one place the same array. */
  dispatch(events: readonly CacheEvent[]): void {
    const due = new Map<Watchers, CacheEvent[]>();
    for (const event of events) {
      for (const { read, watchers } of this.#facets.values()) {
        const now = read(event.item);
        noteFor(due, watchers, now, event);
        // An object that leaves a selection is told to those who had it.
        const before = event.previous && read(event.previous);
        if (before !== now) noteFor(due, watchers, before, event);
      }
    }
    for (const [watchers, own] of due) for (const watcher of watchers) watcher.onEvents(own);
  }
}

function noteFor(
  due: Map<Watchers, CacheEvent[]>,
  byValue: ReadonlyMap<string, Watchers>,
  value: string | undefined,
  event: CacheEvent,
): void {
  const watchers = value === undefined ? undefined : byValue.get(value);
  if (!watchers) return;
  const own = due.get(watchers);
  if (own) own.push(event);
  else due.set(watchers, [event]);
}
