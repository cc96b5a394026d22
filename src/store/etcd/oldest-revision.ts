import type { Clock } from "../../machinery/clock.ts";
import { GrpcError } from "../../rpc/grpc-client.ts";
import { compactionKey, compactionTold } from "./compactor.ts";
import type { EtcdConnection } from "./etcd-connection.ts";
import { kv, watchMethod } from "./etcd-messages.ts";

const patienceMs = 2000;
const progressIntervalMs = 50;

/**
 * The revision to which etcd is compacted, 0 when it never was. etcd tells it only to a watch that begins before: one from
 * the first revision, on a key that nobody writes. Versions that do not answer such a watch have it from the key by which
 * servers agree on compactions.
 */
export async function oldestRevision(connection: EtcdConnection, clock: Clock): Promise<number> {
  const abort = new AbortController();
  const late = clock.after(patienceMs, () => abort.abort());
  const { call } = connection.bidi(watchMethod, abort.signal);
  call.write({ create: { key: Buffer.from("\0"), startRevision: 1 } });
  let asking = clock.after(0, function ask() {
    call.write({ progress: {} });
    asking = clock.after(progressIntervalMs, ask);
  });
  try {
    for await (const { canceled, created, compactRevision } of call.responses) {
      if (canceled && compactRevision > 0) return compactRevision;
      if (!canceled && !created) return 0;
    }
  } catch (error) {
    if (!(error instanceof GrpcError)) throw error;
  } finally {
    late.cancel();
    asking.cancel();
    abort.abort();
  }
  const { kvs } = await connection.read(kv.range, { key: compactionKey });
  return compactionTold(kvs[0]?.value);
}
