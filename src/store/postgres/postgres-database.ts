import pg, { type Client } from "pg";
import type { Clock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { SqlEndpoint } from "../datastore-endpoint.ts";
import { withinDeadline } from "../sql/deadline.ts";
import { redact } from "../sql/redact.ts";
import { type SqlDatabase, SqlFailure } from "../sql/sql-database.ts";
import type { TlsMaterial } from "../tls-files.ts";
import { untrustedReason } from "../untrusted-certificate.ts";
import { postgresFailure, postgresRemedy, quoted } from "./postgres-failure.ts";
import { type PostgresOptions, startupOptions, tlsOptions } from "./postgres-options.ts";
import { schema, schemaVersion, setupLock } from "./postgres-schema.ts";
import { PostgresSession } from "./postgres-session.ts";

/** How long a connection may take, log-in included, in milliseconds. */
const connectTimeoutMs = 5000;
/** The server itself gives up before the client does: nothing of a call that was given up happens later. */
const serverTimeoutMs = 9000;

/**
 * Whatever the database's defaults are: the log's order rests on statements that see what was committed before them, and
 * what is acknowledged has to be on disk. Statistics that are out of date must not lead to reading the whole log.
 */
const sessionSettings = `
  SET default_transaction_isolation = 'read committed';
  SET statement_timeout = ${serverTimeoutMs};
  SET enable_seqscan = off;
  SET enable_bitmapscan = off;
  SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`;

/** PostgreSQL as the store's database. */
export class PostgresDatabase implements SqlDatabase {
  readonly name: string;
  readonly #endpoint: SqlEndpoint;
  readonly #options: PostgresOptions;
  readonly #tls: TlsMaterial;
  readonly #clock: Clock;
  readonly #ownBackends = new Set<number>();
  /** The server has said that it speaks no TLS, and the mode allows to go without. */
  #plain = false;

  /** @param options.clock the io clock */
  constructor(options: { endpoint: SqlEndpoint; options: PostgresOptions; tls: TlsMaterial; clock: Clock }) {
    const { address } = options.endpoint;
    this.name = `PostgreSQL at ${"socketPath" in address ? address.socketPath : `${address.host}:${address.port}`}`;
    this.#endpoint = options.endpoint;
    this.#options = options.options;
    this.#tls = options.tls;
    this.#clock = options.clock;
  }

  async prepare(): Promise<void> {
    const { database, user } = this.#endpoint;
    const client = await this.#explained(async () => {
      try {
        return await this.#client(database);
      } catch (error) {
        if (codeOf(error) !== "3D000") throw error;
        await this.#createDatabase();
        return await this.#client(database);
      }
    });
    try {
      await this.#explained(() => createTables(client), user);
    } finally {
      await client.end();
    }
  }

  async connect(): Promise<PostgresSession> {
    const { password, database } = this.#endpoint;
    let session: PostgresSession | undefined;
    try {
      const client = await this.#client(database);
      session = new PostgresSession({ client, clock: this.#clock, password, ownBackends: this.#ownBackends });
      await withinDeadline(this.#clock, session, connectTimeoutMs, () => client.query(sessionSettings));
      return session;
    } catch (error) {
      session?.close();
      throw postgresFailure(error, password);
    }
  }

  async #client(database: string): Promise<Client> {
    const { address, user, password } = this.#endpoint;
    const { sslMode, settings } = this.#options;
    const ssl = this.#plain ? undefined : tlsOptions(sslMode, this.#tls);
    const options = startupOptions(settings);
    const client = new pg.Client({
      ...("socketPath" in address ? { host: address.socketPath } : address),
      ...{ user, password, database, ssl: ssl ?? false, application_name: "k3ts" },
      ...{ connectionTimeoutMillis: connectTimeoutMs, keepAlive: true, keepAliveInitialDelayMillis: 10_000 },
      ...(options ? { options } : {}),
    });
    // Without a listener, a connection that breaks while nobody uses it would end the process.
    client.on("error", () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => {});
      const { message } = error as Error;
      if (message === "timeout expired")
        throw new SqlFailure("lost", `it accepted no connection within ${connectTimeoutMs / 1000} s`);
      if (ssl && message.includes("does not support SSL") && ["allow", "prefer"].includes(sslMode)) {
        this.#plain = true;
        return this.#client(database);
      }
      throw error;
    }
  }

  /** Through the database that every server has. */
  async #createDatabase(): Promise<void> {
    const client = await this.#client("postgres");
    try {
      await client.query(
        `CREATE DATABASE ${quoted(this.#endpoint.database)} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
      );
    } catch (error) {
      // Another server that starts at the same time was faster.
      if (!["42P04", "23505"].includes(codeOf(error) ?? "")) {
        if (codeOf(error) === "42501") Object.assign(error as Error, { code: "3D000" });
        throw error;
      }
    } finally {
      await client.end();
    }
  }

  /** What needs the administrator is told with what to do, and what may pass by itself as a failure. */
  async #explained<T>(work: () => Promise<T>, user = this.#endpoint.user): Promise<T> {
    const { password, database } = this.#endpoint;
    try {
      return await work();
    } catch (error) {
      const remedy = postgresRemedy(error, user, database);
      if (!remedy) throw postgresFailure(error, password);
      const reason = untrustedReason(error) ?? redact((error as Error).message, password);
      throw new ConfigurationError(`${this.name}: ${reason}; ${remedy}`);
    }
  }
}

async function createTables(client: Client): Promise<void> {
  const { rows } = await client.query<{ there: boolean }>("SELECT to_regclass('k3ts_meta') IS NOT NULL AS there");
  if (rows[0]?.there) {
    const found = await client.query<{ version: number }>("SELECT version FROM k3ts_meta");
    if ((found.rows[0]?.version ?? 0) >= schemaVersion) return;
  }
  // One statement text is one transaction; several servers may start at once.
  await client.query(
    `SELECT pg_advisory_xact_lock(${setupLock}); ${schema} UPDATE k3ts_meta SET version = ${schemaVersion};`,
  );
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}
