import { notFound } from "../../machinery/status.ts";
import { type Call, type Core, groupResource } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { keyFor } from "../storage/codec.ts";
import { parseRevision } from "./list.ts";

/** Reads one object: the newest, or at least as new as `resourceVersion` ("0": whatever is at hand). Throws 404. */
export async function get(core: Core, call: Call, resourceVersion?: string): Promise<CachedObject> {
  const { facts, namespace, name } = call;
  const cache = core.caches.of(facts);
  const asked = parseRevision(resourceVersion);
  if (asked === undefined) await cache.barrier();
  else await cache.reached(asked);
  const item = cache.get(keyFor(facts, namespace, name));
  if (!item) throw notFound(groupResource(facts), name);
  return item;
}
