import { badRequest, type FieldError, fieldError, invalid, StatusError } from "../../machinery/status.ts";
import { CompactedError, FutureRevisionError } from "../../store/store.ts";
import type { Call, Core } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { anyRevision, decodeContinue, encodeContinue } from "../storage/continue-token.ts";
import { decodeEntries } from "../storage/decode-entries.ts";
import type { Snapshot } from "../storage/ordered-map.ts";
import type { ResourceCache } from "../storage/resource-cache.ts";
import { makeSelection, type Selection } from "../storage/selection.ts";

export interface ListParameters {
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly resourceVersionMatch?: string | undefined;
}

/** One page of a list, all of it as of one revision. */
export interface ListPage {
  readonly items: readonly CachedObject[];
  readonly revision: number;
  readonly continue?: string;
  /** How many follow; unknown when a selector narrows the list. */
  readonly remaining?: number;
}

/** Objects looked at in one piece before the loop gets a turn. */
const stride = 2000;

/** Parses a resourceVersion parameter. Throws 400 for anything but a whole number. */
export function parseRevision(text: string | undefined): number | undefined {
  if (text === undefined || text === "") return undefined;
  if (!/^\d{1,19}$/.test(text)) {
    throw badRequest(`resourceVersion: Invalid value: ${JSON.stringify(text)}: invalid resource version`);
  }
  return Number(text);
}

/** The rules of ValidateListOptions. Throws 422 with Kubernetes' texts. */
export function checkListParameters(parameters: ListParameters, sendInitialEvents?: boolean): void {
  const { resourceVersion = "", resourceVersionMatch: match = "", continue: token = "" } = parameters;
  const errors: FieldError[] = [];
  const forbid = (text: string) => errors.push(fieldError.forbidden("resourceVersionMatch", text));
  if (sendInitialEvents !== undefined) {
    if (match !== "NotOlderThan") forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    if (token) errors.push(fieldError.forbidden("continue", "sendInitialEvents is forbidden when continue is set"));
  } else if (match !== "") {
    if (token) forbid("resourceVersionMatch is forbidden when continue is provided");
    else if (resourceVersion === "") forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
    else if (match !== "Exact" && match !== "NotOlderThan") {
      errors.push(fieldError.notSupported("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""]));
    } else if (match === "Exact" && resourceVersion === "0") {
      forbid(`resourceVersionMatch "exact" is forbidden for resourceVersion "0"`);
    }
  }
  if (errors.length > 0) throw invalid({ group: "meta.k8s.io", resource: "ListOptions" }, "", errors);
}

/** Lists from the watch cache; pages after the first, and exact revisions, from a snapshot or the store's history. */
export async function list(core: Core, call: Call, parameters: ListParameters): Promise<ListPage> {
  checkListParameters(parameters);
  const { facts, namespace } = call;
  const selection = makeSelection(facts, namespace, parameters.labelSelector, parameters.fieldSelector);
  const cache = core.caches.of(facts);
  const prefix = cache.keyPrefix(namespace);
  const limit = parameters.limit && parameters.limit > 0 ? parameters.limit : undefined;
  const asked = parseRevision(parameters.resourceVersion);

  if (parameters.continue) {
    if (asked !== undefined && asked !== 0) {
      throw badRequest("specifying resource version is not allowed when using continue");
    }
    const { revision, after } = decodeContinue(parameters.continue);
    if (revision === anyRevision) {
      await cache.barrier();
      return page(cache.snapshot(), cache, selection, prefix, cache.revision, limit, prefix + after);
    }
    await cache.ready();
    // Snapshots and the store's history end at the same revision.
    if (revision < (await core.store.compactedRevision())) throw expiredToken(after);
    return pageAt(core, cache, selection, prefix, revision, limit, prefix + after).catch((error) => {
      throw error instanceof CompactedError ? expiredToken(after) : error;
    });
  }

  const exact = parameters.resourceVersionMatch === "Exact" || (limit && asked && !parameters.resourceVersionMatch);
  if (asked === undefined) await cache.barrier();
  else await cache.reached(asked);
  if (exact && asked !== cache.revision) return pageAt(core, cache, selection, prefix, asked!, limit, undefined);

  // An exact name needs no walk.
  const name = selection.fields.exactValue("metadata.name");
  if (name !== undefined && (namespace !== undefined || !facts.namespaced)) {
    const item = cache.get(prefix + name);
    const items = item && selection.matches(item.object) ? [item] : [];
    return { items, revision: cache.revision };
  }
  const { revision } = cache;
  return page(cache.snapshot(), cache, selection, prefix, revision, limit, undefined);
}

async function page(
  snapshot: Snapshot<CachedObject>,
  cache: ResourceCache,
  selection: Selection,
  prefix: string,
  revision: number,
  limit: number | undefined,
  after: string | undefined,
): Promise<ListPage> {
  const items: CachedObject[] = [];
  let seen = 0;
  let more = false;
  let remaining = 0;
  for (const item of snapshot.range(prefix, after)) {
    if (++seen % stride === 0) await new Promise((resolve) => setImmediate(resolve));
    if (more) {
      // Only an unselected list counts what is left, as in Kubernetes.
      remaining++;
      continue;
    }
    if (!selection.matches(item.object)) continue;
    if (limit !== undefined && items.length === limit) {
      more = true;
      if (!selection.all) break;
      remaining = 1;
      continue;
    }
    items.push(item);
  }
  if (!more) return { items, revision };
  cache.keepSnapshot(revision, snapshot);
  return {
    items,
    revision,
    continue: encodeContinue({ revision, after: items.at(-1)!.key.slice(prefix.length) }),
    ...(selection.all ? { remaining } : {}),
  };
}

/** What a list answers whose token is too old for a consistent page: with another that goes on all the same. */
function expiredToken(after: string): StatusError {
  const message =
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without " +
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. " +
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or " +
    "deleted between the time the first chunk was returned and now may show up in the list.";
  return new StatusError(410, "Expired", message, undefined, encodeContinue({ revision: anyRevision, after }));
}

/** A page as of an earlier revision. Throws CompactedError when that is gone. */
async function pageAt(
  core: Core,
  cache: ResourceCache,
  selection: Selection,
  prefix: string,
  revision: number,
  limit: number | undefined,
  after: string | undefined,
): Promise<ListPage> {
  const kept = cache.snapshotAt(revision);
  if (kept) return page(kept, cache, selection, prefix, revision, limit, after);
  const items: CachedObject[] = [];
  let from = after;
  try {
    for (;;) {
      const read = await core.store.list(prefix, {
        limit: 500,
        revision,
        ...(from === undefined ? {} : { after: from }),
      });
      for (const item of await decodeEntries(cache.facts, read.entries)) {
        if (!selection.matches(item.object)) continue;
        if (items.length === limit) {
          const last = items.at(-1)!.key.slice(prefix.length);
          return { items, revision, continue: encodeContinue({ revision, after: last }) };
        }
        items.push(item);
      }
      if (!read.more) return { items, revision };
      from = read.entries.at(-1)!.key;
    }
  } catch (error) {
    if (error instanceof FutureRevisionError) throw badRequest(error.message);
    throw error;
  }
}
