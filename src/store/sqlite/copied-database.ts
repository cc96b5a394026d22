import Database from "better-sqlite3";

/** What is wrong with a file that should be a copy of a store's database. */
export class DamagedCopyError extends Error {}

/**
 * Checks a copy of a store's database from beginning to end, and makes it one file that stands alone. Synchronous and as
 * long as the file is large: not for a thread that has anything else to do.
 * @returns the newest revision that it knows of
 * @throws DamagedCopyError when it is damaged, or the database of something else
 */
export function checkCopiedDatabase(path: string, options: { nativeBinding?: string } = {}): number {
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { fileMustExist: true, ...options });
    // What a copy has no use for: files beside it.
    db.pragma("journal_mode = DELETE");
    const found = db.pragma("integrity_check(1)", { simple: true });
    if (found !== "ok") throw new DamagedCopyError(`the database "${path}" is damaged: ${String(found)}`);
    return headOf(db);
  } catch (error) {
    if (error instanceof DamagedCopyError || isBusy(error)) throw error;
    throw new DamagedCopyError(`"${path}" is no sound database of k3ts: ${(error as Error).message}`);
  } finally {
    db?.close();
  }
}

/**
 * The newest revision of a database that no server uses; what stands in its log goes into the file.
 * @throws SqliteError when another process has it, or it is damaged
 */
export function newestRevision(path: string): number {
  const db = new Database(path, { fileMustExist: true, timeout: 2000 });
  try {
    db.pragma("locking_mode = EXCLUSIVE");
    db.exec("BEGIN IMMEDIATE; COMMIT");
    return headOf(db);
  } finally {
    db.close();
  }
}

function headOf(db: Database.Database): number {
  const newest = db.prepare("SELECT max(revision) AS head FROM log WHERE create_revision > 0").get() as Head;
  const raised = db.prepare("SELECT max(value) AS head FROM meta WHERE name = 'head'").get() as Head;
  return Math.max(newest.head ?? 0, raised.head ?? 0);
}

type Head = { readonly head: number | null };

/** Does another process have the database? */
export function isBusy(error: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED)/.test((error as { code?: string }).code ?? "");
}
