import { redact } from "../sql/redact.ts";
import { type FailureKind, SqlFailure } from "../sql/sql-database.ts";
import { untrustedReason, untrustedRemedy } from "../untrusted-certificate.ts";
import { fencedState } from "./mysql-schema.ts";

interface MysqlError extends Error {
  readonly code?: string;
  readonly errno?: number;
  readonly sqlState?: string;
  readonly errors?: readonly Error[];
}

/** The server ended the statement or the connection, perhaps after its commit: killed, shut down, out of time. */
const cut = new Set([1053, 1077, 1079, 1152, 1184, 1317, 1927, 1969, 3024]);
/** Deadlock, time-out of a lock, a row that changed under a snapshot. */
const again = new Set([1020, 1205, 1213]);
/** Options of the server that forbid writing. */
export const readOnlyErrors: ReadonlySet<number | undefined> = new Set([1290, 1792, 1836]);

/** What an error of the client library means. The error itself is dropped: it carries the statement with its values. */
export function mysqlFailure(error: unknown, password: string): SqlFailure {
  if (error instanceof SqlFailure) return error;
  const { code, errno, sqlState, message, errors } = error as MysqlError;
  const text = redact(message || errors?.[0]?.message || code || "the connection failed", password);
  // What has a state comes from the server; everything else is the connection.
  if (sqlState === undefined) return new SqlFailure("lost", text);
  return new SqlFailure(kindOf(errno ?? 0, sqlState), `${text} (${errno})`);
}

function kindOf(errno: number, state: string): FailureKind {
  if (state === fencedState) return "fenced";
  if (cut.has(errno) || state.startsWith("08")) return "lost";
  if (again.has(errno)) return "again";
  return "refused";
}

/**
 * What to do about an error that time does not mend; undefined for all others.
 * @param error of the client library, while a connection is made or the tables are
 */
export function mysqlRemedy(error: unknown, user: string, database: string): string | undefined {
  if (untrustedReason(error) !== undefined) return `${untrustedRemedy}; or say tls=skip-verify in --datastore-endpoint`;
  if ((error as MysqlError).code === "HANDSHAKE_NO_SSL_SUPPORT")
    return "switch TLS on in the database, or say tls=false in --datastore-endpoint where the network can be trusted";
  switch (errnoOf(error)) {
    // A variable that there is none of, or a value that it does not take.
    case 1193:
    case 1231:
    case 1232:
      return "check the parameters behind the ? in --datastore-endpoint";
    // Wrong password, or no way in from this machine.
    case 1045:
    case 1130:
    case 1698:
      return "check the user and the password in --datastore-endpoint, and from where the user may log in";
    case 1044:
    case 1049:
    case 1142:
    case 1227:
    case 1370:
      return (
        `let an administrator run: CREATE DATABASE IF NOT EXISTS ${quoted(database)}; ` +
        `GRANT ALL PRIVILEGES ON ${quoted(database)}.* TO '${user.replaceAll("'", "''")}'@'%'`
      );
    default:
      return undefined;
  }
}

export function errnoOf(error: unknown): number | undefined {
  return (error as MysqlError).errno;
}

/** A name as SQL writes it. */
export function quoted(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}
