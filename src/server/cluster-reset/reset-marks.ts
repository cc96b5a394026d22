import { closeSync, existsSync, fsyncSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../agent/host/files.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";

/** K3s' file: the cluster was reset, and this server has not been started since. */
export const resetFlag = (serverDirectory: string) => join(serverDirectory, "db", "reset-flag");

/** The old database is being replaced by a restored one: there may be neither. */
const exchanging = (serverDirectory: string) => join(serverDirectory, "db", "restore-unfinished");

/** @throws ConfigurationError after a restore that was cut off: a start would begin an empty cluster */
export function assertRestoreFinished(serverDirectory: string): void {
  if (!existsSync(exchanging(serverDirectory))) return;
  throw new ConfigurationError(
    `restoring a snapshot was cut off in ${join(serverDirectory, "db")}; ` +
      "run it once more with --cluster-reset --cluster-reset-restore-path",
  );
}

/** Runs the steps between which no start may come. Cut off, the restore has to be run again. */
export function exchange(serverDirectory: string, steps: () => void): void {
  writeFileAtomic(exchanging(serverDirectory), "", 0o600);
  syncDirectory(join(serverDirectory, "db"));
  steps();
  syncDirectory(join(serverDirectory, "db"));
  rmSync(exchanging(serverDirectory));
}

export function raiseResetFlag(serverDirectory: string): void {
  writeFileAtomic(resetFlag(serverDirectory), "", 0o600);
}

function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
