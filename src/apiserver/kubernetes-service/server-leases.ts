import type { Endpoints } from "../../api/generated/core-v1.ts";
import { parseJson } from "../../machinery/json.ts";
import type { Store } from "../../store/store.ts";
import { keyRoot } from "../storage/store-feed.ts";
import { endpointsOf, type ServerAddress } from "./endpoints-plan.ts";

/** Below this a key stands for every API server that works: Kubernetes' own place for them. */
export const serverLeasePrefix = `${keyRoot}masterleases/`;
/** A server that did not renew its key for so long is gone (Kubernetes' figure). */
const lifetimeSeconds = 15;
/** Nobody else writes a server's own key, but for one with the same address. */
const attempts = 5;

/** Writes the key of a server, or writes it again so that it lives on. @throws when the store takes no writes */
export async function renewServerLease(store: Store, server: ServerAddress): Promise<void> {
  const key = serverLeasePrefix + server.address;
  const { subsets } = endpointsOf([server]);
  const value = Buffer.from(JSON.stringify({ kind: "Endpoints", apiVersion: "v1", metadata: {}, subsets }));
  const options = { ttlSeconds: lifetimeSeconds };
  let present = await store.get(key);
  for (let attempt = 0; attempt < attempts; attempt++) {
    const result = present
      ? await store.update(key, value, present.modRevision, options)
      : await store.create(key, value, options);
    if (result.ok) return;
    present = result.current;
  }
  throw new Error(`another API server advertises the address ${server.address}, too; give it one of its own`);
}

/** Takes a server's key away, so that nobody waits for it to run out. */
export async function removeServerLease(store: Store, { address }: ServerAddress): Promise<void> {
  const present = await store.get(serverLeasePrefix + address);
  if (present) await store.delete(present.key, present.modRevision);
}

/** Every API server that works. A key of Kubernetes' own says no port: `port` is taken for it. */
export async function listServerLeases(store: Store, port: number): Promise<ServerAddress[]> {
  const { entries } = await store.list(serverLeasePrefix);
  return entries.map(({ key, value }) => readServerLease(key, value, port));
}

export function readServerLease(key: string, value: Buffer, otherwise: number): ServerAddress {
  return { address: key.slice(serverLeasePrefix.length), port: portIn(value) ?? otherwise };
}

function portIn(value: Buffer): number | undefined {
  try {
    return (parseJson(value) as Endpoints).subsets?.[0]?.ports?.[0]?.port;
  } catch {
    return undefined;
  }
}
