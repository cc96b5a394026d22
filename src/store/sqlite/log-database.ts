import Database from "better-sqlite3";
import { CompactedError, FutureRevisionError } from "../store.ts";
import { checkLog, checkPages } from "./check-file.ts";
import type { SqliteFailure } from "./sqlite-failure.ts";

/** A row of the log as SQLite returns it. */
export interface LogRow {
  revision: number;
  key: string;
  deleted: number;
  createRevision: number;
  previousRevision: number | null;
  value: Buffer;
  expiresAtMs: number | null;
}

/** One conditional write. `expected` 0 means "must not exist"; `value` absent means "delete". */
export interface LogWrite {
  readonly key: string;
  readonly value?: Uint8Array;
  readonly expected: number;
  /** Milliseconds since the epoch at which the store deletes the key. */
  readonly expiresAtMs?: number;
}

export type LogWriteResult =
  | { readonly ok: true; readonly revision: number; readonly previous?: LogRow }
  | { readonly ok: false; readonly current?: LogRow };

/** Sorts after every key that starts with the prefix it is appended to. */
const afterAnyKey = "\u{10FFFF}";

/** Rows that one sweep step looks at: a few milliseconds of work. */
const sweepStep = 500;

/** What has to fit on a disk that was full before it counts as having room. */
const probeBytes = 65_536;

const columns = `revision, key, deleted, create_revision AS createRevision, previous_revision AS previousRevision, value,
  expires_at AS expiresAtMs`;

/**
 * The revisioned log in one SQLite file: every write is a row, and the newest row of a key is its state. All calls are
 * synchronous; they run in the store's worker thread.
 */
export class LogDatabase {
  readonly #db: Database.Database;
  readonly #newest: Database.Statement<[string], LogRow>;
  readonly #byRevision: Database.Statement<[number], LogRow>;
  readonly #insert: Database.Statement<[number, string, number, number, number | null, Uint8Array, number | null]>;
  readonly #list: Database.Statement<[string, string, number, number], LogRow>;
  readonly #history: Database.Statement<[string, string, number, number], LogRow>;
  readonly #expired: Database.Statement<[number, number], { key: string; revision: number }>;
  readonly #keepHistory: Database.Statement<[number]>;
  readonly #sweepEnd: Database.Statement<[number, number, number], { revision: number }>;
  readonly #setMeta: Database.Statement<[string, number]>;
  #head: number;
  #compacted: number;
  #swept: number;
  /** Starts anywhere: SQLite would not write what is there already. */
  #touches = Math.floor(Math.random() * 2 ** 48);

