import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { badRequest } from "../../machinery/status.ts";
import type { Store } from "../../store/store.ts";
import {
  deleteSnapshots,
  freeSecond,
  listSnapshots,
  pruneSnapshots,
  removeUnfinished,
  type SnapshotFile,
  snapshotDirectory,
  unfinishedName,
} from "./snapshot-files.ts";
import { compressedExtension, isFileName, snapshotName } from "./snapshot-name.ts";

/** How snapshots are made where a request says nothing else. */
export interface SnapshotSettings {
  /** What the names of snapshots begin with. */
  readonly name: string;
  /** Absent: `<data>/server/db/snapshots`. */
  readonly directory: string | undefined;
  readonly compress: boolean;
  /** How many of a name are kept; 0: all. */
  readonly retention: number;
}

/** What was made and removed (K3s' reply). */
export interface SnapshotResult {
  readonly created?: readonly string[];
  readonly deleted?: readonly string[];
}

export interface SnapshotsOptions {
  /** `<data>/server` */
  readonly directory: string;
  readonly nodeName: string;
  readonly store: Pick<Store, "snapshot">;
  /** Runs before a copy is made: what a restored server needs has to be in the store. */
  readonly prepare: () => Promise<void>;
  /** Cluster time. */
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The snapshots that this server makes of the store, one at a time. */
export class Snapshots {
  readonly #options: SnapshotsOptions;
  #saving = false;

  constructor(options: SnapshotsOptions) {
    this.#options = options;
  }

  /**
   * Makes a snapshot while writes go on, then removes those that are too many.
   * @throws 400 where that is not possible here or not as asked, and whatever the store or the disk says
   */
  async save(settings: SnapshotSettings): Promise<SnapshotResult> {
    const { store } = this.#options;
    if (!store.snapshot) throw badRequest("this store cannot be copied");
    if (!isFileName(settings.name))
      throw badRequest(`invalid snapshot name ${JSON.stringify(settings.name)}: path traversal not allowed`);
    if (this.#saving) throw badRequest("snapshot save already in progress");
    this.#saving = true;
    try {
      const directory = this.#directory(settings);
      const created = await this.#write(directory, settings);
      const deleted = this.#prune(directory, settings);
      return { created: [created], ...(deleted.length > 0 ? { deleted } : {}) };
    } finally {
      this.#saving = false;
    }
  }

  async #write(directory: string, { name: base, compress }: SnapshotSettings): Promise<string> {
    const { store, nodeName, prepare, clock, logger } = this.#options;
    const nameOf = (second: number) => snapshotName(base, nodeName, second);
    const second = freeSecond(directory, nameOf, Math.round(clock.now() / 1000));
    const plainName = nameOf(second);
    const name = compress ? plainName + compressedExtension : plainName;
    const path = join(directory, name);
    const unfinished = join(directory, unfinishedName(nodeName, plainName));
    logger.info(`Saving etcd snapshot to ${path}`);
    removeUnfinished(directory, nodeName);
    await prepare();
    try {
      const { revision } = await store.snapshot!(unfinished);
      if (compress) {
        logger.info(`Compressing etcd snapshot file: ${plainName}`);
        const { zipFile } = await import("./zip.ts");
        await zipFile(unfinished, unfinished + compressedExtension, plainName, second * 1000);
        await rm(unfinished);
        await rename(unfinished + compressedExtension, path);
      } else await rename(unfinished, path);
      await syncDirectory(directory);
      logger.info({ revision }, "The snapshot is whole");
      return name;
    } catch (error) {
      for (const left of [unfinished, unfinished + compressedExtension]) await rm(left, { force: true });
      throw error;
    }
  }

  list(settings: Pick<SnapshotSettings, "directory">): SnapshotFile[] {
    return listSnapshots(this.#directory(settings));
  }

  delete(settings: Pick<SnapshotSettings, "directory">, names: readonly string[]): SnapshotResult {
    const deleted = deleteSnapshots(this.#directory(settings), names);
    for (const name of names)
      this.#options.logger.info(`Snapshot ${name} ${deleted.includes(name) ? "deleted" : "not found"} locally`);
    return deleted.length > 0 ? { deleted } : {};
  }

  prune(settings: SnapshotSettings): SnapshotResult {
    const deleted = this.#prune(this.#directory(settings), settings);
    return deleted.length > 0 ? { deleted } : {};
  }

  #prune(directory: string, { name, retention }: SnapshotSettings): readonly string[] {
    if (retention < 1) return [];
    const deleted = pruneSnapshots(directory, name, retention);
    for (const one of deleted) this.#options.logger.info(`Removing local snapshot ${join(directory, one)}`);
    return deleted;
  }

  #directory({ directory }: Pick<SnapshotSettings, "directory">): string {
    return snapshotDirectory(this.#options.directory, directory);
  }
}

/** So that a snapshot that was told of is there after a power cut. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
