import type { Connection } from "mysql2/promise";
import {
  type BatchReply,
  type LastBatch,
  type LogChange,
  type LogPage,
  type LogState,
  SqlFailure,
  type SqlSession,
} from "../sql/sql-database.ts";
import type { Entry, StoreEvent } from "../store.ts";
import type { QueuedWrite } from "../write-queue.ts";
import { sleepStatement } from "./doorbell.ts";
import { errnoOf, mysqlFailure, readOnlyErrors } from "./mysql-failure.ts";

/** Sorts after every key that starts with the prefix it is appended to. */
const afterAnyKey = "\u{10FFFF}";
/** Rows that one step of sweeping looks at. */
const sweepStep = 500;
/** How long a statement sleeps that waits for news, in seconds. */
const sleepSeconds = 5;
/** What a statement ends with that was woken. */
const interrupted = 1317;

const stateStatement = "SELECT head, compacted, compactions, @@global.read_only FROM k3ts_meta";

/** Begins what is read together. */
const snapshot =
  "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY; " +
  "SELECT head, compacted FROM k3ts_meta; ";

const changeColumns = `l.revision, l.name, l.deleted, l.create_revision, l.value, l.expires_at,
  p.revision, p.create_revision, p.value`;

type Cell = number | string | Buffer | null;
type Row = readonly Cell[];

/** Bytes as SQL writes them: nothing has to be escaped. */
function hex(text: string): string {
  return `X'${Buffer.from(text).toString("hex")}'`;
}

export interface MysqlSessionOptions {
  readonly connection: Connection;
  readonly password: string;
  /** Marks this process' listener. */
  readonly own: string;
  /** Called after a batch is committed that changed something. */
  readonly onCommit: () => void;
}

/** A connection to MySQL or MariaDB. */
export class MysqlSession implements SqlSession {
  readonly #connection: Connection;
  readonly #password: string;
  readonly #own: string;
  readonly #onCommit: () => void;
  /** What waits for an answer: the library forgets it when a connection is dropped. */
  readonly #pending = new Set<(error: Error) => void>();
  #broken = false;

  constructor({ connection, password, own, onCommit }: MysqlSessionOptions) {
    this.#connection = connection;
    this.#password = password;
    this.#own = own;
    this.#onCommit = onCommit;
    connection.on("error", (error) => this.#end(mysqlFailure(error, password)));
    connection.on("end", () => this.#end(new SqlFailure("lost", "the connection was cut")));
  }

  get broken(): boolean {
    return this.#broken;
  }

  async becomeWriter(id: string, former: string | undefined): Promise<LastBatch | undefined> {
    const [[last]] = (await this.#call("CALL k3ts_become_writer(?, ?)", [id, former ?? null])) as [Row[]];
    return last && { batch: Number(last[0]), before: Number(last[1]), head: Number(last[2]) };
  }

  async write(writer: string, batch: number, writes: readonly QueuedWrite[]): Promise<BatchReply> {
    const values: Buffer[] = [];
    let length = 0;
    const table = writes.map(({ key, value, expected, expiresAtMs }) => {
      const position = value ? length : -1;
      if (value) values.push(value);
      length += value?.length ?? 0;
      return { k: key, e: expected, p: position, l: value?.length ?? 0, x: expiresAtMs ?? null };
    });
    const bytes = Buffer.concat(values, length);
    const [found, counts] = (await this.#call("CALL k3ts_write(?, ?, ?, ?)", [
      writer,
      batch,
      JSON.stringify(table),
      bytes,
    ])) as [Row[], Row[]];
    const before = Number(counts[0]![0]);
    const standing = new Map(
      found.map(([n, revision, created, value]) => [
        Number(n),
        entry(writes[Number(n) - 1]!.key, value, created, revision),
      ]),
    );
    let head = before;
    const results = writes.map(({ expected, value }, index) => {
      const current = standing.get(index + 1);
      const fits = (current?.modRevision ?? 0) === expected && (value !== undefined || current !== undefined);
      return { ...(fits ? { revision: ++head } : {}), ...(current ? { current } : {}) };
    });
    if (head !== before + Number(counts[0]![1]))
      throw new SqlFailure("refused", `it wrote ${counts[0]![1]} rows where ${head - before} were due`);
    if (head > before) this.#onCommit();
    return { before, head, results };
  }

  async touch(writer: string): Promise<void> {
    // The time has seconds, and a row that stays as it is is not written.
    await this.#query(
      `UPDATE k3ts_writers SET seen_at = IF(seen_at = CURRENT_TIMESTAMP, seen_at - INTERVAL 1 SECOND, CURRENT_TIMESTAMP)
       WHERE id = ${hex(writer)}`,
    );
  }

