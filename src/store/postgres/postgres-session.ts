import type { Client } from "pg";
import type { Clock } from "../../machinery/clock.ts";
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
import { postgresFailure } from "./postgres-failure.ts";
import { channel } from "./postgres-schema.ts";

/** Sorts after every key that starts with the prefix it is appended to. */
const afterAnyKey = "\u{10FFFF}";
/** Rows that one step of sweeping looks at. */
const sweepStep = 500;
/** A listening connection on which nothing comes is asked whether it still lives this often, in milliseconds. */
const heartbeatMs = 5000;

const changeColumns = `l.revision, l.key, l.deleted, l.create_revision, l.value, l.expires_at,
  p.revision, p.create_revision, p.value`;

/** A page comes with the state of the log in one snapshot: a row of the log is null where there is none. */
const statements = {
  write: "SELECT * FROM k3ts_write($1, $2, $3, $4, $5, $6, $7, $8)",
  become: "SELECT * FROM k3ts_become_writer($1, $2)",
  touch: "UPDATE k3ts_writers SET seen_at = now() WHERE id = $1",
  get: `SELECT key, value, create_revision, revision, deleted FROM k3ts_log WHERE key = $1 ORDER BY revision DESC LIMIT 1`,
  list: `
    SELECT m.head, m.compacted, l.key, l.value, l.create_revision, l.revision FROM k3ts_meta m LEFT JOIN LATERAL (
      SELECT * FROM (
        SELECT DISTINCT ON (key) key, revision, deleted, create_revision, value FROM k3ts_log
        WHERE key >= $1 AND key < $2 AND key > $3 AND revision <= coalesce($4, m.head) ORDER BY key, revision DESC
      ) newest WHERE NOT deleted ORDER BY key LIMIT $5
    ) l ON true`,
  tail: `
    SELECT m.head, m.compacted, ${changeColumns} FROM k3ts_meta m
    LEFT JOIN LATERAL (SELECT * FROM k3ts_log WHERE revision > $1 ORDER BY revision LIMIT $2) l ON true
    LEFT JOIN k3ts_log p ON p.revision = l.previous_revision ORDER BY l.revision`,
  // Of the revisions, not of the keys: the prefix is compared in a way that no index serves.
  history: `
    SELECT m.head, m.compacted, ${changeColumns} FROM k3ts_meta m
    LEFT JOIN LATERAL (
      SELECT * FROM k3ts_log WHERE revision > $1 AND substr(key, 1, length($3)) = $3 ORDER BY revision LIMIT $2
    ) l ON true
    LEFT JOIN k3ts_log p ON p.revision = l.previous_revision ORDER BY l.revision`,
  state: `
    SELECT head, compacted, compactions, pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
    FROM k3ts_meta`,
  expired: "SELECT key, revision FROM k3ts_log WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2",
  nextExpiry: "SELECT min(expires_at) FROM k3ts_log WHERE expires_at IS NOT NULL",
  compact: "UPDATE k3ts_meta SET compacted = $1 WHERE compacted < $1 AND head >= $1",
  compactNext: `
    UPDATE k3ts_meta SET compacted = greatest(compacted, $1), compactions = compactions + 1
    WHERE compactions = $2 AND head >= $1`,
  sweep: "SELECT k3ts_sweep($1)",
  raise: `
    WITH old AS (SELECT head FROM k3ts_meta FOR UPDATE)
    UPDATE k3ts_meta SET head = $1, compacted = $1 FROM old WHERE old.head < $1
    RETURNING old.head, pg_notify('${channel}', $1::text)`,
  size: "SELECT pg_total_relation_size('k3ts_log')",
} as const;

type Cell = string | boolean | Buffer | null;

/** A connection to PostgreSQL. */
export class PostgresSession implements SqlSession {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #password: string;
  /** The backends of this process that write: their notifications are no news. */
  readonly #ownBackends: Set<number>;
  #broken = false;
  #notified = 0;
  #wake: (() => void) | undefined;

