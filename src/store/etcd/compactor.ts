import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { EtcdConnection } from "./etcd-connection.ts";
import { isCompacted } from "./etcd-errors.ts";
import { kv } from "./etcd-messages.ts";

/** The API server's own key and figures, so that one of those beside us takes turns with us. */
export const compactionKey = "compact_rev_key";
const intervalMs = 5 * 60 * 1000;

export interface CompactorOptions {
  readonly connection: EtcdConnection;
  /** The cluster's clock. */
  readonly clock: Clock;
  readonly logger: Logger;
  /** The newest revision that this store knows of. */
  readonly seen: () => number;
  readonly onCompacted: (revision: number) => void;
}

/**
 * Compacts etcd every five minutes to the revision that was seen five minutes before. Servers agree by a key whose version
 * counts the compactions: who finds the version that it knows writes the next one and compacts; the others learn it, and
 * wait another interval.
 */
export class Compactor {
  readonly #options: CompactorOptions;
  #timer: Timer | undefined;
  #version = 0;
  /** What was seen at the last tick. */
  #old = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(options: CompactorOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { kvs } = await this.#options.connection.read(kv.range, { key: compactionKey });
    this.#version = kvs[0]?.version ?? 0;
    this.#old = this.#options.seen();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Resolves when no scheduled compaction is under way. */
  settled(): Promise<void> {
    return this.#running;
  }

  #arm(): void {
    this.#timer = this.#options.clock.after(intervalMs, () => {
      const { logger, seen } = this.#options;
      const revision = this.#old;
      this.#old = seen();
      this.#running = this.#running
        .then(() => this.#compactTo(revision))
        .catch((error) => logger.warn({ err: error, revision }, "Compacting etcd failed; it is tried again"));
      this.#arm();
    });
  }

  async #compactTo(revision: number): Promise<void> {
    const { connection, onCompacted } = this.#options;
    const { succeeded, responses } = await connection.write(kv.txn, {
      compare: [{ target: "VERSION", key: compactionKey, version: this.#version }],
      success: [{ put: { key: compactionKey, value: Buffer.from(String(revision)) } }],
      failure: [{ range: { key: compactionKey } }],
    });
    if (!succeeded) {
      const other = responses[0]?.range?.kvs[0];
      this.#version = other?.version ?? 0;
      onCompacted(compactionTold(other?.value));
      return;
    }
    this.#version++;
    await compactTo(connection, revision);
    onCompacted(revision);
  }
}

/** The revision that a server says it compacts to, by the value of the key; 0 when it says nothing of the kind. */
export function compactionTold(value: Buffer | undefined): number {
  return Number(value?.toString()) || 0;
}

/** Compacts; that it was done before, or further, is as well. */
export async function compactTo(connection: EtcdConnection, revision: number): Promise<void> {
  try {
    await connection.read(kv.compact, { revision });
  } catch (error) {
    if (!isCompacted(error)) throw error;
  }
}
