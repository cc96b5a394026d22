import type { Clock } from "../machinery/clock.ts";
import { type Entry, type StoreEvent, UnavailableError, UnknownOutcomeError, type WriteResult } from "./store.ts";
import { WriteBound } from "./write-bound.ts";

/** A conditional write. `expected` 0 means "must not exist"; `value` absent means "delete". */
export interface QueuedWrite {
  readonly key: string;
  readonly value?: Buffer;
  readonly expected: number;
  /** Milliseconds since the epoch at which the store deletes the key. */
  readonly expiresAtMs?: number;
}

/** What became of a batch: a result for each of its writes. */
export interface CommittedBatch {
  readonly results: readonly WriteResult[];
  /** The answers wait for it; the next batch does not. Never rejects. */
  readonly delivered?: Promise<void>;
}

interface PendingWrite extends QueuedWrite {
  readonly sinceMs: number;
  late?: true;
  readonly resolve: (result: WriteResult) => void;
  readonly reject: (error: Error) => void;
}

/** Writes that are answered in one turn of the event loop. */
const answersPerTurn = 8;
/** A batch ends here, so that one transaction stays short. */
const batchBytes = 4 * 1024 * 1024;
const batchWrites = 1000;

/** When those who wait are told, and how messages name the store. */
export interface WritePatience {
  /** The io clock. */
  readonly clock: Clock;
  /** How long a write waits for the store, in milliseconds. */
  readonly patienceMs: number;
  readonly store: string;
}

/**
 * Gathers writes into batches: those of one turn of the event loop share a transaction, and what arrives while one is
 * under way makes up the next.
 */
export class WriteQueue {
  readonly #commit: (batch: readonly QueuedWrite[]) => Promise<CommittedBatch>;
  readonly #keyOncePerBatch: boolean;
  readonly #patience: WritePatience;
  readonly #bound: WriteBound;
  #queue: PendingWrite[] = [];
  #batch: readonly PendingWrite[] = [];
  #watching = false;
  #flushing: Promise<void> | undefined;
  readonly #delivering = new Set<Promise<void>>();

  /**
   * @param commit writes a batch in one transaction; when it rejects, so does every write of the batch
   * @param patience a write that has waited for so long rejects: with UnavailableError, and is not written, where its batch
   * has not begun, and with UnknownOutcomeError where it has; the batch goes on
   * @param options.keyOncePerBatch for stores that compare all writes of a batch with what was there before it
   */
  constructor(
    commit: (batch: readonly QueuedWrite[]) => Promise<CommittedBatch>,
    patience: WritePatience,
    options: { keyOncePerBatch?: boolean } = {},
  ) {
    this.#commit = commit;
    this.#patience = patience;
    this.#bound = new WriteBound(patience.store);
    this.#keyOncePerBatch = options.keyOncePerBatch ?? false;
  }

  /** Rejects at once with OverloadedError when too much waits already. */
  push(write: QueuedWrite): Promise<WriteResult> {
    // What it throws, the promise rejects with.
    return new Promise((resolve, reject) => {
      this.#bound.enter(sizeOf(write));
      this.#queue.push({ ...write, sinceMs: this.#patience.clock.now(), resolve, reject });
      this.#watch();
      // A microtask later, so that the writes of one turn share a transaction.
      this.#flushing ??= Promise.resolve().then(() => this.#flush());
    });
  }

  /** Resolves when every write that was pushed is committed, and delivered, or failed. */
  async drained(): Promise<void> {
    while (this.#flushing) await this.#flushing;
    await Promise.all(this.#delivering);
  }

  async #flush(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch();
      this.#batch = batch;
      try {
        const committed = await this.#commit(batch);
        const { delivered } = committed;
        if (delivered) {
          this.#delivering.add(delivered);
          void delivered.then(() => this.#delivering.delete(delivered));
        }
        void answer(batch, committed);
      } catch (error) {
        for (const write of batch) write.reject(error as Error);
      }
    }
    this.#batch = [];
    this.#flushing = undefined;
  }

  /** One timer for all writes, that nothing has to cancel: when it rings, the oldest are looked at. */
  #watch(): void {
    if (this.#watching) return;
    const oldest = this.#batch.find(({ late }) => !late) ?? this.#queue[0];
    if (!oldest) return;
    const { clock, patienceMs } = this.#patience;
    this.#watching = true;
    clock.after(oldest.sinceMs + patienceMs - clock.now(), () => {
      this.#watching = false;
      this.#tellLate();
      this.#watch();
    });
  }

  #tellLate(): void {
    const { clock, patienceMs, store } = this.#patience;
    const fromMs = clock.now() - patienceMs;
    // As etcd and the API server on it say it, since people search for that.
    const what = `etcdserver: request timed out: ${store} has not answered for ${patienceMs / 1000} s`;
    for (const write of this.#batch) {
      if (write.late || write.sinceMs > fromMs) continue;
      write.late = true;
      write.reject(new UnknownOutcomeError(`${what}, and may still do what was asked`));
    }
    const first = this.#queue.findIndex(({ sinceMs }) => sinceMs > fromMs);
    for (const write of this.#queue.splice(0, first < 0 ? this.#queue.length : first)) {
      this.#bound.leave(sizeOf(write));
      write.reject(new UnavailableError(`${what}; nothing was written`));
    }
  }

  #takeBatch(): PendingWrite[] {
    const keys = this.#keyOncePerBatch ? new Set<string>() : undefined;
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && count < batchWrites) {
      const write = this.#queue[count]!;
      const more = sizeOf(write);
      if (count > 0 && (bytes + more > batchBytes || keys?.has(write.key))) break;
      keys?.add(write.key);
      this.#bound.leave(more);
      bytes += more;
      count++;
    }
    return this.#queue.splice(0, count);
  }
}

function sizeOf({ value }: QueuedWrite): number {
  return value?.length ?? 0;
}

/** Each answer sets off the rest of a request; a large batch must not do all of that in one turn of the loop. */
async function answer(batch: readonly PendingWrite[], { results, delivered }: CommittedBatch): Promise<void> {
  if (delivered) await delivered;
  for (const [index, write] of batch.entries()) {
    if (index > 0 && index % answersPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    write.resolve(results[index]!);
  }
}

/** The events of a batch, in its order. */
export function eventsOf(batch: readonly QueuedWrite[], results: readonly WriteResult[]): StoreEvent[] {
  const events: StoreEvent[] = [];
  for (const [index, write] of batch.entries()) {
    const result = results[index]!;
    if (result.ok) events.push(toEvent(write, result.revision, result.previous));
  }
  return events;
}

function toEvent({ key, value }: QueuedWrite, revision: number, previous: Entry | undefined): StoreEvent {
  const before = previous ? { previous } : {};
  if (!value) return { type: "delete", key, revision, ...before };
  const entry = { key, value, createRevision: previous?.createRevision ?? revision, modRevision: revision };
  return { type: "put", key, revision, entry, ...before };
}