  async get(key: string): Promise<Entry | undefined> {
    const [row] = await this.#rows(
      `SELECT value, create_revision, revision, deleted FROM k3ts_log WHERE name = ${hex(key)} ORDER BY revision DESC LIMIT 1`,
    );
    return row && !row[3] ? entry(key, row[0], row[1], row[2]) : undefined;
  }

  list(prefix: string, after: string, revision: number | undefined, limit: number): Promise<LogPage<Entry>> {
    const asOf = (table: string) => (revision === undefined ? "" : `AND ${table}.revision <= ${revision}`);
    return this.#page(
      `SELECT l.name, l.value, l.create_revision, l.revision FROM k3ts_log l FORCE INDEX (k3ts_log_name)
       WHERE l.name >= ${hex(prefix)} AND l.name < ${hex(prefix + afterAnyKey)} AND l.name > ${hex(after)} ${asOf("l")}
         AND l.deleted = 0
         AND l.revision = (SELECT MAX(n.revision) FROM k3ts_log n WHERE n.name = l.name ${asOf("n")})
       ORDER BY l.name LIMIT ${limit}`,
      ([name, value, created, modified]) => entry(String(name), value, created, modified),
    );
  }

  history(prefix: string, afterRevision: number, limit: number): Promise<LogPage<LogChange>> {
    const below = prefix === "" ? "" : `AND LEFT(l.name, ${Buffer.byteLength(prefix)}) = ${hex(prefix)}`;
    return this.#page(
      `SELECT ${changeColumns} FROM k3ts_log l FORCE INDEX (PRIMARY) LEFT JOIN k3ts_log p ON p.revision = l.previous_revision
       WHERE l.revision > ${afterRevision} ${below} ORDER BY l.revision LIMIT ${limit}`,
      change,
    );
  }

  async state(): Promise<LogState> {
    return this.#stateOf(await this.#rows(stateStatement));
  }

  async expired(nowMs: number, limit: number): Promise<{ key: string; revision: number }[]> {
    const rows = await this.#rows(
      `SELECT name, revision FROM k3ts_log WHERE expires_at <= ${nowMs} ORDER BY expires_at LIMIT ${limit}`,
    );
    return rows.map(([key, revision]) => ({ key: String(key), revision: Number(revision) }));
  }

  async nextExpiryMs(): Promise<number | undefined> {
    const [row] = await this.#rows("SELECT MIN(expires_at) FROM k3ts_log WHERE expires_at IS NOT NULL");
    return row?.[0] == null ? undefined : Number(row[0]);
  }

  compact(revision: number, compactions?: number): Promise<boolean> {
    return this.#changed(
      compactions === undefined
        ? `UPDATE k3ts_meta SET compacted = ${revision} WHERE compacted < ${revision} AND head >= ${revision}`
        : `UPDATE k3ts_meta SET compacted = GREATEST(compacted, ${revision}), compactions = compactions + 1
           WHERE compactions = ${compactions} AND head >= ${revision}`,
    );
  }

  async sweep(): Promise<boolean> {
    const [[row]] = (await this.#call(`CALL k3ts_sweep(${sweepStep})`, [])) as [Row[]];
    return Number(row![0]) === 1;
  }

  async raise(above: number): Promise<number | undefined> {
    for (;;) {
      const { head } = await this.state();
      if (head >= above) return undefined;
      const raised = await this.#changed(
        `UPDATE k3ts_meta SET head = ${above}, compacted = ${above} WHERE head = ${head}`,
      );
      if (!raised) continue;
      this.#onCommit();
      return head;
    }
  }

  async size(): Promise<number> {
    const [row] = await this.#rows(
      `SELECT data_length + index_length FROM information_schema.tables
       WHERE table_schema = DATABASE() AND table_name = 'k3ts_log'`,
    );
    return Number(row?.[0] ?? 0);
  }

  /** Nothing has to be prepared: whoever writes finds the statement of {@link nextHead}. */
  async listen(): Promise<void> {}

  async nextHead(revision: number): Promise<number> {
    for (;;) {
      try {
        await this.#ask(sleepStatement(this.#own, revision, sleepSeconds));
        return this.#stateOf((await this.#ask(stateStatement)) as Row[]).head;
      } catch (error) {
        // Several servers may ring, the second one in the middle of the second statement.
        if (errnoOf(error) !== interrupted) throw this.#failure(error);
      }
    }
  }

  close(): void {
    this.#connection.destroy();
    this.#end(new SqlFailure("lost", "the connection was dropped"));
  }

  #end(error: SqlFailure): void {
    this.#broken = true;
    for (const reject of this.#pending) reject(error);
    this.#pending.clear();
  }

  /** Waits for an answer, or for the end of the connection. */
  #answer<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#pending.add(reject);
      answer.then(resolve, reject).finally(() => this.#pending.delete(reject));
    });
  }

  #stateOf([row]: Row[]): LogState {
    if (!row) throw emptyMeta();
    if (row[3]) {
      // The next connection may find the server that took over.
      this.close();
      throw new SqlFailure("refused", "it is read-only (a replica, or one with read_only = ON)");
    }
    return { head: Number(row[0]), compacted: Number(row[1]), compactions: Number(row[2]) };
  }

  /** What the client library answers, or its own error. */
  async #ask(sql: string): Promise<unknown> {
    return (await this.#answer(this.#connection.query({ sql, rowsAsArray: true })))[0];
  }

  async #query(sql: string): Promise<unknown> {
    try {
      return await this.#ask(sql);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async #rows(sql: string): Promise<Row[]> {
    return (await this.#query(sql)) as Row[];
  }

  async #changed(sql: string): Promise<boolean> {
    return ((await this.#query(sql)) as { affectedRows: number }).affectedRows === 1;
  }

  async #call(sql: string, values: (string | number | Buffer | null)[]): Promise<unknown> {
    try {
      return (await this.#answer(this.#connection.execute({ sql, values, rowsAsArray: true })))[0];
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Rows of a select with the state of the log in one snapshot. */
  async #page<T>(select: string, read: (row: Row) => T): Promise<LogPage<T>> {
    let results: unknown[];
    try {
      results = (await this.#query(`${snapshot}${select}; COMMIT`)) as unknown[];
    } catch (error) {
      // What stopped in the middle left its transaction open.
      this.close();
      throw error;
    }
    const [state] = results[2] as Row[];
    if (!state) throw emptyMeta();
    return { head: Number(state[0]), compacted: Number(state[1]), rows: (results[3] as Row[]).map(read) };
  }

  #failure(error: unknown): SqlFailure {
    if (readOnlyErrors.has(errnoOf(error))) this.close();
    const failure = mysqlFailure(error, this.#password);
    if (failure.kind === "lost") this.#broken = true;
    return failure;
  }
}

function emptyMeta(): SqlFailure {
  return new SqlFailure("refused", "its tables are empty: the row of k3ts_meta is gone");
}

function entry(key: string, value: Cell | undefined, created: Cell | undefined, modified: Cell | undefined): Entry {
  return { key, value: value as Buffer, createRevision: Number(created), modRevision: Number(modified) };
}

function change(row: Row): LogChange {
  const [at, name, deleted, created, value, expiresAt] = row;
  const key = String(name);
  const revision = Number(at);
  const previous = row[6] === null ? {} : { previous: entry(key, row[8], row[7], row[6]) };
  const event: StoreEvent = deleted
    ? { type: "delete", key, revision, ...previous }
    : { type: "put", key, revision, entry: entry(key, value, created, revision), ...previous };
  return { event, ...(expiresAt === null ? {} : { expiresAtMs: Number(expiresAt) }) };
}
