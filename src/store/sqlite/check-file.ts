import { existsSync, readFileSync, statSync } from "node:fs";
import type Database from "better-sqlite3";
import { walDamage } from "./wal-damage.ts";

/** A check reads the whole file, about 1 ms a megabyte: at every start only where nobody notices. */
const alwaysCheckedBytes = 16 * 1024 * 1024;
/** After a crash of the machine or the process it is worth more time; beyond this, damage is found when it is read. */
const checkedAfterCrashBytes = 256 * 1024 * 1024;
/** What SQLite lets a write-ahead log grow to is a quarter of this, as long as it can write to the database. */
const checkedLogBytes = 64 * 1024 * 1024;

/**
 * Looks at the files before SQLite opens them, which drops what it cannot read of a write-ahead log. Throws an error with
 * the code SQLITE_CORRUPT.
 * @returns whether the last process ended without closing its database
 */
export function checkLog(path: string): { readonly unclean: boolean } {
  const wal = `${path}-wal`;
  const size = existsSync(wal) ? statSync(wal).size : 0;
  if (size === 0) return { unclean: false };
  const found = size <= checkedLogBytes ? walDamage(readFileSync(wal)) : undefined;
  if (found) throw corrupt(found);
  return { unclean: true };
}

/** Checks the database's structure, where that is worth its time. Throws an error with the code SQLITE_CORRUPT. */
export function checkPages(
  db: Database.Database,
  options: { readonly bytes: number; readonly unclean: boolean },
): void {
  if (options.bytes > (options.unclean ? checkedAfterCrashBytes : alwaysCheckedBytes)) return;
  const found = db.pragma("quick_check(1)", { simple: true }) as string;
  if (found !== "ok") throw corrupt(found.replaceAll(/\s+/g, " "));
}

function corrupt(message: string): Error {
  return Object.assign(new Error(message), { code: "SQLITE_CORRUPT" });
}
