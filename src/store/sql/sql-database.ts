import type { Entry, StoreEvent } from "../store.ts";
import type { QueuedWrite } from "../write-queue.ts";

/** Where the log stands. Whoever read it read it from a database that takes writes. */
export interface LogState {
  readonly head: number;
  readonly compacted: number;
  /** How often a server compacted on schedule: whoever still knows the present number may do it next. */
  readonly compactions: number;
}

/** A change as the log holds it. */
export interface LogChange {
  readonly event: StoreEvent;
  readonly expiresAtMs?: number;
}

/** What a read saw, and where the log stood then. */
export interface LogPage<T> {
  readonly rows: readonly T[];
  readonly head: number;
  readonly compacted: number;
}

/** What became of a write: a revision when it happened, and what was there before it. */
export interface LogWriteResult {
  readonly revision?: number;
  readonly current?: Entry;
}

export interface BatchReply {
  /** The newest revision before the batch and after it: what lies between is the batch's own. */
  readonly before: number;
  readonly head: number;
  readonly results: readonly LogWriteResult[];
}

/** The last batch that a writer committed. */
export interface LastBatch {
  readonly batch: number;
  readonly before: number;
  readonly head: number;
}

/**
 * One connection to a database that holds the revisioned log, and what the store does through it: as a rule one round trip
 * a call. Every write is a row, and the newest row of a key is its state. Whoever writes holds one lock until after the
 * commit, so that revisions become visible in their order and a reader that saw one has all before it.
 *
 * Every call rejects with SqlFailure. Calls on one session run one after another.
 */
export interface SqlSession {
  /** Why the connection is of no use any more. */
  readonly broken: boolean;
  /**
   * Makes `id` a writer. `former` is one no longer: when this resolves, none of its batches is under way or will happen, and
   * the last that did is told, as often as it is asked for.
   */
  becomeWriter(id: string, former: string | undefined): Promise<LastBatch | undefined>;
  /**
   * Writes a batch in one durable transaction, each write with its own compare; no key comes twice. Rejects with "fenced"
   * when `writer` is no writer any more.
   */
  write(writer: string, batch: number, writes: readonly QueuedWrite[]): Promise<BatchReply>;
  /** Tells the database that the writer lives, by writing. */
  touch(writer: string): Promise<void>;
  get(key: string): Promise<Entry | undefined>;
  /** The newest entries of keys from `prefix` on and after `after`, as of a revision (default: the newest). */
  list(prefix: string, after: string, revision: number | undefined, limit: number): Promise<LogPage<Entry>>;
  /** Changes after a revision, oldest first, of keys that start with `prefix`. */
  history(prefix: string, afterRevision: number, limit: number): Promise<LogPage<LogChange>>;
  /** Reads where the log stands; rejects when the database is one that takes no writes. */
  state(): Promise<LogState>;
  /** Keys whose time has come, oldest first. */
  expired(nowMs: number, limit: number): Promise<{ readonly key: string; readonly revision: number }[]>;
  /** When the next key expires, in milliseconds since the epoch. */
  nextExpiryMs(): Promise<number | undefined>;
  /**
   * Makes history below a revision unreadable; with `compactions`, only when that is still their number. False when nothing
   * changed.
   */
  compact(revision: number, compactions?: number): Promise<boolean>;
  /** Removes a few compacted rows; false when none are left, or another connection is at it. */
  sweep(): Promise<boolean>;
  /** Makes the next revision higher than `above`, and what is older compacted. Gives the head before, when that was lower. */
  raise(above: number): Promise<number | undefined>;
  /** Bytes that the log takes. */
  size(): Promise<number>;
  /** Begins to hear of other servers' writes. */
  listen(): Promise<void>;
  /** After {@link listen}: the newest revision once it is above `revision`, or after some seconds in any case. */
  nextHead(revision: number): Promise<number>;
  /** Drops the connection, whatever it is doing. */
  close(): void;
}

/** A database server, as the store reaches it. */
export interface SqlDatabase {
  /** How messages name it: "PostgreSQL at db:5432". */
  readonly name: string;
  /** Makes the database and its tables where they are not there. Rejects with ConfigurationError when it may not. */
  prepare(): Promise<void>;
  /** Connects to a server that takes writes. Rejects with SqlFailure. */
  connect(): Promise<SqlSession>;
  /** Drops connections that are nobody's session. */
  close?(): void;
}

/**
 * What an error means for the caller:
 * - `lost`: the connection broke; what was asked may have happened
 * - `late`: the database does not answer; what was asked may have happened, or still will
 * - `again`: the database undid the transaction for another's sake (deadlock, serialization); nothing happened
 * - `fenced`: the writer was replaced; nothing happened
 * - `refused`: the database cannot do it now; nothing happened
 */
export type FailureKind = "lost" | "late" | "again" | "fenced" | "refused";

/** An error of a database or its connection: text without secrets, and never the client library's own error object. */
export class SqlFailure extends Error {
  readonly kind: FailureKind;
  constructor(kind: FailureKind, message: string) {
    super(message);
    this.kind = kind;
  }
}
