import type { Entry, StoreEvent, WriteResult } from "./store.ts";

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
  readonly resolve: (result: WriteResult) => void;
  readonly reject: (error: Error) => void;
}

/** Writes that are answered in one turn of the event loop. */
const answersPerTurn = 8;
/** A batch ends here, so that one transaction stays short. */
const batchBytes = 4 * 1024 * 1024;
const batchWrites = 1000;

/**
 * Gathers writes into batches: those of one turn of the event loop share a transaction, and what arrives while one is
 * under way makes up the next.
 */
export class WriteQueue {
  readonly #commit: (batch: readonly QueuedWrite[]) => Promise<CommittedBatch>;
  readonly #keyOncePerBatch: boolean;
  #queue: PendingWrite[] = [];
  #flushing: Promise<void> | undefined;
  readonly #delivering = new Set<Promise<void>>();

  /**
   * @param commit writes a batch in one transaction; when it rejects, so does every write of the batch
   * @param options.keyOncePerBatch for stores that compare all writes of a batch with what was there before it
   */
  constructor(
    commit: (batch: readonly QueuedWrite[]) => Promise<CommittedBatch>,
    options: { keyOncePerBatch?: boolean } = {},
  ) {
    this.#commit = commit;
    this.#keyOncePerBatch = options.keyOncePerBatch ?? false;
  }

  push(write: QueuedWrite): Promise<WriteResult> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...write, resolve, reject });
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
    this.#flushing = undefined;
  }

  #takeBatch(): PendingWrite[] {
    const keys = this.#keyOncePerBatch ? new Set<string>() : undefined;
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && count < batchWrites) {
      const { key, value } = this.#queue[count]!;
      bytes += value?.length ?? 0;
      if (count > 0 && (bytes > batchBytes || keys?.has(key))) break;
      keys?.add(key);
      count++;
    }
    return this.#queue.splice(0, count);
  }
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
