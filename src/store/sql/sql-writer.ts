import { randomUUID } from "node:crypto";
import type { Clock } from "../../machinery/clock.ts";
import { UnknownOutcomeError } from "../store.ts";
import type { QueuedWrite } from "../write-queue.ts";
import { statementTimeoutMs, withinDeadline } from "./deadline.ts";
import { type BatchReply, type LastBatch, SqlFailure, type SqlSession } from "./sql-database.ts";

export interface SqlWriterOptions {
  /** The io clock. */
  readonly clock: Clock;
  readonly connect: () => Promise<SqlSession>;
  /** Runs a read on another connection. */
  readonly read: <T>(work: (session: SqlSession) => Promise<T>) => Promise<T>;
}

/** Between attempts to find out what became of a batch. */
const retryDelayMs = 200;

/**
 * The one connection that batches go through. Each batch has a number that is written in the same transaction, so that one
 * whose answer was lost with its connection is not a guess: the next connection asks for the last number, after it has made
 * sure that nothing of the old one can happen any more.
 */
export class SqlWriter {
  readonly #options: SqlWriterOptions;
  #session: SqlSession | undefined;
  #id: string | undefined;
  #batch = 0;
  #closed = false;

  constructor(options: SqlWriterOptions) {
    this.#options = options;
  }

  /**
   * Writes a batch. Rejects with SqlFailure when it did not happen, and with UnknownOutcomeError when it cannot be found out
   * within 10 s; one that was undone for another's sake, or lost with its connection, is written again.
   */
  async commit(writes: readonly QueuedWrite[]): Promise<BatchReply> {
    const { clock } = this.#options;
    const untilMs = clock.now() + statementTimeoutMs;
    for (;;) {
      const session = await this.#open();
      const id = this.#id!;
      const batch = ++this.#batch;
      try {
        const leftMs = Math.max(1, untilMs - clock.now());
        return await withinDeadline(clock, session, leftMs, () => session.write(id, batch, writes));
      } catch (error) {
        if (!(error instanceof SqlFailure)) throw error;
        if (error.kind === "fenced") this.#drop();
        if (error.kind === "lost" || error.kind === "late") {
          const reply = await this.#fate(batch, writes, untilMs, error);
          if (reply) return reply;
        }
        const undone = error.kind !== "refused";
        if (!undone || clock.now() >= untilMs) throw error;
      }
    }
  }

  /** Writes something that changes nothing, to find out whether the database takes writes. Rejects with SqlFailure. */
  async probe(): Promise<void> {
    const session = await this.#open();
    const id = this.#id!;
    await withinDeadline(this.#options.clock, session, statementTimeoutMs, () => session.touch(id));
  }

  close(): void {
    this.#closed = true;
    this.#session?.close();
  }

  async #open(): Promise<SqlSession> {
    if (this.#session && !this.#session.broken) return this.#session;
    await this.#connect();
    return this.#session!;
  }

  /** A new connection, which tells the last batch of the one before it. */
  async #connect(): Promise<LastBatch | undefined> {
    this.#drop();
    const session = await this.#options.connect();
    const id = randomUUID();
    try {
      const last = await withinDeadline(this.#options.clock, session, statementTimeoutMs, () =>
        session.becomeWriter(id, this.#id),
      );
      // Whoever closed the writer meanwhile did not know of this one.
      if (this.#closed) throw new SqlFailure("lost", "the writer was closed");
      this.#session = session;
      this.#id = id;
      return last;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  #drop(): void {
    this.#session?.close();
    this.#session = undefined;
  }

  /** What became of a batch whose answer did not come; undefined when it did not happen, and will not. */
  async #fate(
    batch: number,
    writes: readonly QueuedWrite[],
    untilMs: number,
    cause: SqlFailure,
  ): Promise<BatchReply | undefined> {
    const { clock, read } = this.#options;
    this.#drop();
    let last: LastBatch | undefined;
    for (;;) {
      try {
        last = await this.#connect();
        break;
      } catch (error) {
        if (!(error instanceof SqlFailure)) throw error;
        if (clock.now() >= untilMs) throw unknownOutcome(cause);
        await clock.sleep(retryDelayMs);
      }
    }
    if (last?.batch !== batch) return undefined;
    try {
      return await read((session) => replyOf(session, last, writes));
    } catch {
      throw unknownOutcome(cause);
    }
  }
}

function unknownOutcome(cause: SqlFailure): UnknownOutcomeError {
  return new UnknownOutcomeError(`whether the write happened is not known: ${cause.message}`);
}

/** The answer that a batch had, from what it left in the log. */
async function replyOf(session: SqlSession, last: LastBatch, writes: readonly QueuedWrite[]): Promise<BatchReply> {
  const { before, head } = last;
  const { rows } = await session.history("", before, head - before);
  const events = new Map(rows.map(({ event }) => [event.key, event]));
  const results = [];
  for (const { key } of writes) {
    const event = events.get(key);
    const current = event ? event.previous : await session.get(key);
    results.push({ ...(event ? { revision: event.revision } : {}), ...(current ? { current } : {}) });
  }
  return { before, head, results };
}
