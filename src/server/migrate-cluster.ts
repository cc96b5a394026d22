import { builtInResources } from "../api/registry.ts";
import { serverLeasePrefix } from "../apiserver/kubernetes-service/server-leases.ts";
import { migrateStore } from "../store/migrate.ts";
import type { Store } from "../store/store.ts";

/**
 * Moves a cluster from one store into another, as {@link migrateStore} says: what lives for a time only does so anew, and
 * the servers of the old store are left out.
 */
export function migrateCluster(
  from: Store,
  to: Store,
  options: { readonly source: string; readonly onProgress?: (entries: number) => void },
): Promise<{ readonly entries: number; readonly revision: number }> {
  const lifetimes = builtInResources.flatMap(({ storage }) =>
    storage?.ttlSeconds === undefined ? [] : [[`/registry/${storage.prefix}/`, storage.ttlSeconds] as const],
  );
  return migrateStore(from, to, {
    ...options,
    lifetimeOf: (key) => lifetimes.find(([prefix]) => key.startsWith(prefix))?.[1],
    leaveOut: (key) => key.startsWith(serverLeasePrefix),
  });
}
