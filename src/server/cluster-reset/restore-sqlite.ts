import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { clusterClock, ioClock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { checkCopiedDatabase, isBusy, newestRevision } from "../../store/sqlite/copied-database.ts";
import { openSqliteStore } from "../../store/sqlite/sqlite-store.ts";
import type { Store } from "../../store/store.ts";
import { exchange } from "./reset-marks.ts";
import { revisionsAbove } from "./revisions-above.ts";
import { refusal } from "./snapshot-source.ts";

/** Replaced databases that are kept, as of etcd. */
const keptOld = 5;

/** What SQLite keeps beside a database. */
const companions = ["-wal", "-shm", ""];

/**
 * Puts a snapshot in the place of this server's SQLite database, which is kept in `sqlite-old-<time>` beside it. The new
 * one is made whole before the old one is touched.
 * @param options.adopt is given the restored store before it takes its place
 * @throws ConfigurationError when the snapshot is damaged or the database is in use
 */
export async function restoreSqlite(options: {
  readonly snapshot: string;
  /** `<data>/server` */
  readonly directory: string;
  /** The database. */
  readonly path: string;
  readonly adopt: (store: Store) => Promise<void>;
  readonly logger: Logger;
}): Promise<void> {
  const { snapshot, directory, path, logger } = options;
  const made = `${path}.restoring`;
  const discard = () => {
    for (const suffix of ["-journal", ...companions]) rmSync(made + suffix, { force: true });
  };
  discard();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const above = aboveAll(path, logger);
  try {
    copyFileSync(snapshot, made);
    await chmod(made, 0o600);
    const copied = checked(made, snapshot);
    const store = await openSqliteStore({ path: made, logger, clock: clusterClock });
    try {
      await store.raiseRevision(revisionsAbove(copied, above));
      await options.adopt(store);
    } finally {
      await store.close();
    }
    if (existsSync(`${made}-wal`)) throw new Error(`the restored database ${made} could not be finished; see the disk`);
  } catch (error) {
    discard();
    throw error;
  }
  exchange(directory, () => {
    const folder = dirname(path);
    const older = readdirSync(folder).filter((name) => /^sqlite-old-\d+$/.test(name));
    for (const name of older.sort().slice(0, -(keptOld - 1))) rmSync(join(folder, name), { recursive: true });
    const there = companions.filter((suffix) => existsSync(path + suffix));
    if (there.length > 0) {
      const old = join(folder, `sqlite-old-${Math.floor(ioClock.now() / 1000)}`);
      mkdirSync(old, { recursive: true, mode: 0o700 });
      for (const suffix of there) renameSync(path + suffix, join(old, basename(path) + suffix));
      logger.info(`Pre-restore sqlite database moved to ${old}`);
    }
    renameSync(made, path);
  });
}

/** The newest revision of the database that is replaced, as far as it can still be read. */
function aboveAll(path: string, logger: Logger): number {
  if (!existsSync(path)) return 0;
  try {
    return newestRevision(path);
  } catch (error) {
    if (isBusy(error)) throw new ConfigurationError(`the database ${path} is in use; stop the server before a restore`);
    logger.warn({ path, error: (error as Error).message }, "The database that is replaced cannot be read");
    return 0;
  }
}

function checked(made: string, snapshot: string): number {
  try {
    return checkCopiedDatabase(made);
  } catch (error) {
    throw refusal(snapshot, (error as Error).message.replaceAll(made, snapshot));
  }
}
