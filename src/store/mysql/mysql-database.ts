import { randomUUID } from "node:crypto";
import { connect, isIP } from "node:net";
import { type Connection, createConnection } from "mysql2/promise";
import type { Clock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { SqlAddress, SqlEndpoint } from "../datastore-endpoint.ts";
import { withinDeadline } from "../sql/deadline.ts";
import { redact } from "../sql/redact.ts";
import { type SqlDatabase, SqlFailure } from "../sql/sql-database.ts";
import type { TlsMaterial } from "../tls-files.ts";
import { untrustedReason } from "../untrusted-certificate.ts";
import { Doorbell, type DoorbellConnection } from "./doorbell.ts";
import { errnoOf, mysqlFailure, mysqlRemedy, quoted } from "./mysql-failure.ts";
import { type MysqlOptions, tlsOptions } from "./mysql-options.ts";
import { procedures, schemaVersion, setupLock, tables } from "./mysql-schema.ts";
import { MysqlSession } from "./mysql-session.ts";

/** How long a connection may take, log-in included, in milliseconds. */
const connectTimeoutMs = 5000;
/** The server gives up waiting for a lock before the client does, in seconds. */
const lockTimeoutSeconds = 9;

/** Whatever the server's defaults are: the log's order rests on statements that see what was committed before them. */
const sessionSettings = [
  "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
  "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
  `SET SESSION innodb_lock_wait_timeout = ${lockTimeoutSeconds}`,
];

/** MySQL or MariaDB as the store's database. */
export class MysqlDatabase implements SqlDatabase {
  readonly name: string;
  readonly #endpoint: SqlEndpoint;
  readonly #options: MysqlOptions;
  readonly #tls: TlsMaterial;
  readonly #clock: Clock;
  /** Marks the listener of this process. */
  readonly #own = randomUUID().slice(0, 8);
  readonly #doorbell: Doorbell;
  #bellConnection: (DoorbellConnection & { broken: boolean }) | undefined;
  /** The server has said that it speaks no TLS, and the address allows to go without. */
  #plain = false;

  /** @param options.clock the io clock */
  constructor(options: { endpoint: SqlEndpoint; options: MysqlOptions; tls: TlsMaterial; clock: Clock }) {
    const { address, database } = options.endpoint;
    this.name = `MySQL at ${"socketPath" in address ? address.socketPath : `${address.host}:${address.port}`}`;
    this.#endpoint = options.endpoint;
    this.#options = options.options;
    this.#tls = options.tls;
    this.#clock = options.clock;
    this.#doorbell = new Doorbell({
      connection: () => this.#bell(),
      clock: options.clock,
      database,
      own: this.#own,
    });
  }

  async prepare(): Promise<void> {
    const { database } = this.#endpoint;
    const connection = await this.#explained(async () => {
      try {
        return await this.#connection(database);
      } catch (error) {
        if (errnoOf(error) !== 1049) throw error;
        await this.#createDatabase();
        return await this.#connection(database);
      }
    });
    try {
      await this.#explained(() => createTables(connection, database));
    } finally {
      connection.destroy();
    }
  }

  async connect(): Promise<MysqlSession> {
    const { password, database } = this.#endpoint;
    try {
      const connection = await this.#connection(database);
      const onCommit = () => this.#doorbell.ring();
      return new MysqlSession({ connection, password, own: this.#own, onCommit });
    } catch (error) {
      throw mysqlFailure(error, password);
    }
  }

  close(): void {
    this.#doorbell.close();
    this.#bellConnection?.close();
  }

  async #connection(database: string | undefined): Promise<Connection> {
    const { address, user, password } = this.#endpoint;
    const { tls, settings } = this.#options;
    const ssl = this.#plain ? undefined : tlsOptions(tls, this.#tls);
    let connection: Connection;
    try {
      connection = await createConnection({
        ...serverOptions(address),
        ...{ user, password, connectTimeout: connectTimeoutMs, charset: "utf8mb4", multipleStatements: true },
        ...{ supportBigNumbers: true, enableKeepAlive: true, keepAliveInitialDelay: 10_000 },
        ...(database === undefined ? {} : { database }),
        ...(ssl ? { ssl } : {}),
      });
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "ETIMEDOUT")
        throw new SqlFailure("lost", `it accepted no connection within ${connectTimeoutMs / 1000} s`);
      if (ssl && code === "HANDSHAKE_NO_SSL_SUPPORT" && tls === "preferred") {
        this.#plain = true;
        return this.#connection(database);
      }
      throw error;
    }
    // Without a listener, a connection that breaks while nobody uses it would end the process.
    connection.on("error", () => {});
    const session = { close: () => connection.destroy() };
    try {
      await withinDeadline(this.#clock, session, connectTimeoutMs, () =>
        connection.query([...sessionSettings, ...settings].join("; ")),
      );
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  async #createDatabase(): Promise<void> {
    const connection = await this.#connection(undefined);
    try {
      await connection.query(
        `CREATE DATABASE IF NOT EXISTS ${quoted(this.#endpoint.database)} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
      );
    } finally {
      connection.destroy();
    }
  }

  /** The connection that wakes others, made when something is first written. */
  async #bell(): Promise<DoorbellConnection> {
    if (this.#bellConnection && !this.#bellConnection.broken) return this.#bellConnection;
    const connection = await this.#connection(this.#endpoint.database);
    const bell = {
      broken: false,
      query: async (sql: string) =>
        (await connection.query({ sql, rowsAsArray: true }))[0] as unknown as readonly (readonly unknown[])[],
      close: () => {
        bell.broken = true;
        connection.destroy();
      },
    };
    connection.on("error", () => {
      bell.broken = true;
    });
    connection.on("end", () => {
      bell.broken = true;
    });
    this.#bellConnection = bell;
    return bell;
  }

  /** What needs the administrator is told with what to do, and what may pass by itself as a failure. */
  async #explained<T>(work: () => Promise<T>): Promise<T> {
    const { user, password, database } = this.#endpoint;
    try {
      return await work();
    } catch (error) {
      const remedy = mysqlRemedy(error, user, database);
      if (!remedy) throw mysqlFailure(error, password);
      const reason = untrustedReason(error) ?? redact((error as Error).message, password);
      throw new ConfigurationError(`${this.name}: ${reason}; ${remedy}`);
    }
  }
}

/**
 * Where to connect. The library verifies a certificate for "localhost" where the host is an IP address; with a dot behind
 * it, which whoever compares names takes away, it is passed on as it is.
 */
function serverOptions(address: SqlAddress) {
  if ("socketPath" in address) return { socketPath: address.socketPath };
  const { host, port } = address;
  if (!isIP(host)) return { host, port };
  return { host: `${host}.`, port, stream: () => connect({ host, port, noDelay: true }) };
}

async function createTables(connection: Connection, database: string): Promise<void> {
  const isUpToDate = async () => {
    try {
      const [rows] = await connection.query("SELECT version FROM k3ts_meta");
      return ((rows as { version: number }[])[0]?.version ?? 0) >= schemaVersion;
    } catch (error) {
      if (errnoOf(error) === 1146) return false;
      throw error;
    }
  };
  if (await isUpToDate()) return;
  // Definitions are not part of transactions here, and several servers may start at once. The lock ends with the connection.
  await connection.query("SELECT GET_LOCK(?, 60)", [setupLock(database)]);
  if (await isUpToDate()) return;
  for (const table of tables) await connection.query(table);
  for (const [name, definition] of procedures) {
    await connection.query(`DROP PROCEDURE IF EXISTS ${name}`);
    await connection.query(definition);
  }
  await connection.query("UPDATE k3ts_meta SET version = ?", [schemaVersion]);
}