  /** @param options.clock the io clock */
  constructor(options: { client: Client; clock: Clock; password: string; ownBackends: Set<number> }) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#password = options.password;
    this.#ownBackends = options.ownBackends;
    const end = () => {
      this.#broken = true;
      this.#wake?.();
    };
    this.#client.on("error", end);
    this.#client.on("end", end);
  }

  get broken(): boolean {
    return this.#broken;
  }

  async becomeWriter(id: string, former: string | undefined): Promise<LastBatch | undefined> {
    const [last] = await this.#run("become", [id, former ?? null]);
    this.#ownBackends.add(this.#backend);
    return last && { batch: Number(last[0]), before: Number(last[1]), head: Number(last[2]) };
  }

  async write(writer: string, batch: number, writes: readonly QueuedWrite[]): Promise<BatchReply> {
    const values: Buffer[] = [];
    const offsets: number[] = [];
    let length = 0;
    for (const { value } of writes) {
      offsets.push(value ? length : -1);
      if (!value) continue;
      values.push(value);
      length += value.length;
    }
    const rows = await this.#run("write", [
      writer,
      batch,
      writes.map(({ key }) => key),
      writes.map(({ expected }) => expected),
      writes.map(({ expiresAtMs }) => expiresAtMs ?? null),
      offsets,
      writes.map(({ value }) => value?.length ?? 0),
      Buffer.concat(values, length),
    ]);
    const before = Number(rows[0]![0]);
    let head = before;
    const results = rows.map(([, made, revision, createRevision, value], index) => {
      const current = revision === null ? {} : { current: entry(writes[index]!.key, value, createRevision, revision) };
      if (made === null) return current;
      head = Number(made);
      return { revision: head, ...current };
    });
    return { before, head, results };
  }

  async touch(writer: string): Promise<void> {
    await this.#run("touch", [writer]);
  }

  async get(key: string): Promise<Entry | undefined> {
    const [row] = await this.#run("get", [key]);
    return row && !row[4] ? entry(row[0], row[1], row[2], row[3]) : undefined;
  }

  async list(prefix: string, after: string, revision: number | undefined, limit: number): Promise<LogPage<Entry>> {
    const rows = await this.#run("list", [prefix, prefix + afterAnyKey, after, revision ?? null, limit]);
    return page(rows, (row) => entry(row[2], row[3], row[4], row[5]));
  }

  async history(prefix: string, afterRevision: number, limit: number): Promise<LogPage<LogChange>> {
    const rows =
      prefix === ""
        ? await this.#run("tail", [afterRevision, limit])
        : await this.#run("history", [afterRevision, limit, prefix]);
    return page(rows, change);
  }

  async state(): Promise<LogState> {
    const [row] = await this.#run("state", []);
    if (!row) throw new SqlFailure("refused", "its tables are empty: the row of k3ts_meta is gone");
    if (row[3]) {
      // The next connection may find the server that took over.
      this.close();
      throw new SqlFailure("refused", "it is read-only (a standby, or one with default_transaction_read_only = on)");
    }
    return { head: Number(row[0]), compacted: Number(row[1]), compactions: Number(row[2]) };
  }

  async expired(nowMs: number, limit: number): Promise<{ key: string; revision: number }[]> {
    const rows = await this.#run("expired", [nowMs, limit]);
    return rows.map(([key, revision]) => ({ key: key as string, revision: Number(revision) }));
  }

  async nextExpiryMs(): Promise<number | undefined> {
    const [row] = await this.#run("nextExpiry", []);
    return row?.[0] == null ? undefined : Number(row[0]);
  }

  async compact(revision: number, compactions?: number): Promise<boolean> {
    const changed =
      compactions === undefined
        ? await this.#query("compact", [revision])
        : await this.#query("compactNext", [revision, compactions]);
    return changed.rowCount === 1;
  }

  async sweep(): Promise<boolean> {
    const [row] = await this.#run("sweep", [sweepStep]);
    return row?.[0] === true;
  }

  async raise(above: number): Promise<number | undefined> {
    const [row] = await this.#run("raise", [above]);
    return row && Number(row[0]);
  }

  async size(): Promise<number> {
    const [row] = await this.#run("size", []);
    return Number(row![0]);
  }

  async listen(): Promise<void> {
    this.#client.on("notification", ({ processId, payload }) => {
      if (this.#ownBackends.has(processId)) return;
      this.#notified = Math.max(this.#notified, Number(payload));
      this.#wake?.();
    });
    try {
      await this.#client.query(`LISTEN ${channel}`);
    } catch (error) {
      throw postgresFailure(error, this.#password);
    }
  }

  async nextHead(revision: number): Promise<number> {
    if (this.#notified <= revision && !this.#broken) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = this.#clock.after(heartbeatMs, resolve);
      await promise;
      timer.cancel();
    }
    if (this.#broken) throw new SqlFailure("lost", "the connection that hears of changes was cut");
    return this.#notified > revision ? this.#notified : (await this.state()).head;
  }

  close(): void {
    this.#broken = true;
    this.#ownBackends.delete(this.#backend);
    // Not `end()`: it would wait for the answer of a query that may never come.
    (this.#client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }

  get #backend(): number {
    return (this.#client as unknown as { processID: number }).processID;
  }

  async #run(name: keyof typeof statements, values: unknown[]): Promise<Cell[][]> {
    return (await this.#query(name, values)).rows;
  }

  async #query(name: keyof typeof statements, values: unknown[]): Promise<{ rows: Cell[][]; rowCount: number | null }> {
    try {
      return await this.#client.query<Cell[]>({ name, text: statements[name], values, rowMode: "array" });
    } catch (error) {
      throw postgresFailure(error, this.#password);
    }
  }
}

function entry(
  key: Cell | undefined,
  value: Cell | undefined,
  createRevision: Cell | undefined,
  revision: Cell | undefined,
): Entry {
  return {
    key: key as string,
    value: value as Buffer,
    createRevision: Number(createRevision),
    modRevision: Number(revision),
  };
}

function page<T>(rows: readonly Cell[][], read: (row: Cell[]) => T): LogPage<T> {
  const [first] = rows;
  if (!first) throw new SqlFailure("refused", "its tables are empty: the row of k3ts_meta is gone");
  return { head: Number(first[0]), compacted: Number(first[1]), rows: first[2] === null ? [] : rows.map(read) };
}

function change(row: Cell[]): LogChange {
  const [, , revision, key, deleted, createRevision, value, expiresAt] = row;
  const previous = row[8] === null ? {} : { previous: entry(key, row[10], row[9], row[8]) };
  const event: StoreEvent = deleted
    ? { type: "delete", key: key as string, revision: Number(revision), ...previous }
    : {
        type: "put",
        key: key as string,
        revision: Number(revision),
        entry: entry(key, value, createRevision, revision),
        ...previous,
      };
  return { event, ...(expiresAt === null ? {} : { expiresAtMs: Number(expiresAt) }) };
}
