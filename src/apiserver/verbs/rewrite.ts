import type { ResourceFacts } from "../../api/resource.ts";
import { canonicalize } from "../../machinery/canonical.ts";
import { cloneJson } from "../../machinery/json.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { conflict, notFound, optimisticLockMessage } from "../../machinery/status.ts";
import { type Core, groupResource } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { keyFor } from "../storage/codec.ts";
import { decodeEntry } from "../storage/decode-entries.ts";
import { newest } from "./newest.ts";
import { sameObject } from "./update.ts";
import { encodeForStore, unwritten, written } from "./write.ts";

const attempts = 30;

/** Changes a stored object past strategy, validation and admission; `change` throws to refuse. Throws 404, 409. */
export async function rewrite(
  core: Core,
  facts: ResourceFacts,
  target: { readonly namespace?: string | undefined; readonly name: string; readonly dryRun?: boolean | undefined },
  change: (object: KubeObject) => void,
): Promise<CachedObject> {
  const key = keyFor(facts, target.namespace, target.name);
  let current = await newest(core, facts, key);
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (!current) throw notFound(groupResource(facts), target.name);
    const copy = cloneJson(current.object);
    change(copy);
    const next = facts.custom ? copy : (canonicalize(facts.schema, copy) as KubeObject);
    if (sameObject(next, current.object)) return current;
    if (target.dryRun) return unwritten(facts, key, next, current.revision);
    const value = await encodeForStore(facts, next);
    const ttlSeconds = facts.storage?.ttlSeconds;
    const options = ttlSeconds === undefined ? {} : { ttlSeconds };
    const result = await core.store.update(key, value, current.revision, options);
    if (result.ok) {
      const createRevision = result.previous?.createRevision ?? result.revision;
      return written(core, facts, { key, value, createRevision, modRevision: result.revision });
    }
    current = result.current && (await decodeEntry(facts, result.current));
  }
  throw conflict(groupResource(facts), target.name, optimisticLockMessage);
}
