import type { WireError } from "./messages.ts";

/** An error of SQLite; `committing` is set where it is not known whether the transaction happened. */
export interface SqliteFailure extends Error {
  readonly code?: string;
  readonly committing?: boolean;
}

/** The file is not what was written to it: nothing more may be written, and no later attempt helps. */
export function isDamage(code: string | undefined): boolean {
  return code !== undefined && /^SQLITE_(CORRUPT|NOTADB)/.test(code);
}

/** What a failure of SQLite means for callers, in words that name the file and what can be done. */
export function describeFailure(path: string, { code = "", message, committing }: SqliteFailure): WireError {
  const what = `${code}: ${message}`;
  if (isDamage(code)) {
    return {
      kind: "damaged",
      message:
        `the database file "${path}" is damaged (${what}), and nothing is written to it any more; go back to a snapshot ` +
        "with --cluster-reset --cluster-reset-restore-path=<snapshot>, or take the file away to begin with an empty cluster",
    };
  }
  if (!code.startsWith("SQLITE_")) return { kind: "other", message };
  if (committing) return { kind: "unknown", message: `whether the write to "${path}" happened is not known (${what})` };
  if (code === "SQLITE_FULL") {
    return {
      kind: "unavailable",
      message: `the disk of the database file "${path}" is full (${what}); nothing is written until there is room`,
    };
  }
  if (/^SQLITE_(READONLY|CANTOPEN|PERM|IOERR_LOCK)/.test(code)) {
    return {
      kind: "readonly",
      message: `the database file "${path}" cannot be written (${what}); its folder has to be writable, on a file system with locks`,
    };
  }
  if (code.startsWith("SQLITE_IOERR")) {
    return {
      kind: "unavailable",
      message: `the disk of the database file "${path}" fails (${what}); the kernel's log or the disk's quota tells more`,
    };
  }
  return { kind: "unavailable", message: `the database file "${path}" cannot be used now (${what})` };
}
