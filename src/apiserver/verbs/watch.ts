import { expired, type StatusError } from "../../machinery/status.ts";
import { type Call, type Core, toStatusError } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import type { CacheEvent } from "../storage/resource-cache.ts";
import { makeSelection, type Selection } from "../storage/selection.ts";
import { checkListParameters, type ListParameters, parseRevision } from "./list.ts";

export interface WatchParameters extends ListParameters {
  readonly allowWatchBookmarks?: boolean | undefined;
  readonly sendInitialEvents?: boolean | undefined;
  readonly timeoutSeconds?: number | undefined;
}

/** A change as one watcher is to see it: an object that enters its selection is ADDED, one that leaves it DELETED. */
export interface WatchChange {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly item: CachedObject;
  /** The change behind it, whose encodings are shared; absent for synthetic events of the initial state. */
  readonly event?: CacheEvent;
}

/** Who takes the changes. None of these may throw. */
export interface WatchSink {
  /** The watch stands; from here on everything reaches the sink. */
  open(): void;
  changes(changes: readonly WatchChange[]): void;
  /** "All up to here was delivered"; `initial` closes the synthetic events of `sendInitialEvents`. */
  bookmark(revision: number, initial: boolean): void;
  /** The watch is over; an error goes to the client as an ERROR event. */
  end(error?: StatusError): void;
}

/** Kubernetes' figure: about once a minute. */
const bookmarkIntervalMs = 60_000;
/** A bookmark also comes shortly before the end, so that the next watch starts late in history. */
const lastBookmarkMs = 2_000;
/** Synthetic events sent in one piece. */
const initialBatch = 500;

export function changeFor(selection: Selection, prefix: string, event: CacheEvent): WatchChange | undefined {
  if (!event.item.key.startsWith(prefix)) return undefined;
  const before = event.previous !== undefined && selection.matches(event.previous.object);
  const now = !event.deleted && selection.matches(event.item.object);
  if (now) return { type: before ? "MODIFIED" : "ADDED", item: event.item, event };
  return before ? { type: "DELETED", item: event.left, event } : undefined;
}

/** What events come to under the same selectors, for as long as they are handed round. */
const worked = new WeakMap<readonly CacheEvent[], Map<string, readonly WatchChange[]>>();

/** The changes that events are to a selection: one array for all watchers of the same events with the same selectors. */
function sharedChanges(
  selection: Selection,
  prefix: string,
  selectors: string,
  events: readonly CacheEvent[],
): readonly WatchChange[] {
  let bySelectors = worked.get(events);
  if (!bySelectors) {
    bySelectors = new Map();
    worked.set(events, bySelectors);
  }
  let changes = bySelectors.get(selectors);
  if (!changes) {
    changes = events.flatMap((event) => changeFor(selection, prefix, event) ?? []);
    bySelectors.set(selectors, changes);
  }
  return changes;
}

/**
 * Starts a watch. Throws a StatusError for parameters that cannot be understood; all else, a revision that is gone
 * included, reaches the sink. The returned function ends it.
 */
export async function watch(core: Core, call: Call, parameters: WatchParameters, sink: WatchSink): Promise<() => void> {
  const { facts, namespace } = call;
  checkListParameters(parameters, parameters.sendInitialEvents);
  const selection = makeSelection(facts, namespace, parameters.labelSelector, parameters.fieldSelector);
  const cache = core.caches.of(facts);
  const asked = parseRevision(parameters.resourceVersion);
  if (asked === undefined) await cache.barrier();
  else if (asked === 0 || parameters.sendInitialEvents) await cache.reached(asked);
  else await cache.ready();

  const prefix = cache.keyPrefix(namespace);
  const initial = parameters.sendInitialEvents ?? !asked;
  let ended = false;
  let live = false;
  let early: WatchChange[] = [];

  const selectors = `${prefix}\0${parameters.labelSelector ?? ""}\0${parameters.fieldSelector ?? ""}`;
  const changesOf = (events: readonly CacheEvent[]) => sharedChanges(selection, prefix, selectors, events);

  function onEvents(events: readonly CacheEvent[]): void {
    const changes = changesOf(events);
    if (changes.length === 0) return;
    if (live) sink.changes(changes);
    else early.push(...changes);
  }

  // The snapshot and the registration belong to one moment: nothing may be awaited in between.
  const snapshot = initial ? cache.snapshot() : undefined;
  const startRevision = initial || asked === undefined || asked === 0 ? cache.revision : asked;
  let sentRevision = 0;
  // What the cache does not remember comes from the store, up to the moment of the registration.
  const joinRevision = cache.remembers(startRevision) ? startRevision : cache.revision;
  const unregister = cache.watch(joinRevision, {
    scope: { prefix, selection },
    onEvents,
    onClose: (error) => end(error ?? withdrawn()),
  });
  const timers = new Set<{ cancel(): void }>();

  function withdrawn(): StatusError {
    return expired(`the resource ${facts.resource} is no longer served`);
  }

  function end(error?: StatusError): void {
    if (ended) return;
    ended = true;
    unregister();
    for (const timer of timers) timer.cancel();
    sink.end(error);
  }

  function later(delayMs: number, run: () => void): void {
    const timer = core.ioClock.after(delayMs, () => {
      timers.delete(timer);
      run();
    });
    timers.add(timer);
  }

  function bookmark(): void {
    if (!live || cache.revision < startRevision || cache.revision <= sentRevision) return;
    sentRevision = cache.revision;
    sink.bookmark(sentRevision, false);
  }

  function everyMinute(): void {
    bookmark();
    later(bookmarkIntervalMs, everyMinute);
  }

  async function begin(): Promise<void> {
    if (snapshot) {
      let batch: WatchChange[] = [];
      for (const item of snapshot.range(prefix)) {
        if (!selection.matches(item.object)) continue;
        batch.push({ type: "ADDED", item });
        if (batch.length < initialBatch) continue;
        sink.changes(batch);
        batch = [];
        await new Promise((resolve) => setImmediate(resolve));
        if (ended) return;
      }
      if (batch.length > 0) sink.changes(batch);
      if (parameters.sendInitialEvents && parameters.allowWatchBookmarks) {
        sentRevision = startRevision;
        sink.bookmark(startRevision, true);
      }
    }
    if (joinRevision > startRevision) {
      for await (const events of cache.history(startRevision, joinRevision)) {
        if (ended) return;
        const changes = changesOf(events);
        if (changes.length > 0) sink.changes(changes);
      }
    }
    if (ended) return;
    live = true;
    if (early.length > 0) sink.changes(early);
    early = [];
  }

  if (parameters.allowWatchBookmarks) later(bookmarkIntervalMs, everyMinute);
  const seconds = parameters.timeoutSeconds;
  if (seconds) {
    if (parameters.allowWatchBookmarks && seconds * 1000 > 2 * lastBookmarkMs) {
      later(seconds * 1000 - lastBookmarkMs, bookmark);
    }
    later(seconds * 1000, () => end());
  }
  sink.open();
  // Kubernetes tells of a revision that is gone in the stream, as an event: clients wait for it there.
  // Withdrawn after this request was let in, the resource has a cache that would stay silent.
  if (cache.closed) end(withdrawn());
  else begin().catch((error) => end(toStatusError(error)));
  return () => end();
}
