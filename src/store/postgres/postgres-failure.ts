import { redact } from "../sql/redact.ts";
import { type FailureKind, SqlFailure } from "../sql/sql-database.ts";
import { untrustedReason, untrustedRemedy } from "../untrusted-certificate.ts";
import { fencedState } from "./postgres-schema.ts";

/** What an error of the client library means. The error itself is dropped: it may carry statements and values. */
export function postgresFailure(error: unknown, password: string): SqlFailure {
  if (error instanceof SqlFailure) return error;
  const { code, severity, message, errors } = error as Error & {
    code?: string;
    severity?: string;
    errors?: readonly Error[];
  };
  const text = redact(message || errors?.[0]?.message || code || "the connection failed", password);
  // What has a severity comes from the server; everything else is the connection.
  if (severity === undefined) return new SqlFailure("lost", text);
  return new SqlFailure(kindOf(code ?? "", severity), `${text} (${code})`);
}

/** By the SQLSTATE. @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
function kindOf(state: string, severity: string): FailureKind {
  if (state === fencedState) return "fenced";
  // A connection that is ended by the server may be ended after its commit.
  if (severity === "FATAL" || severity === "PANIC" || state.startsWith("08")) return "lost";
  if (["40001", "40P01", "55P03"].includes(state)) return "again";
  return "refused";
}

/**
 * What to do about an error that time does not mend; undefined for all others.
 * @param error of the client library, while a connection is made or the tables are
 */
export function postgresRemedy(error: unknown, user: string, database: string): string | undefined {
  const { code, message = "" } = error as { code?: string; message?: string };
  if (untrustedReason(error) !== undefined) return untrustedRemedy;
  if (message.includes("does not support SSL"))
    return "switch TLS on in PostgreSQL, or say sslmode=disable in --datastore-endpoint where the network can be trusted";
  switch (code) {
    case "42704":
    case "22023":
      return "check the parameters behind the ? in --datastore-endpoint";
    case "28P01":
    case "28000":
      return "check the user and the password in --datastore-endpoint, and pg_hba.conf";
    case "3D000":
      return `let an administrator run: CREATE DATABASE ${quoted(database)} OWNER ${quoted(user)} ENCODING 'UTF8' TEMPLATE template0`;
    case "42501":
      return `let an administrator run, in the database ${quoted(database)}: GRANT ALL ON SCHEMA public TO ${quoted(user)}`;
    default:
      return undefined;
  }
}

/** A name as SQL writes it. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
