import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
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
import { Packer, type Replies, type Reply, type Request, type WireError, type WireRow } from "./messages.ts";

export interface SqliteStoreOptions {
  /** The database file; its folder is made. */
  readonly path: string;
  readonly logger: Logger;
  /** Cluster time: life times and the compaction schedule follow it. */
  readonly clock: Clock;
  /** better-sqlite3's native addon, where it does not stand in the package's own folder. */
  readonly nativeBinding?: string;
}

/** History younger than this is kept, and compaction runs this often (etcd's and the API server's own figure). */
const compactionIntervalMs = 5 * 60 * 1000;
/** Expired keys are collected at most this often. */
const expiryGranularityMs = 1000;
/** Rows a message: large enough to be cheap, small enough that no piece of work holds a thread for long. */
const pageSize = 500;
/** Writes that are answered in one turn of the event loop. */
const answersPerTurn = 8;
/** A batch ends here, so that one transaction stays short. */
const batchBytes = 4 * 1024 * 1024;
const batchWrites = 1000;

interface PendingWrite {
  readonly key: string;
  readonly value?: Buffer;
  readonly expected: number;
  readonly expiresAtMs?: number;
  readonly resolve: (result: WriteResult) => void;
  readonly reject: (error: Error) => void;
}

interface Watcher extends WatchOptions {
  readonly prefix: string;
  live: boolean;
}

