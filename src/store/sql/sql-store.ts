import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { ExpiryTimer } from "../expiry-timer.ts";
import {
  CompactedError,
  type Entry,
  FutureRevisionError,
  type ListOptions,
  type ListResult,
  type Store,
  StoreClosedError,
  type StoreEvent,
  UnavailableError,
  UnknownOutcomeError,
  type WatchOptions,
  type WriteResult,
} from "../store.ts";
import { type HistoryPage, WatchSet } from "../watch-set.ts";
import { type CommittedBatch, eventsOf, type QueuedWrite, WriteQueue } from "../write-queue.ts";
import { statementTimeoutMs, withinDeadline } from "./deadline.ts";
import { LogTail } from "./log-tail.ts";
import { SessionPool } from "./session-pool.ts";
import { type LogWriteResult, type SqlDatabase, SqlFailure, type SqlSession } from "./sql-database.ts";
import { SqlWriter } from "./sql-writer.ts";

export interface SqlStoreOptions {
  readonly database: SqlDatabase;
  /** Cluster time: life times and the compaction schedule follow it. */
  readonly clock: Clock;
  /** For deadlines and new attempts. */
  readonly ioClock: Clock;
  readonly logger: Logger;
}

/** History younger than this is kept, and compaction runs this often (etcd's and the API server's own figure). */
const compactionIntervalMs = 5 * 60 * 1000;
/** Rows a page. */
const pageSize = 500;
/** Keys that are deleted at once when they expire. */
const expiryBatch = 200;
/** Whoever wrote a key deletes it; the others look so much later, for the case that it is gone. */
const othersExpiryDelayMs = 5000;
/** How long a write waits for those before it and its own batch, which takes half of that at most but for finding out. */
const writePatienceMs = 2 * statementTimeoutMs;
/** Connections for reads; one more writes, and one listens. */
const readers = 4;
/** Between attempts to reach a database that went away. */
const reconnectDelayMs = 1000;

/** What of the database does not answer: each is told by itself, and ends by itself. */
type Part = "reading" | "writing" | "following";

/** Opens the store in a database. Rejects with UnavailableError when it cannot be reached, or with ConfigurationError. */
export async function openSqlStore(options: SqlStoreOptions): Promise<Store> {
  const store = new SqlStore(options);
  await store.open();
  return store;
}

