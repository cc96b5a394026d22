import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Clock } from "../../machinery/clock.ts";

/** `<data>/server/db/etcd`: a member's data, beside it its name, its configuration and, at its end, its tombstone. */
export function etcdDirectoryOf(serverDirectory: string): string {
  return join(serverDirectory, "db", "etcd");
}

/** Whether a member's data is in this directory. */
export function isInitialized(etcdDirectory: string): boolean {
  return existsSync(join(etcdDirectory, "member", "wal"));
}

/** Marks the data of a member that the cluster has removed (K3s' file). */
export function bury(etcdDirectory: string): void {
  writeFileSync(join(etcdDirectory, "tombstone"), "", { mode: 0o600 });
}

export function isBuried(etcdDirectory: string): boolean {
  return existsSync(join(etcdDirectory, "tombstone"));
}

/** Old data that is kept, so that nothing is lost by a mistake (K3s' number). */
const keptBackups = 5;

/**
 * Puts a member's data aside, so that this server can be a new one: `etcd-backup-<time>` where the cluster has removed the
 * member, `etcd-old-<time>` where a snapshot takes its place.
 */
export function putAside(etcdDirectory: string, clock: Clock, as: "backup" | "old" = "backup"): string {
  const parent = dirname(etcdDirectory);
  const prefix = `${basename(etcdDirectory)}-${as}-`;
  const backups = readdirSync(parent)
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(parent, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const old of backups.slice(keptBackups - 1)) rmSync(old, { recursive: true });
  const backup = join(parent, prefix + Math.floor(clock.now() / 1000));
  rmSync(backup, { recursive: true, force: true });
  renameSync(etcdDirectory, backup);
  mkdirSync(etcdDirectory, { mode: 0o700 });
  return backup;
}