  /**
   * Opens or creates the file at `path`. Throws SqliteError when it cannot be opened or written, is damaged (SQLITE_CORRUPT),
   * or another process has it.
   */
  constructor(path: string, options: { nativeBinding?: string } = {}) {
    const { unclean } = checkLog(path);
    this.#db = new Database(path, { timeout: 2000, ...options });
    const db = this.#db;
    // One process owns the file: exclusive mode spares the shared-memory index, and refuses a second server.
    db.pragma("locking_mode = EXCLUSIVE");
    // Of a new file. A commit writes whole pages: half the usual size makes the leases of an idle cluster cost about 1 kB/s
    // less, for up to two fifths of the rows a second that batches reach, which is ten times what the API asks for.
    db.pragma("page_size = 2048");
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    db.pragma("journal_size_limit = 16777216");
    db.pragma("cache_size = -4096");
    db.exec(`
      CREATE TABLE IF NOT EXISTS log (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        deleted INTEGER NOT NULL,
        create_revision INTEGER NOT NULL,
        previous_revision INTEGER,
        value BLOB NOT NULL,
        expires_at INTEGER
      );
      CREATE UNIQUE INDEX IF NOT EXISTS log_key ON log (key, revision);
      CREATE INDEX IF NOT EXISTS log_expiry ON log (expires_at) WHERE expires_at IS NOT NULL;
      CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    `);
    checkPages(db, { bytes: this.size(), unclean });
    // Says whether the file may be written, and writes nothing.
    db.exec("BEGIN IMMEDIATE; COMMIT");
    this.#newest = db.prepare(`SELECT ${columns} FROM log WHERE key = ? ORDER BY revision DESC LIMIT 1`);
    this.#byRevision = db.prepare(`SELECT ${columns} FROM log WHERE revision = ?`);
    this.#insert = db.prepare("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)");
    // SQLite takes the other columns of an aggregate from the row that holds the maximum.
    this.#list = db.prepare(`
      SELECT max(revision) AS revision, key, deleted, create_revision AS createRevision,
             previous_revision AS previousRevision, value, expires_at AS expiresAtMs
      FROM log WHERE key >= ? AND key < ? AND revision <= ? GROUP BY key HAVING deleted = 0 ORDER BY key LIMIT ?`);
    this.#history = db.prepare(`
      SELECT ${columns} FROM log NOT INDEXED
      WHERE key >= ? AND key < ? AND revision > ? ORDER BY revision LIMIT ?`);
    this.#expired = db.prepare(
      "SELECT key, revision FROM log WHERE expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?",
    );
    this.#keepHistory = db.prepare("UPDATE log SET expires_at = NULL WHERE revision = ?");
    this.#sweepEnd = db.prepare(
      "SELECT revision FROM log WHERE revision >= ? AND revision < ? ORDER BY revision LIMIT 1 OFFSET ?",
    );
    this.#setMeta = db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)");
    this.#head = 0;
    this.#compacted = 0;
    this.#swept = 0;
    this.#readState();
  }

  #readState(): void {
    const meta = new Map(
      (this.#db.prepare("SELECT name, value FROM meta").all() as { name: string; value: number }[]).map((row) => [
        row.name,
        row.value,
      ]),
    );
    const newest = this.#db.prepare("SELECT max(revision) AS head FROM log").get() as { head: number | null };
    this.#head = Math.max(newest.head ?? 0, meta.get("head") ?? 0);
    this.#compacted = meta.get("compacted") ?? 0;
    this.#swept = meta.get("swept") ?? 0;
  }

  get head(): number {
    return this.#head;
  }

  get compacted(): number {
    return this.#compacted;
  }

  get(key: string): LogRow | undefined {
    const row = this.#newest.get(key);
    return row && !row.deleted ? row : undefined;
  }

  /**
   * Runs the writes in one durable transaction, each with its own compare. Throws when the transaction as a whole
   * failed; then none of them happened, unless `committing` is set on the error.
   */
  write(writes: readonly LogWrite[]): LogWriteResult[] {
    const results: LogWriteResult[] = [];
    const headBefore = this.#head;
    this.#db.exec("BEGIN IMMEDIATE");
    let committing = false;
    try {
      for (const write of writes) results.push(this.#writeOne(write));
      committing = true;
      this.#db.exec("COMMIT");
      return results;
    } catch (error) {
      this.#rollBack();
      this.#head = headBefore;
      throw Object.assign(error as Error, { committing: committing && !this.#isUndone(error as SqliteFailure) });
    }
  }

  /** SQLite has rolled back by itself after most errors of a disk; the error before it is the one to tell. */
  #rollBack(): void {
    try {
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
    } catch {
      // The next transaction says what is wrong.
    }
  }

  /**
   * Whether a transaction whose commit failed will never be seen. For this process it is undone; but where the disk failed
   * it may stand complete in the write-ahead log, and come back after a crash, until the next one is written over it.
   */
  #isUndone({ code }: SqliteFailure): boolean {
    // The commit's mark is the last that is written, and synced then.
    if (!code?.startsWith("SQLITE_IOERR") || code === "SQLITE_IOERR_WRITE") return true;
    try {
      this.#touch();
      return true;
    } catch {
      return false;
    }
  }

  /** Writes something that means nothing. */
  #touch(): void {
    this.#touches++;
    this.#setMeta.run("touches", this.#touches);
  }

  /** Throws when there is no room for a few writes, or the disk fails. Leaves nothing behind. */
  probe(): void {
    this.#db.prepare("INSERT OR REPLACE INTO meta VALUES ('probe', randomblob(?))").run(probeBytes);
    this.#db.prepare("DELETE FROM meta WHERE name = 'probe'").run();
  }

  #writeOne({ key, value, expected, expiresAtMs }: LogWrite): LogWriteResult {
    const newest = this.#newest.get(key);
    const current = newest && !newest.deleted ? newest : undefined;
    if ((current?.revision ?? 0) !== expected) return { ok: false, ...(current ? { current } : {}) };
    if (!current && value === undefined) return { ok: false };
    const revision = this.#head + 1;
    this.#insert.run(
      revision,
      key,
      value === undefined ? 1 : 0,
      current?.createRevision ?? revision,
      current?.revision ?? null,
      value ?? Buffer.alloc(0),
      expiresAtMs ?? null,
    );
    // Only the newest row of a key may expire.
    if (current && current.expiresAtMs !== null) this.#keepHistory.run(current.revision);
    this.#head = revision;
    return { ok: true, revision, ...(current ? { previous: current } : {}) };
  }

  /** Entries below `prefix` as of `revision`, in key order, at most `limit`. */
  list(
    prefix: string,
    options: { after?: string; revision?: number; limit: number },
  ): { rows: LogRow[]; revision: number } {
    const revision = options.revision ?? this.#head;
    if (revision > this.#head) throw new FutureRevisionError(revision, this.#head);
    if (revision < this.#compacted) throw new CompactedError(revision, this.#compacted);
    // The smallest key above `after` is `after` with a zero byte.
    const from = options.after === undefined ? prefix : `${options.after}\0`;
    const rows = this.#list.all(from, prefix + afterAnyKey, revision, options.limit);
    return { rows, revision };
  }

  /** Changes below `prefix` after a revision, oldest first, each with the row it replaced. */
  history(
    prefix: string,
    afterRevision: number,
    limit: number,
  ): { rows: { row: LogRow; previous?: LogRow }[]; upTo: number } {
    if (afterRevision < this.#compacted) throw new CompactedError(afterRevision, this.#compacted);
    const rows = this.#history.all(prefix, prefix + afterAnyKey, afterRevision, limit);
    const last = rows.at(-1);
    return {
      rows: rows.map((row) => {
        const previous = row.previousRevision === null ? undefined : this.#byRevision.get(row.previousRevision);
        return { row, ...(previous ? { previous } : {}) };
      }),
      upTo: rows.length === limit && last ? last.revision : this.#head,
    };
  }

  /** Keys whose time has come, oldest first, as deletes to be written. */
  expired(nowMs: number, limit: number): LogWrite[] {
    return this.#expired.all(nowMs, limit).map(({ key, revision }) => ({ key, expected: revision }));
  }

  /** When the next key expires, in milliseconds since the epoch. */
  nextExpiryMs(): number | undefined {
    const row = this.#db.prepare("SELECT min(expires_at) AS at FROM log WHERE expires_at IS NOT NULL").get() as {
      at: number | null;
    };
    return row.at ?? undefined;
  }

  /** Makes history below `revision` unreadable; {@link sweep} removes its rows. */
  compact(revision: number): void {
    if (revision > this.#head) throw new FutureRevisionError(revision, this.#head);
    if (revision <= this.#compacted) return;
    this.#setMeta.run("compacted", revision);
    this.#compacted = revision;
  }

  /** Makes the next revision higher than `above`. */
  raise(above: number): void {
    if (above <= this.#head) return;
    this.#setMeta.run("head", above);
    this.#head = above;
  }

  /** Removes a few compacted rows; false when none are left. Restarts where it stopped, also after a crash. */
  sweep(): boolean {
    const from = this.#swept;
    if (from >= this.#compacted) return false;
    // By rows and not by numbers: revisions that were raised have wide gaps.
    const to = this.#sweepEnd.get(from, this.#compacted, sweepStep)?.revision ?? this.#compacted;
    this.#db.transaction(() => {
      this.#db
        .prepare(
          `DELETE FROM log WHERE revision IN
             (SELECT previous_revision FROM log WHERE revision >= ? AND revision < ? AND previous_revision IS NOT NULL)`,
        )
        .run(from, to);
      this.#db.prepare("DELETE FROM log WHERE revision >= ? AND revision < ? AND deleted = 1").run(from, to);
      this.#setMeta.run("swept", to);
    })();
    this.#swept = to;
    return to < this.#compacted;
  }

  /**
   * Copies the database into a file that is there and empty, a few pages at a time, so that other calls come in between:
   * what they write is in the copy, too, which is one state at the end.
   */
  async copy(to: string): Promise<void> {
    await this.#db.backup(to);
  }

  /** Bytes of the database file. */
  size(): number {
    return (
      (this.#db.pragma("page_count", { simple: true }) as number) *
      (this.#db.pragma("page_size", { simple: true }) as number)
    );
  }

  close(): void {
    this.#db.close();
  }
}
