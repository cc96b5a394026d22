import type { Clock } from "../../machinery/clock.ts";
import { CompactedError, type StoreEvent } from "../store.ts";
import type { LogChange, LogPage, SqlSession } from "./sql-database.ts";

export interface LogTailOptions {
  /** The io clock. */
  readonly clock: Clock;
  /** Reads a page of the log after a revision, of all keys. */
  readonly read: (afterRevision: number) => Promise<LogPage<LogChange>>;
  /** Takes every change once, in the order of revisions, and the revision up to which these were all. */
  readonly onChanges: (changes: readonly LogChange[], progress: number) => void;
  /** Changes were missed for good: what was delivered does not go on where it ended. */
  readonly onGap: (error: CompactedError) => void;
  /** The database has lost writes that this process was told of; `revisions` are counted on above them now. */
  readonly onLostWrites: (revisions: { readonly seen: number; readonly found: number; readonly now: number }) => void;
}

/** How long the answer of an own write is held back when others' changes before it cannot be read. */
const patienceMs = 10_000;
/** Other servers may have been told of more than this one: revisions go on so far above. */
const lostWritesMargin = 1000;

/**
 * Where this process stands in the log. Own batches and what is read of other servers' writes come together here: each
 * change is handed on once, in order, whoever made it.
 */
export class LogTail {
  readonly #options: LogTailOptions;
  #position: number | undefined;
  /** The last change that was handed on: a database that does not have it is not the one that we knew. */
  #anchor: StoreEvent | undefined;
  #wanted = 0;
  #reading: Promise<void> | undefined;
  readonly #waiting: { readonly revision: number; readonly resolve: () => void }[] = [];

  constructor(options: LogTailOptions) {
    this.#options = options;
  }

  /** Everything up to here was handed on. */
  get position(): number {
    return this.#position ?? 0;
  }

  start(revision: number): void {
    this.#position = revision;
  }

  /** Reads on until everything up to `revision` was handed on. Rejects when the log cannot be read. */
  reach(revision: number): Promise<void> {
    this.#wanted = Math.max(this.#wanted, revision);
    this.#reading ??= this.#readOn().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /**
   * Takes the changes of an own batch, which lie between `before` and `head`. They are handed on before it returns; where
   * others' changes come first, before the promise that it returns resolves.
   */
  own(changes: readonly LogChange[], before: number, head: number): Promise<void> | undefined {
    if (before > this.position) return this.#ownAfterOthers(changes, before, head);
    this.#advance(changes, head);
    return undefined;
  }

  /** Goes on at `head`, with nothing in between: revisions were raised from where this process stands. */
  raised(before: number, head: number): void {
    if (before === this.position) this.#advance([], head);
  }

  /**
   * Makes sure that a new connection leads to the log that this process knows: a database that failed over may lack what
   * was acknowledged, and would hand out its revisions twice. Then it is told to count on above them, and everybody to
   * read anew.
   */
  async verify(session: SqlSession): Promise<void> {
    // Before the database is asked: what is written meanwhile moves both.
    const position = this.#position;
    const anchor = this.#anchor;
    const { head, compacted } = await session.state();
    if (position === undefined) return;
    if (head >= position) {
      if (!anchor || anchor.revision <= compacted) return;
      const page = await session.history("", anchor.revision - 1, 1);
      if (page.compacted >= anchor.revision || isSame(page.rows[0]?.event, anchor)) return;
    }
    const now = Math.max(head, position) + lostWritesMargin;
    await session.raise(now);
    if (this.#anchor !== anchor || this.#position !== position) return;
    this.#restart(now);
    this.#options.onLostWrites({ seen: position, found: head, now });
    this.#options.onGap(new CompactedError(position, now));
  }

  async #ownAfterOthers(changes: readonly LogChange[], before: number, head: number): Promise<void> {
    const late = new AbortController();
    // Where reading fails, whoever follows the log tries it again.
    this.reach(before).catch(() => {});
    const patience = this.#options.clock.sleep(patienceMs, late.signal).catch(() => {});
    await Promise.race([this.#reached(before), patience]);
    late.abort();
    if (this.position >= before) this.#advance(changes, head);
  }

  #reached(revision: number): Promise<void> {
    if (this.position >= revision) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ revision, resolve }));
  }

  async #readOn(): Promise<void> {
    while (this.position < this.#wanted) {
      const after = this.position;
      const { rows, head, compacted } = await this.#options.read(after);
      if (after < compacted && this.position === after) {
        this.#restart(Math.max(after, head));
        this.#options.onGap(new CompactedError(after, compacted));
        continue;
      }
      this.#advance(rows, rows.at(-1)?.event.revision ?? head);
      // The head that was wanted is gone: another database answers now, and a new connection will tell.
      if (rows.length === 0 && head < this.#wanted) return;
    }
  }

  /** Hands on those of the changes that are new; they are all up to `to`. */
  #advance(changes: readonly LogChange[], to: number): void {
    const from = this.position;
    if (to <= from) return;
    const fresh =
      changes[0] && changes[0].event.revision <= from ? changes.filter((c) => c.event.revision > from) : changes;
    this.#position = to;
    this.#anchor = fresh.at(-1)?.event ?? this.#anchor;
    this.#options.onChanges(fresh, to);
    this.#release();
  }

  #restart(at: number): void {
    this.#position = at;
    this.#anchor = undefined;
    this.#release();
  }

  #release(): void {
    const due = this.#waiting.filter(({ revision }) => revision <= this.position);
    if (due.length === 0) return;
    const later = this.#waiting.filter(({ revision }) => revision > this.position);
    this.#waiting.splice(0, this.#waiting.length, ...later);
    for (const { resolve } of due) resolve();
  }
}

function isSame(found: StoreEvent | undefined, known: StoreEvent): boolean {
  return (
    found?.revision === known.revision &&
    found.key === known.key &&
    found.type === known.type &&
    (!known.entry || found.entry?.value.equals(known.entry.value) === true)
  );
}
