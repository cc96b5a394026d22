import { CompactedError, type Entry, type StoreEvent } from "../store.ts";
import type { KeyValue, WatchEvent, WatchResponse } from "./etcd-messages.ts";

/** etcd's entry as the store gives it. */
export function toEntry({ key, value, createRevision, modRevision }: KeyValue): Entry {
  return { key, value, createRevision, modRevision };
}

/**
 * etcd's events as the store's. The deletes of a lease that ran out, and writes of others, may share a revision.
 * @throws CompactedError when etcd could not say any more what was there before an event: it came too late
 */
export function toStoreEvents(events: readonly WatchEvent[]): StoreEvent[] {
  return events.map(({ type, kv, prevKv }) => {
    const { key, createRevision, modRevision: revision } = kv!;
    const created = type === "PUT" && createRevision === revision;
    if (!created && !prevKv) throw new CompactedError(revision - 1, revision);
    const before = prevKv ? { previous: toEntry(prevKv) } : {};
    if (type === "DELETE") return { type: "delete", key, revision, ...before };
    return { type: "put", key, revision, entry: toEntry(kv!), ...before };
  });
}

/** Joins the fragments of large responses: all events of a revision are in what it gives. */
export class FragmentJoiner {
  #events: WatchEvent[] = [];

  /** The events of a response that is complete with this one; undefined while more of it is to come. */
  take({ events, fragment }: WatchResponse): readonly WatchEvent[] | undefined {
    if (!fragment && this.#events.length === 0) return events;
    for (const event of events) this.#events.push(event);
    if (fragment) return undefined;
    const joined = this.#events;
    this.#events = [];
    return joined;
  }
}
