/**
 * What the clients of a cluster did and saw, as the checker judges it. Every written value is unique, so that a value tells
 * which write it came from. Times are of one monotonic clock, in milliseconds: all clients are one process.
 */

/** How a write ended for the client that sent it. */
export type Outcome =
  /** The server answered that it is done, at this revision (for a delete: of the deletion, where the server tells). */
  | { readonly kind: "done"; readonly revision: number | undefined }
  /** The server answered that it is not done and never will be: a conflict, not found, refused. */
  | { readonly kind: "refused"; readonly why: string }
  /** No answer, or one that leaves it open. */
  | { readonly kind: "unknown"; readonly why: string };

export interface Write {
  readonly client: string;
  readonly key: string;
  /** Absent for a delete. */
  readonly value?: string;
  /** Undefined: the key must not exist. */
  readonly expectedRevision: number | undefined;
  readonly startMs: number;
  readonly endMs: number;
  readonly outcome: Outcome;
}

/** One state of a key, as a client saw it. */
export interface Seen {
  readonly key: string;
  readonly revision: number;
  readonly value: string;
}

/** A consistent read of one key or of all. */
export interface Read {
  readonly client: string;
  /** Absent: all keys. */
  readonly key?: string;
  readonly startMs: number;
  /** Of the list; of a single get, the object's, or undefined when there was none. */
  readonly revision: number | undefined;
  readonly found: readonly Seen[];
}

/** A change: in the order of revisions they are the truth. */
export interface Change extends Seen {
  readonly type: "put" | "delete";
}

/** What one watcher was told, over all servers that it was connected to. */
export interface Watched {
  readonly watcher: string;
  /** It saw nothing up to this revision, and should have seen all after it. */
  readonly afterRevision: number;
  /** The last revision that it was to see before it stopped. */
  readonly upToRevision: number;
  readonly changes: readonly Change[];
}

export interface History {
  readonly writes: readonly Write[];
  readonly reads: readonly Read[];
  readonly watched: readonly Watched[];
  /** Every change since the beginning, from the store itself at the end. */
  readonly changes: readonly Change[];
  /** Each server's own list at the end, when all is quiet. */
  readonly finals: readonly { readonly server: string; readonly found: readonly Seen[] }[];
}
