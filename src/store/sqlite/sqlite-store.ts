import { mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Worker } from "node:worker_threads";
import { type Clock, ioClock as machineClock, type Timer } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { ExpiryTimer } from "../expiry-timer.ts";
import {
  DamagedError,
  type Entry,
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
import { Packer, type Replies, type Reply, type Request } from "./messages.ts";
import { checkInWorker, startWorker } from "./start-worker.ts";
import { pageEvents, ReadOnlyError, toEntry, toError, toResult } from "./wire-results.ts";
import { WorkerCalls } from "./worker-calls.ts";

export interface SqliteStoreOptions {
  /** The database file; its folder is made. */
  readonly path: string;
  readonly logger: Logger;
  /** Cluster time: life times and the compaction schedule follow it. */
  readonly clock: Clock;
  /** For deadlines and new attempts; default: the machine's. */
  readonly ioClock?: Clock;
  /** better-sqlite3's native addon, where it does not stand in the package's own folder. */
  readonly nativeBinding?: string;
}

/** History younger than this is kept, and compaction runs this often (etcd's and the API server's own figure). */
const compactionIntervalMs = 5 * 60 * 1000;
/** Rows a message: large enough to be cheap, small enough that no piece of work holds a thread for long. */
const pageSize = 500;

/** How long a disk may take: more than a busy one ever does, and less than clients wait. */
const patienceMs = 20_000;
/** Between attempts to find out whether a problem is over; each takes twice as long as the one before. */
const firstProbeMs = 1000;
const longestProbeMs = 10_000;

/**
 * Opens (or creates) the SQLite store. Rejects with ConfigurationError when the file is damaged or cannot be written, and
 * with UnavailableError when it cannot be used now.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  try {
    await mkdir(dirname(options.path), { recursive: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const forGood = code !== undefined && ["EROFS", "EACCES", "EPERM", "ENOTDIR", "EEXIST"].includes(code);
    throw new (forGood ? ConfigurationError : UnavailableError)(`cannot make the database's folder: ${message}`);
  }
  const store = new SqliteStore(options);
  try {
    await store.open();
    return store;
  } catch (error) {
    const forGood = error instanceof DamagedError || error instanceof ReadOnlyError;
    throw forGood ? new ConfigurationError(error.message) : error;
  }
}

class SqliteStore implements Store {
  readonly exclusive = true;
  readonly #worker: Worker;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #nativeBinding: string | undefined;
  readonly #ioClock: Clock;
  readonly #calls: WorkerCalls;
  readonly #watches: WatchSet;
  readonly #queue: WriteQueue;
  #head = 0;
  #compacted = 0;
  /** The head at the last compaction tick: what lies below is old enough at the next. */
  #headAtLastTick = 0;
  #compactionTimer: Timer | undefined;
  readonly #expiryTimer: ExpiryTimer;
  #closed: Error | undefined;
  /** Why the last write failed; a write that succeeds ends it. */
  #problem: string | undefined;
  #probe: Timer | undefined;
  #damage: DamagedError | undefined;

  constructor({ path, logger, clock, ioClock = machineClock, nativeBinding }: SqliteStoreOptions) {
    this.#clock = clock;
    this.#ioClock = ioClock;
    const name = `the database file "${path}"`;
    this.#queue = new WriteQueue((batch) => this.#commit(batch), { clock: ioClock, patienceMs, store: name });
    this.#calls = new WorkerCalls({
      clock: ioClock,
      patienceMs,
      name,
      post: (message, transfer) => this.#worker.postMessage(message, transfer),
      onSilence: (silent) => {
        if (silent) logger.error({ path }, "The disk of the database does not answer");
        else logger.info({ path }, "The disk of the database answers again");
      },
    });
    this.#logger = logger;
    this.#nativeBinding = nativeBinding;
    this.#watches = new WatchSet(logger);
    this.#expiryTimer = new ExpiryTimer({
      clock,
      expire: () => this.#expire(),
      onError: (error) => logger.warn({ err: error }, "Deleting expired keys failed; it is tried again"),
    });
    this.#worker = startWorker("sqlite", { path, nativeBinding });
    this.#worker.on("message", (reply: Reply) => this.#onReply(reply));
    this.#worker.on("error", (error) =>
      this.#break(new UnavailableError(`the SQLite store at ${path} failed: ${error.message}`)),
    );
    this.#worker.on("exit", () => this.#break(new UnavailableError(`the SQLite store at ${path} stopped`)));
  }

  async open(): Promise<void> {
    const state = await this.#call<"state">({ do: "state" });
    this.#head = state.head;
    this.#compacted = state.compacted;
    this.#headAtLastTick = state.head;
    this.#expiryTimer.arm(state.nextExpiryMs);
    this.#armCompaction();
  }

  async get(key: string): Promise<Entry | undefined> {
    const { row, bytes } = await this.#call<"get">({ do: "get", key });
    return row && toEntry(row, bytes);
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListResult> {
    const wanted = options.limit ?? Number.POSITIVE_INFINITY;
    const entries: Entry[] = [];
    let { after, revision } = options;
    for (;;) {
      // One more than wanted tells whether there is more.
      const limit = Math.min(pageSize, wanted - entries.length + 1);
      const request: Request = {
        do: "list",
        prefix,
        limit,
        ...(after === undefined ? {} : { after }),
        ...(revision === undefined ? {} : { revision }),
      };
      const page = await this.#call<"list">(request);
      revision = page.revision;
      for (const row of page.rows) entries.push(toEntry(row, page.bytes));
      if (entries.length > wanted) return { entries: entries.slice(0, wanted), revision, more: true };
      if (page.rows.length < limit) return { entries, revision, more: false };
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

  async #historyPage(prefix: string, afterRevision: number): Promise<HistoryPage> {
    const page = await this.#call<"history">({ do: "history", prefix, afterRevision, limit: pageSize });
    return { events: pageEvents(page), upTo: page.upTo, complete: page.upTo >= page.head };
  }

  async currentRevision(): Promise<number> {
    return (await this.#call<"state">({ do: "state" })).head;
  }

  async compact(revision: number): Promise<void> {
    const { compacted } = await this.#call<"compact">({ do: "compact", revision });
    this.#compacted = compacted;
    // In small steps, so that writes go in between.
    while ((await this.#call<"sweep">({ do: "sweep" })).more);
  }

  async compactedRevision(): Promise<number> {
    this.#assertOpen();
    return this.#compacted;
  }

  async raiseRevision(above: number): Promise<void> {
    const { head } = await this.#call<"raise">({ do: "raise", above });
    if (head === this.#head) return;
    this.#head = head;
    this.#watches.emit([], head);
    await this.compact(head);
  }

  problem(): string | undefined {
    return this.#closed?.message ?? this.#damage?.message ?? this.#calls.silence ?? this.#problem;
  }

  async size(): Promise<number> {
    return (await this.#call<"state">({ do: "state" })).size;
  }

  async snapshot(path: string): Promise<{ readonly revision: number }> {
    this.#assertOpen();
    const file = await open(path, "wx", 0o600);
    try {
      await this.#call<"copy">({ do: "copy", to: path });
      const revision = await checkInWorker(path, this.#nativeBinding);
      await file.sync();
      return { revision };
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await file.close();
    }
  }

  async close(): Promise<void> {
    if (this.#closed instanceof StoreClosedError) return;
    this.#compactionTimer?.cancel();
    this.#expiryTimer.stop();
    this.#probe?.cancel();
    await this.#queue.drained();
    if (this.#closed) return;
    const closing = this.#call<"close">({ do: "close" });
    this.#closed = new StoreClosedError();
    await closing;
    await this.#worker.terminate();
    // A copy that was not finished.
    this.#calls.fail(() => new StoreClosedError());
  }

  #expiry(ttlSeconds: number | undefined): { expiresAtMs?: number } {
    return ttlSeconds === undefined ? {} : { expiresAtMs: this.#clock.now() + ttlSeconds * 1000 };
  }

  #assertOpen(): void {
    if (this.#closed) throw this.#closed;
  }

  #call<K extends keyof Replies>(request: Request, transfer: ArrayBuffer[] = []): Promise<Replies[K]> {
    return this.#closed ? Promise.reject(this.#closed) : this.#calls.call<K>(request, transfer);
  }

  /**
   * Replies come in the order of the worker's work. `resolve` callbacks run as microtasks before the next message is
   * taken from the port, so what follows an `await` here keeps that order.
   */
  #onReply(reply: Reply): void {
    if (reply.id === 0 && !reply.ok) {
      this.#break(toError(reply.error));
      return;
    }
    this.#calls.settle(reply, (error) => {
      const failure = toError(error);
      if (failure instanceof DamagedError) this.#noteDamage(failure);
      return failure;
    });
  }

  #noteDamage(damage: DamagedError): void {
    if (this.#damage) return;
    this.#damage = damage;
    this.#probe?.cancel();
    this.#compactionTimer?.cancel();
    this.#expiryTimer.stop();
    this.#logger.error({ err: damage }, "The database is damaged");
  }

  #write(write: QueuedWrite): Promise<WriteResult> {
    if (this.#closed ?? this.#damage) return Promise.reject(this.#closed ?? this.#damage);
    // It would wait for nothing.
    const { silence } = this.#calls;
    return silence === undefined
      ? this.#queue.push(write)
      : Promise.reject(new UnavailableError(`${silence}; nothing was written`));
  }

  async #commit(batch: readonly QueuedWrite[]): Promise<CommittedBatch> {
    const packer = new Packer();
    const writes = batch.map(({ key, value, expected, expiresAtMs }) => ({
      key,
      expected,
      ...(value ? { value: packer.add(value) } : {}),
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    }));
    const packed = packer.finish();
    try {
      const reply = await this.#call<"write">({ do: "write", writes, bytes: packed }, [packed]);
      this.#solved();
      const results = reply.results.map((result) => toResult(result, reply.bytes));
      // Caches learn of a commit before its request is answered.
      this.#emit(eventsOf(batch, results));
      for (const [index, { expiresAtMs }] of batch.entries())
        if (results[index]!.ok) this.#expiryTimer.arm(expiresAtMs);
      return { results };
    } catch (error) {
      this.#failed(error as Error);
      throw error;
    }
  }

  #failed(error: Error): void {
    if (this.#closed || this.#damage) return;
    if (this.#problem === undefined) this.#logger.error({ err: error }, "The database takes no writes");
    this.#problem = error.message;
    if (!this.#probe) this.#armProbe(firstProbeMs);
  }

  #solved(): void {
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#probe?.cancel();
    this.#probe = undefined;
    this.#logger.info("The database takes writes again");
  }

  /** Nobody may write while the server says that it is not ready: it has to find out by itself when it can. */
  #armProbe(delayMs: number): void {
    const timer = this.#ioClock.after(delayMs, async () => {
      const failure = await this.#call<"probe">({ do: "probe" }).then(
        () => undefined,
        (error: Error) => error,
      );
      // A write may have succeeded meanwhile, or all may have ended.
      if (this.#probe !== timer || this.#closed || this.#damage) return;
      if (!failure) return this.#solved();
      this.#problem = failure.message;
      this.#armProbe(Math.min(longestProbeMs, 2 * delayMs));
    });
    this.#probe = timer;
  }

  #emit(events: StoreEvent[]): void {
    const last = events.at(-1);
    if (!last) return;
    this.#head = last.revision;
    this.#watches.emit(events, last.revision);
  }

  #armCompaction(): void {
    this.#compactionTimer = this.#clock.after(compactionIntervalMs, () => {
      const revision = this.#headAtLastTick;
      this.#headAtLastTick = this.#head;
      this.#armCompaction();
      if (revision <= this.#compacted) return;
      this.compact(revision).catch((error) => {
        if (!this.#closed)
          this.#logger.warn({ err: error, revision }, "Compacting the store failed; it is tried again");
      });
    });
  }

  async #expire(): Promise<number | undefined> {
    const { deleted, bytes, nextExpiryMs } = await this.#call<"expire">({ do: "expire", nowMs: this.#clock.now() });
    this.#emit(
      deleted.map(({ revision, previous }) => ({
        type: "delete",
        key: previous.key,
        revision,
        previous: toEntry(previous, bytes),
      })),
    );
    return nextExpiryMs;
  }

  /** The worker is gone: writes under way have an unknown outcome, and nothing further is possible. */
  #break(error: Error): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#compactionTimer?.cancel();
    this.#expiryTimer.stop();
    this.#probe?.cancel();
    const opening = this.#head === 0;
    if (!opening) this.#logger.error({ err: error }, "The store failed");
    this.#calls.fail((asked) => (opening || asked !== "write" ? error : new UnknownOutcomeError(error.message)));
    this.#watches.fail(error);
  }
}
