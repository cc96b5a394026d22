import { notFound } from "../../machinery/status.ts";
import { type Call, type Core, groupResource } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { keyFor } from "../storage/codec.ts";
import { parseRevision } from "./list.ts";
import { newest } from "./newest.ts";

/** Reads one object: the newest, or at least as new as `resourceVersion` ("0": whatever is at hand). Throws 404. */
export async function get(core: Core, call: Call, resourceVersion?: string): Promise<CachedObject> {
  const { facts, namespace, name } = call;
  const key = keyFor(facts, namespace, name);
  const asked = parseRevision(resourceVersion);
  let item: CachedObject | undefined;
  if (asked === undefined) item = await newest(core, facts, key);
  else {
    const cache = core.caches.of(facts);
    await cache.reached(asked);
    item = cache.get(key);
  }
  if (!item) throw notFound(groupResource(facts), name);
  return item;
}
