import type { ResourceFacts } from "../../api/resource.ts";
import type { Core } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { decodeEntry } from "../storage/decode-entries.ts";

/** The newest state of one object; undefined when there is none. Rejects with 500 when it cannot be converted. */
export async function newest(core: Core, facts: ResourceFacts, key: string): Promise<CachedObject | undefined> {
  const cache = core.caches.of(facts);
  try {
    await cache.barrier();
    return cache.get(key);
  } catch (error) {
    if (!facts.storage?.convert) throw error;
  }
  // Another object that cannot be converted keeps the cache from being filled, but this one may be whole.
  const entry = await core.store.get(key);
  return entry && decodeEntry(facts, entry);
}