/** Opens (or creates) the SQLite store. Rejects with UnavailableError when the file cannot be used. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  try {
    await mkdir(dirname(options.path), { recursive: true });
  } catch (error) {
    throw new UnavailableError(`cannot make the database's folder: ${(error as Error).message}`);
  }
  const store = new SqliteStore(options);
  await store.open();
  return store;
}

class SqliteStore implements Store {
  readonly exclusive = true;
  readonly #worker: Worker;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #calls = new Map<number, { resolve: (reply: never) => void; reject: (error: Error) => void }>();
  readonly #watchers = new Set<Watcher>();
  #nextCall = 1;
  #queue: PendingWrite[] = [];
  #flushing: Promise<void> | undefined;
  #head = 0;
  #compacted = 0;
  /** The head at the last compaction tick: what lies below is old enough at the next. */
  #headAtLastTick = 0;
  #compactionTimer: Timer | undefined;
  #expiryTimer: Timer | undefined;
  #nextExpiryMs = Number.POSITIVE_INFINITY;
  #closed: Error | undefined;
  /** Why the last write failed; a write that succeeds ends it. */
  #problem: string | undefined;

  constructor({ path, logger, clock, nativeBinding }: SqliteStoreOptions) {
    this.#clock = clock;
    this.#logger = logger;
    // In the bundle the worker is an entry file of its own, beside the main one.
    const file = import.meta.url.endsWith(".ts") ? "./worker.ts" : "./sqlite-worker.mjs";
    this.#worker = new Worker(new URL(file, import.meta.url), {
      name: "sqlite",
      workerData: { path, nativeBinding },
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
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
    this.#armExpiry(state.nextExpiryMs);
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

  async watch(prefix: string, options: WatchOptions): Promise<() => void> {
    const watcher: Watcher = { ...options, prefix, live: false };
    // The first page decides whether the revision is still there; the rest follows on its own.
    const first = await this.#call<"history">(historyRequest(prefix, options.afterRevision));
    this.#watchers.add(watcher);
    if (this.#deliverHistory(watcher, first)) watcher.live = true;
    else void this.#catchUp(watcher, first.upTo);
    return () => this.#watchers.delete(watcher);
  }

  async *history(prefix: string, afterRevision: number): AsyncGenerator<readonly StoreEvent[], void> {
    for (let after = afterRevision; ; ) {
      const page = await this.#call<"history">(historyRequest(prefix, after));
      if (page.rows.length > 0) yield pageEvents(page);
      if (page.upTo >= page.head) return;
      after = page.upTo;
    }
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
    for (const watcher of this.#watchers) if (watcher.live) this.#deliver(watcher, [], head);
    await this.compact(head);
  }

  problem(): string | undefined {
    return this.#closed?.message ?? this.#problem;
  }

  async size(): Promise<number> {
    return (await this.#call<"state">({ do: "state" })).size;
  }

  async close(): Promise<void> {
    if (this.#closed instanceof StoreClosedError) return;
    this.#compactionTimer?.cancel();
    this.#expiryTimer?.cancel();
    while (this.#flushing) await this.#flushing;
    if (this.#closed) return;
    const closing = this.#call<"close">({ do: "close" });
    this.#closed = new StoreClosedError();
    await closing;
    await this.#worker.terminate();
  }

  #expiry(ttlSeconds: number | undefined): { expiresAtMs?: number } {
    return ttlSeconds === undefined ? {} : { expiresAtMs: this.#clock.now() + ttlSeconds * 1000 };
  }

  #assertOpen(): void {
    if (this.#closed) throw this.#closed;
  }

  #call<K extends keyof Replies>(request: Request, transfer: ArrayBuffer[] = []): Promise<Replies[K]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      const id = this.#nextCall++;
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ id, request }, transfer);
    });
  }

  /**
   * Replies come in the order of the worker's work. `resolve` callbacks run as microtasks before the next message is
   * taken from the port, so what follows an `await` here keeps that order.
   */
  #onReply(reply: Reply): void {
    const call = this.#calls.get(reply.id);
    this.#calls.delete(reply.id);
    if (!call) return;
    if (reply.ok) call.resolve(reply.reply as never);
    else call.reject(toError(reply.error));
  }

  #write(write: Omit<PendingWrite, "resolve" | "reject">): Promise<WriteResult> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      this.#queue.push({ ...write, resolve, reject });
      // A microtask later, so that the writes of one turn share a transaction.
      this.#flushing ??= Promise.resolve().then(() => this.#flush());
    });
  }

  /** Sends batch after batch; what arrives while one syncs makes up the next. */
  async #flush(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch();
      const packer = new Packer();
      const writes = batch.map(({ key, value, expected, expiresAtMs }) => ({
        key,
        expected,
        ...(value ? { value: packer.add(value) } : {}),
        ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
      }));
      const bytes = packer.finish();
      try {
        const reply = await this.#call<"write">({ do: "write", writes, bytes }, [bytes]);
        this.#problem = undefined;
        this.#settle(batch, reply);
      } catch (error) {
        this.#problem = (error as Error).message;
        for (const write of batch) write.reject(error as Error);
      }
    }
    this.#flushing = undefined;
  }

  #takeBatch(): PendingWrite[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && count < batchWrites) {
      bytes += this.#queue[count]!.value?.length ?? 0;
      if (count > 0 && bytes > batchBytes) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  #settle(batch: PendingWrite[], { results, bytes }: Replies["write"]): void {
    const events: StoreEvent[] = [];
    const answers: (() => void)[] = [];
    for (const [index, write] of batch.entries()) {
      const result = results[index]!;
      if (!result.ok) {
        const current = result.current && toEntry(result.current, bytes);
        answers.push(() => write.resolve({ ok: false, current }));
        continue;
      }
      const previous = result.previous && toEntry(result.previous, bytes);
      events.push(toEvent(write, result.revision, previous));
      if (write.expiresAtMs !== undefined) this.#armExpiry(write.expiresAtMs);
      answers.push(() => write.resolve({ ok: true, revision: result.revision, ...(previous ? { previous } : {}) }));
    }
    // Caches learn of a commit before its request is answered.
    this.#emit(events);
    void answerInTurns(answers);
  }

  #emit(events: StoreEvent[]): void {
    const last = events.at(-1);
    if (!last) return;
    this.#head = last.revision;
    for (const watcher of this.#watchers) {
      if (!watcher.live) continue;
      const own = events.filter(
        (event) => event.revision > watcher.afterRevision && event.key.startsWith(watcher.prefix),
      );
      this.#deliver(watcher, own, last.revision);
    }
  }

  #deliver(watcher: Watcher, events: readonly StoreEvent[], progress: number): void {
    try {
      watcher.onEvents(events, progress);
    } catch (error) {
      this.#logger.error({ err: error, prefix: watcher.prefix }, "A store watcher threw; its watch ends");
      this.#watchers.delete(watcher);
      watcher.onError(error as Error);
    }
  }

  /** Delivers a page of history; true when it reached the newest revision. */
  #deliverHistory(watcher: Watcher, page: Replies["history"]): boolean {
    if (page.rows.length > 0) this.#deliver(watcher, pageEvents(page), page.upTo);
    return page.upTo >= page.head;
  }

  async #catchUp(watcher: Watcher, fromRevision: number): Promise<void> {
    let after = fromRevision;
    try {
      while (this.#watchers.has(watcher)) {
        const page = await this.#call<"history">(historyRequest(watcher.prefix, after));
        if (!this.#watchers.has(watcher)) return;
        after = page.upTo;
        // Every batch committed after this page was read is answered after it, so none is missed or doubled.
        if (this.#deliverHistory(watcher, page)) {
          watcher.live = true;
          return;
        }
      }
    } catch (error) {
      if (this.#watchers.delete(watcher)) watcher.onError(error as Error);
    }
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

  #armExpiry(atMs: number | undefined): void {
    if (atMs === undefined || atMs >= this.#nextExpiryMs) return;
    this.#expiryTimer?.cancel();
    this.#nextExpiryMs = atMs;
    const delayMs = Math.max(expiryGranularityMs, atMs - this.#clock.now());
    this.#expiryTimer = this.#clock.after(delayMs, () => void this.#expire());
  }

  async #expire(): Promise<void> {
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    try {
      const { deleted, bytes, nextExpiryMs } = await this.#call<"expire">({ do: "expire", nowMs: this.#clock.now() });
      this.#emit(
        deleted.map(({ revision, previous }) => ({
          type: "delete",
          key: previous.key,
          revision,
          previous: toEntry(previous, bytes),
        })),
      );
      this.#armExpiry(nextExpiryMs);
    } catch (error) {
      if (this.#closed) return;
      this.#logger.warn({ err: error }, "Deleting expired keys failed; it is tried again");
      this.#armExpiry(this.#clock.now() + 60_000);
    }
  }

  /** The worker is gone: writes under way have an unknown outcome, and nothing further is possible. */
  #break(error: UnavailableError): void {
    if (this.#closed) return;
    this.#closed = error;
    this.#compactionTimer?.cancel();
    this.#expiryTimer?.cancel();
    const opening = this.#head === 0;
    if (!opening) this.#logger.error({ err: error }, "The store failed");
    for (const call of this.#calls.values()) call.reject(opening ? error : new UnknownOutcomeError(error.message));
    this.#calls.clear();
    for (const watcher of this.#watchers) watcher.onError(error);
    this.#watchers.clear();
  }
}

/** Each answer sets off the rest of a request; a large batch must not do all of that in one turn of the loop. */
async function answerInTurns(answers: readonly (() => void)[]): Promise<void> {
  for (const [index, answer] of answers.entries()) {
    if (index > 0 && index % answersPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    answer();
  }
}

function historyRequest(prefix: string, afterRevision: number): Request {
  return { do: "history", prefix, afterRevision, limit: pageSize };
}

function toEntry({ key, revision, createRevision, value }: WireRow, bytes: ArrayBuffer): Entry {
  return { key, value: Buffer.from(bytes, value[0], value[1]), createRevision, modRevision: revision };
}

function toEvent(write: PendingWrite, revision: number, previous: Entry | undefined): StoreEvent {
  const { key, value } = write;
  const before = previous ? { previous } : {};
  if (!value) return { type: "delete", key, revision, ...before };
  const entry = { key, value, createRevision: previous?.createRevision ?? revision, modRevision: revision };
  return { type: "put", key, revision, entry, ...before };
}

function pageEvents({ rows, bytes }: Replies["history"]): StoreEvent[] {
  return rows.map(({ row, previous }) => rowEvent(row, bytes, previous && toEntry(previous, bytes)));
}

function rowEvent(row: WireRow, bytes: ArrayBuffer, previous: Entry | undefined): StoreEvent {
  const before = previous ? { previous } : {};
  if (row.deleted) return { type: "delete", key: row.key, revision: row.revision, ...before };
  return { type: "put", key: row.key, revision: row.revision, entry: toEntry(row, bytes), ...before };
}

function toError({ kind, message, revision, at }: WireError): Error {
  switch (kind) {
    case "compacted":
      return new CompactedError(revision!, at!);
    case "future":
      return Object.assign(new FutureRevisionError(0, 0), { message });
    case "unavailable":
      return new UnavailableError(`the SQLite store cannot do this now: ${message}`);
    case "unknown":
      return new UnknownOutcomeError(`the SQLite store does not know whether the write happened: ${message}`);
    default:
      return new Error(message);
  }
}
