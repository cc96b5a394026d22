import type { Logger } from "../../machinery/log.ts";
import type { EtcdConnection } from "./etcd-connection.ts";
import { kv } from "./etcd-messages.ts";

/** Outside of everything that belongs to a cluster; gone when all is done. */
const scratchKey = "k3ts/revision";
const writesAtOnce = 256;
/** At some thousands a second this is a quarter of an hour. */
const mostWrites = 5_000_000;

/**
 * Writes until etcd's revision is `wanted`: etcd counts its writes, and has no other way while it runs.
 * @throws Error when that would take more than five million writes
 */
export async function raiseTo(
  connection: EtcdConnection,
  current: number,
  wanted: number,
  logger: Logger,
): Promise<void> {
  const writes = wanted - current;
  if (writes > mostWrites)
    throw new Error(
      `raising etcd's revision from ${current} to ${wanted} would take ${writes} writes, more than ${mostWrites}; ` +
        `restore a snapshot of it with "etcdutl snapshot restore --bump-revision ${writes} --mark-compacted" instead`,
    );
  logger.info({ current, wanted }, "Raising etcd's revision by writes");
  // The removal of the key is the last of them.
  let left = writes - 1;
  const value = Buffer.from(String(wanted));
  const lane = async () => {
    while (left-- > 0) await connection.read(kv.put, { key: scratchKey, value });
  };
  await Promise.all(Array.from({ length: Math.min(writesAtOnce, writes) }, lane));
  if (writes === 1) await connection.read(kv.put, { key: scratchKey, value });
  await connection.read(kv.deleteRange, { key: scratchKey });
}
