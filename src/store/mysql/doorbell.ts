import type { Clock } from "../../machinery/clock.ts";
import { statementTimeoutMs, withinDeadline } from "../sql/deadline.ts";

/** What it needs of a connection. */
export interface DoorbellConnection {
  close(): void;
  query(text: string): Promise<readonly (readonly unknown[])[]>;
}

/** A statement with this at its beginning sleeps until something is written, and may be woken. */
const marker = "SELECT /* k3ts listens";
/** Bells are not rung more often, in milliseconds: who was woken reads everything there is. */
const pauseMs = 10;
/** Who has found nobody so many times running is most likely alone, and looks less often: it costs a tenth of its writes. */
const aloneAfter = 20;
const alonePauseMs = 100;

/**
 * How servers that share a MySQL hear of each other's writes. MySQL has no notifications, so each server has a statement
 * that sleeps in the database; whoever wrote looks for such statements in the list of processes and ends them with KILL
 * QUERY, which a login may do to its own. That takes a millisecond or two and costs nothing while nothing happens. The
 * statement looks at the head before it sleeps, so a bell that was rung between two sleeps is not lost.
 *
 * Other ways that were weighed: polling (a query every 50 ms a server, for ever, or news that come late), waiting for
 * GET_LOCK (whoever holds it has to be alive and let go, and a lock wakes one at a time), replication's log (a right that
 * few logins have).
 */
export class Doorbell {
  readonly #connection: () => Promise<DoorbellConnection>;
  readonly #clock: Clock;
  readonly #database: string;
  readonly #own: string;
  #ringing = false;
  #again = false;
  #closed = false;
  /** How many times running there was nobody to wake. */
  #inVain = 0;

  /**
   * @param options.clock the io clock
   * @param options.own marks this process' own listener, which needs no waking
   */
  constructor(options: {
    connection: () => Promise<DoorbellConnection>;
    clock: Clock;
    database: string;
    own: string;
  }) {
    this.#connection = options.connection;
    this.#clock = options.clock;
    this.#database = options.database;
    this.#own = options.own;
  }

  /** Wakes the others' listeners soon. Never throws: one that is not woken looks by itself a few seconds later. */
  ring(): void {
    if (this.#closed) return;
    if (this.#ringing) this.#again = true;
    else void this.#ring();
  }

  /** Rings no more. A connection that is there is left to its owner; one that comes after this is closed. */
  close(): void {
    this.#closed = true;
  }

  async #ring(): Promise<void> {
    this.#ringing = true;
    do {
      this.#again = false;
      try {
        const connection = await this.#connection();
        if (this.#closed) return connection.close();
        await withinDeadline(this.#clock, connection, statementTimeoutMs, () => this.#wake(connection));
      } catch {
        // The connection is made anew at the next one.
      }
      await this.#clock.sleep(this.#inVain < aloneAfter ? pauseMs : alonePauseMs);
    } while (this.#again && !this.#closed);
    this.#ringing = false;
  }

  async #wake(connection: DoorbellConnection): Promise<void> {
    const processes = await connection.query("SHOW PROCESSLIST");
    const ids = listeners(processes, this.#database, this.#own);
    this.#inVain = ids.length > 0 ? 0 : this.#inVain + 1;
    // One statement each: a listener that is gone meanwhile must not keep the others asleep.
    for (const id of ids) await connection.query(`KILL QUERY ${id}`).catch(() => {});
  }
}

/** A statement that ends when the head is above `revision`, when it is woken, or after some seconds. */
export function sleepStatement(own: string, revision: number, seconds: number): string {
  return `${marker} ${own} */ IF((SELECT head FROM k3ts_meta) > ${revision}, 0, SLEEP(${seconds}))`;
}

/**
 * The connections that sleep for other servers in this database, by the rows of SHOW PROCESSLIST: the number first, the
 * database fourth, the statement eighth.
 */
export function listeners(processes: readonly (readonly unknown[])[], database: string, own: string): number[] {
  return processes.flatMap((row) => {
    const statement = String(row[7] ?? "");
    const others = statement.startsWith(marker) && !statement.startsWith(`${marker} ${own} `);
    return others && String(row[3]) === database ? [Number(row[0])] : [];
  });
}
