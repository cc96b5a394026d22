import type { Clock } from "../../machinery/clock.ts";
import { statementTimeoutMs, withinDeadline } from "./deadline.ts";
import { SqlFailure, type SqlSession } from "./sql-database.ts";

interface Waiter {
  readonly take: (slot: SqlSession | undefined) => void;
  readonly fail: (error: Error) => void;
}

/** How long a read waits for those before it while they are answered, in milliseconds. */
const longestWaitMs = 30_000;

/** A few sessions for reads; more reads than sessions wait for one. */
export class SessionPool {
  readonly #connect: () => Promise<SqlSession>;
  readonly #clock: Clock;
  readonly #idle: SqlSession[] = [];
  readonly #waiting: Waiter[] = [];
  #free: number;
  /** When a read was last answered: a database that is slow is not one that is away. */
  #answeredMs = 0;
  #closed: Error | undefined;

  /** @param options.clock the io clock */
  constructor(options: { connect: () => Promise<SqlSession>; clock: Clock; size: number }) {
    this.#connect = options.connect;
    this.#clock = options.clock;
    this.#free = options.size;
  }

  /**
   * Runs a read on a session. Where the connection turns out to be lost it is run once more on a new one. Rejects with
   * SqlFailure, after 10 s at the latest for each of the two, and when no session was free for so long.
   */
  async use<T>(read: (session: SqlSession) => Promise<T>): Promise<T> {
    const slot = await this.#acquire();
    let session = slot;
    try {
      for (let attempt = 0; ; attempt++) {
        const fresh = session === undefined;
        session ??= await this.#connect();
        try {
          const result = await withinDeadline(this.#clock, session, statementTimeoutMs, read);
          this.#answeredMs = this.#clock.now();
          return result;
        } catch (error) {
          const died = error instanceof SqlFailure && error.kind === "lost" && !fresh && attempt === 0;
          if (!died) throw error;
          session = undefined;
        }
      }
    } finally {
      this.#release(session);
    }
  }

  close(error: Error): void {
    this.#closed = error;
    for (const session of this.#idle.splice(0)) session.close();
    for (const waiter of this.#waiting.splice(0)) waiter.fail(error);
  }

  /** A slot, with the session that its last user left in it where that still works. */
  async #acquire(): Promise<SqlSession | undefined> {
    if (this.#closed) throw this.#closed;
    if (this.#free > 0) {
      this.#free--;
      return this.#working(this.#idle.pop());
    }
    const { promise, resolve, reject } = Promise.withResolvers<SqlSession | undefined>();
    const waiter: Waiter = { take: resolve, fail: reject };
    this.#waiting.push(waiter);
    const sinceMs = this.#clock.now();
    const look = () => {
      const untilMs = Math.min(this.#answeredMs + statementTimeoutMs, sinceMs + longestWaitMs);
      const nowMs = this.#clock.now();
      const index = this.#waiting.indexOf(waiter);
      if (index < 0) return;
      if (nowMs < untilMs) {
        timer = this.#clock.after(untilMs - nowMs, look);
        return;
      }
      this.#waiting.splice(index, 1);
      reject(new SqlFailure("refused", `none of its connections was free for ${(nowMs - sinceMs) / 1000} s`));
    };
    let timer = this.#clock.after(statementTimeoutMs, look);
    try {
      return this.#working(await promise);
    } finally {
      timer.cancel();
    }
  }

  #working(session: SqlSession | undefined): SqlSession | undefined {
    return session?.broken ? undefined : session;
  }

  #release(session: SqlSession | undefined): void {
    const left = this.#working(session);
    const next = this.#waiting.shift();
    if (next) {
      next.take(left);
      return;
    }
    this.#free++;
    if (!left) return;
    if (this.#closed) left.close();
    else this.#idle.push(left);
  }
}