class SqlStore implements Store {
  readonly #database: SqlDatabase;
  readonly #clock: Clock;
  readonly #ioClock: Clock;
  readonly #logger: Logger;
  readonly #readers: SessionPool;
  readonly #writer: SqlWriter;
  readonly #tail: LogTail;
  readonly #watches: WatchSet;
  readonly #queue: WriteQueue;
  readonly #expiryTimer: ExpiryTimer;
  readonly #problems = new Map<Part, string>();
  readonly #stopped = new AbortController();
  #listener: SqlSession | undefined;
  #following: Promise<void> | undefined;
  #compactionTimer: Timer | undefined;
  #compactions = 0;
  /** The head at the last compaction tick: what lies below is old enough at the next. */
  #headAtLastTick = 0;
  /** The compaction on schedule that is under way. */
  #compacting: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor({ database, clock, ioClock, logger }: SqlStoreOptions) {
    this.#database = database;
    this.#clock = clock;
    this.#ioClock = ioClock;
    this.#logger = logger;
    const connect = () => this.#connect();
    const patience = { clock: ioClock, patienceMs: writePatienceMs, store: database.name };
    this.#queue = new WriteQueue((batch) => this.#commit(batch), patience, { keyOncePerBatch: true });
    this.#readers = new SessionPool({ connect, clock: ioClock, size: readers });
    this.#writer = new SqlWriter({ connect, clock: ioClock, read: (work) => this.#readers.use(work) });
    this.#watches = new WatchSet(logger);
    this.#expiryTimer = new ExpiryTimer({
      clock,
      expire: () => this.#expire(),
      onError: (error) => logger.warn({ err: error }, "Deleting expired keys failed; it is tried again"),
    });
    this.#tail = new LogTail({
      clock: ioClock,
      read: (after) => this.#read((session) => session.history("", after, pageSize)),
      onChanges: (changes, progress) => {
        for (const { expiresAtMs } of changes)
          if (expiresAtMs !== undefined) this.#expiryTimer.arm(expiresAtMs + othersExpiryDelayMs);
        this.#watches.emit(
          changes.map(({ event }) => event),
          progress,
        );
      },
      onGap: (error) => this.#watches.fail(error),
      onLostWrites: (revisions) =>
        logger.error(
          { database: database.name, ...revisions },
          "The datastore has lost writes that it had acknowledged; everything is read anew, and revisions go on above",
        ),
    });
  }

  async open(): Promise<void> {
    try {
      await this.#database.prepare();
      const { head, compactions } = await this.#readers.use((session) => session.state());
      this.#tail.start(head);
      this.#headAtLastTick = head;
      this.#compactions = compactions;
      this.#expiryTimer.arm(await this.#readers.use((session) => session.nextExpiryMs()));
    } catch (error) {
      this.#readers.close(new StoreClosedError());
      throw this.#translated(error);
    }
    this.#armCompaction();
    this.#following = this.#follow();
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#read((session) => session.get(key));
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListResult> {
    const wanted = options.limit ?? Number.POSITIVE_INFINITY;
    const entries: Entry[] = [];
    let { after = "", revision } = options;
    for (;;) {
      // One more than wanted tells whether there is more.
      const limit = Math.min(pageSize, wanted - entries.length + 1);
      const { rows, head, compacted } = await this.#read((session) => session.list(prefix, after, revision, limit));
      if (revision !== undefined && revision > head) throw new FutureRevisionError(revision, head);
      if (revision !== undefined && revision < compacted) throw new CompactedError(revision, compacted);
      revision ??= head;
      entries.push(...rows);
      if (entries.length > wanted) return { entries: entries.slice(0, wanted), revision, more: true };
      if (rows.length < limit) return { entries, revision, more: false };
      after = entries.at(-1)!.key;
    }
  }

  create(key: string, value: Buffer, options: { ttlSeconds?: number } = {}): Promise<WriteResult> {
    return this.#write({ key, value, expected: 0, ...this.#expiry(options.ttlSeconds) });
  }

  update(
    key: string,
    value: Buffer,
    expectedRevision: number,
    options: { ttlSeconds?: number } = {},
  ): Promise<WriteResult> {
    return this.#write({ key, value, expected: expectedRevision, ...this.#expiry(options.ttlSeconds) });
  }

  delete(key: string, expectedRevision: number): Promise<WriteResult> {
    return this.#write({ key, expected: expectedRevision });
  }

  watch(prefix: string, options: WatchOptions): Promise<() => void> {
    return this.#watches.add(prefix, options, (after) => this.#historyPage(prefix, after));
  }

  async *history(prefix: string, afterRevision: number): AsyncGenerator<readonly StoreEvent[], void> {
    for (let after = afterRevision; ; ) {
      const page = await this.#historyPage(prefix, after);
      if (page.events.length > 0) yield page.events;
      if (page.complete) return;
      after = page.upTo;
    }
  }

  async currentRevision(): Promise<number> {
    const { head } = await this.#read((session) => session.state());
    // Where news of a write is still on its way, or was lost, its watchers need not wait for it.
    if (head > this.#tail.position) this.#tail.reach(head).catch(() => {});
    return head;
  }

  async compact(revision: number): Promise<void> {
    const { head } = await this.#read((session) => session.state());
    if (revision > head) throw new FutureRevisionError(revision, head);
    await this.#read((session) => session.compact(revision));
    await this.#sweep();
  }

  async compactedRevision(): Promise<number> {
    await this.#compacting;
    return (await this.#read((session) => session.state())).compacted;
  }

  async raiseRevision(above: number): Promise<void> {
    await this.#queue.drained();
    await this.#tail.reach(await this.currentRevision());
    const before = await this.#read((session) => session.raise(above));
    if (before === undefined) return;
    this.#tail.raised(before, above);
    await this.#sweep();
  }

  size(): Promise<number> {
    return this.#read((session) => session.size());
  }

  problem(): string | undefined {
    return this.#problems.values().next().value;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#compactionTimer?.cancel();
    this.#expiryTimer.stop();
    await this.#queue.drained();
    this.#stopped.abort(new StoreClosedError());
    this.#listener?.close();
    this.#writer.close();
    this.#readers.close(new StoreClosedError());
    this.#database.close?.();
    await this.#following;
  }

  /** A connection that leads to a database that takes writes, and to the log that this process knows. */
  async #connect(): Promise<SqlSession> {
    const session = await this.#database.connect();
    try {
      await withinDeadline(this.#ioClock, session, statementTimeoutMs, () => this.#tail.verify(session));
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  #expiry(ttlSeconds: number | undefined): { expiresAtMs?: number } {
    return ttlSeconds === undefined ? {} : { expiresAtMs: this.#clock.now() + Math.round(ttlSeconds * 1000) };
  }

  async #read<T>(work: (session: SqlSession) => Promise<T>): Promise<T> {
    if (this.#stopped.signal.aborted) throw new StoreClosedError();
    try {
      const result = await this.#readers.use(work);
      this.#problems.delete("reading");
      return result;
    } catch (error) {
      throw this.#failed("reading", error);
    }
  }

  #write(write: QueuedWrite): Promise<WriteResult> {
    return this.#closing ? Promise.reject(new StoreClosedError()) : this.#queue.push(write);
  }

  async #commit(batch: readonly QueuedWrite[]): Promise<CommittedBatch> {
    try {
      const { before, head, results: found } = await this.#writer.commit(batch);
      this.#problems.delete("writing");
      const results = found.map(toResult);
      for (const [index, { expiresAtMs }] of batch.entries())
        if (results[index]!.ok) this.#expiryTimer.arm(expiresAtMs);
      // Caches learn of a commit before its request is answered.
      const delivered = this.#tail.own(
        eventsOf(batch, results).map((event) => ({ event })),
        before,
        head,
      );
      return delivered ? { results, delivered } : { results };
    } catch (error) {
      throw this.#failed("writing", error);
    }
  }

  async #historyPage(prefix: string, afterRevision: number): Promise<HistoryPage> {
    const { rows, head, compacted } = await this.#read((session) => session.history(prefix, afterRevision, pageSize));
    if (afterRevision < compacted) throw new CompactedError(afterRevision, compacted);
    const last = rows.at(-1);
    const full = rows.length === pageSize && last !== undefined;
    return {
      events: rows.map(({ event }) => event),
      upTo: full ? last.event.revision : Math.max(head, afterRevision),
      complete: !full,
    };
  }

  /** Keeps one connection that hears of other servers' writes; whenever it is new, what was missed is read. */
  async #follow(): Promise<void> {
    const { signal } = this.#stopped;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        const session = await this.#connect();
        this.#listener = session;
        // Closed meanwhile: whoever closed it did not know of this one.
        if (signal.aborted) return session.close();
        const within = <T>(work: () => Promise<T>) => withinDeadline(this.#ioClock, session, statementTimeoutMs, work);
        await within(() => session.listen());
        // What happened since the connection before this one is no news to anybody else.
        await this.#tail.reach((await within(() => session.state())).head);
        while (!signal.aborted) {
          const head = await within(() => session.nextHead(this.#tail.position));
          failures = 0;
          this.#problems.delete("following");
          this.#problems.delete("reading");
          if (head > this.#tail.position) await this.#tail.reach(head);
          if (this.#problems.has("writing")) await this.#probeWriter();
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#listener?.close();
        // A connection that was lost is replaced at once, and is no problem when that works.
        if (failures === 0) continue;
        const failed = this.#failed("following", error);
        this.#logger.warn({ err: failed }, "Other servers' changes cannot be heard of; it is tried again");
        await this.#ioClock.sleep(reconnectDelayMs, signal).catch(() => {});
      }
    }
  }

  /** No writes may come while the server says that it is not ready: it has to find out by itself when they can. */
  async #probeWriter(): Promise<void> {
    try {
      await this.#writer.probe();
      this.#problems.delete("writing");
    } catch (error) {
      this.#failed("writing", error);
    }
  }

  #armCompaction(): void {
    this.#compactionTimer = this.#clock.after(compactionIntervalMs, () => {
      const revision = this.#headAtLastTick;
      this.#headAtLastTick = this.#tail.position;
      this.#armCompaction();
      this.#compacting = this.#compacting
        .then(() => this.#compactOnSchedule(revision))
        .catch((error) => {
          if (!this.#closing)
            this.#logger.warn({ err: error, revision }, "Compacting the store failed; it is tried again");
        });
    });
  }

  /** Of several servers the first does it: the others find the count of compactions changed, and wait for the next. */
  async #compactOnSchedule(revision: number): Promise<void> {
    const first = await this.#read((session) => session.compact(revision, this.#compactions));
    this.#compactions = (await this.#read((session) => session.state())).compactions;
    if (first) await this.#sweep();
  }

  /** In small steps, so that writes go in between. */
  async #sweep(): Promise<void> {
    while (await this.#read((session) => session.sweep()));
  }

  async #expire(): Promise<number | undefined> {
    const nowMs = this.#clock.now();
    const due = await this.#read((session) => session.expired(nowMs, expiryBatch));
    // Another server may have been faster, or the key may have been written again: then the compare fails.
    await Promise.all(due.map(({ key, revision }) => this.#write({ key, expected: revision })));
    return this.#read((session) => session.nextExpiryMs());
  }

  /** Notes what does not work, and gives the error that callers are told. */
  #failed(part: Part, error: unknown): Error {
    const translated = this.#translated(error);
    const broken = translated instanceof UnavailableError || translated instanceof UnknownOutcomeError;
    if (broken && !this.#closing) this.#problems.set(part, translated.message);
    return translated;
  }

  #translated(error: unknown): Error {
    if (this.#stopped.signal.aborted) return new StoreClosedError();
    if (error instanceof SqlFailure) return new UnavailableError(`${this.#database.name}: ${error.message}`);
    if (error instanceof UnknownOutcomeError)
      return new UnknownOutcomeError(`${this.#database.name}: ${error.message}`);
    return error as Error;
  }
}

function toResult({ revision, current }: LogWriteResult): WriteResult {
  if (revision === undefined) return { ok: false, current };
  return { ok: true, revision, ...(current ? { previous: current } : {}) };
}
