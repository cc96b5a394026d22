/**
 * The contract of every store: a log of revisions over opaque values, with optimistic writes and ordered events.
 * `test/unit/store/suite.ts` holds each implementation to it.
 *
 * - One key a write, one revision a write; revisions rise by at least one and never go back.
 * - A compare runs inside the transaction, in order of arrival; one that fails fails alone.
 * - A write is answered after it is durable; an event is emitted after its commit, in the order of revisions, once.
 */

/** A stored value. */
export interface Entry {
  readonly key: string;
  /** Opaque bytes; the store neither reads nor changes them. */
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** A change of one key. */
export interface StoreEvent {
  readonly type: "put" | "delete";
  readonly key: string;
  /** Revision of this change. */
  readonly revision: number;
  /** The entry after a put; absent for a delete. */
  readonly entry?: Entry;
  /** The entry before this change; absent for a create. */
  readonly previous?: Entry;
}

/** What a conditional write answers. A failed one carries what stands there now (`undefined`: no such key). */
export type WriteResult =
  | { readonly ok: true; readonly revision: number; readonly previous?: Entry }
  | { readonly ok: false; readonly current: Entry | undefined };

/** A list at one revision. */
export interface ListResult {
  readonly entries: readonly Entry[];
  /** The revision that this is a snapshot of. */
  readonly revision: number;
  /** There are more entries after the last one. */
  readonly more: boolean;
}

export interface ListOptions {
  /** At most this many entries. */
  readonly limit?: number;
  /** Continue strictly after this key. */
  readonly after?: string;
  /** Read as of this revision; throws {@link CompactedError} when it is gone. Default: the newest. */
  readonly revision?: number;
}

export interface WatchOptions {
  /** Deliver changes with a revision above this one. Throws {@link CompactedError} when it is compacted. */
  readonly afterRevision: number;
  /**
   * Called with events in order; with none, when only `progress` moved: the revision up to which all was delivered. A
   * store whose connection was lost goes on from there by itself, and nothing is missed, repeated or out of order.
   */
  readonly onEvents: (events: readonly StoreEvent[], progress: number) => void;
  /** Called at most once, when the watch cannot go on (compacted meanwhile, store closed or broken for good). */
  readonly onError: (error: Error) => void;
}

export interface Store {
  /**
   * No other process writes here: whoever got a write's answer finds its event delivered to every live watch. Otherwise
   * that holds for watches of this process only.
   */
  readonly exclusive?: boolean;
  get(key: string): Promise<Entry | undefined>;
  /** Entries whose key starts with `prefix`, in key order (bytes). */
  list(prefix: string, options?: ListOptions): Promise<ListResult>;
  /** Writes only when the key does not exist. `ttlSeconds`: deleted by the store that long after this write. */
  create(key: string, value: Buffer, options?: { ttlSeconds?: number }): Promise<WriteResult>;
  /** Writes only when the key's modRevision is `expectedRevision`. */
  update(key: string, value: Buffer, expectedRevision: number, options?: { ttlSeconds?: number }): Promise<WriteResult>;
  /** Deletes only when the key's modRevision is `expectedRevision`. */
  delete(key: string, expectedRevision: number): Promise<WriteResult>;
  /** All changes below `prefix`, from a revision on. The returned function ends the watch. */
  watch(prefix: string, options: WatchOptions): Promise<() => void>;
  /**
   * Changes below `prefix` after a revision, oldest first, in pages, up to the newest at the time of reading. Throws
   * {@link CompactedError} when the revision is gone, also in the middle.
   */
  history(prefix: string, afterRevision: number): AsyncGenerator<readonly StoreEvent[], void>;
  /**
   * A read barrier: a revision not below that of any write that was answered, to whomever, before this call. Every live
   * watch is soon told of a progress of at least this.
   */
  currentRevision(): Promise<number>;
  /** Forgets history below `revision`; the newest value of each key stays. */
  compact(revision: number): Promise<void>;
  /** Revisions below this one are gone. */
  compactedRevision(): Promise<number>;
  /**
   * Makes every revision from now on higher than `above`, and everything older compacted: for a cluster whose revisions
   * were handed out by another store (a migration, a restored snapshot). Does nothing when they are that high.
   */
  raiseRevision(above: number): Promise<void>;
  /** Bytes that the store takes on disk. */
  size(): Promise<number>;
  /** Why reads or writes cannot be answered at the moment; undefined while all is well. Costs nothing. */
  problem(): string | undefined;
  /** Writes a consistent copy to a new file while writes go on. Absent where the database has means of its own. */
  snapshot?(path: string): Promise<{ readonly revision: number }>;
  /** Finishes writes that were accepted, then closes. Further calls throw {@link StoreClosedError}. */
  close(): Promise<void>;
}

/** The revision asked for was compacted. */
export class CompactedError extends Error {
  readonly revision: number;
  readonly compactedRevision: number;
  constructor(revision: number, compactedRevision: number) {
    super(`revision ${revision} has been compacted; the oldest one kept is ${compactedRevision}`);
    this.revision = revision;
    this.compactedRevision = compactedRevision;
  }
}

/** The revision asked for has not been handed out yet. */
export class FutureRevisionError extends Error {
  constructor(revision: number, current: number) {
    super(`revision ${revision} is in the future; the newest one is ${current}`);
  }
}

/** The write may or may not have happened: the connection or the transaction broke after it was sent. */
export class UnknownOutcomeError extends Error {}

/** The store cannot take writes now (disk full, read-only, database away); nothing was written. */
export class UnavailableError extends Error {}

/** Too many writes wait for the store already; nothing was written. */
export class OverloadedError extends UnavailableError {}

/** The store's data is damaged: no later attempt helps, and nothing is written any more. */
export class DamagedError extends UnavailableError {}

/** The store was closed. */
export class StoreClosedError extends Error {
  constructor() {
    super("the store is closed");
  }
}
