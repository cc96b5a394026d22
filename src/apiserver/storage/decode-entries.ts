/** Objects to and from their stored form, where that may mean to ask a webhook: a promise only then. */
import type { ResourceFacts } from "../../api/resource.ts";
import { builtInSchema } from "../../api/schemas.ts";
import { applyDefaults, canonicalize } from "../../machinery/canonical.ts";
import { parseJson } from "../../machinery/json.ts";
import { apiVersionOf, type KubeObject } from "../../machinery/object.ts";
import { pruneUnknown } from "../../machinery/pruning.ts";
import type { Entry } from "../../store/store.ts";
import { CachedObject } from "./cached-object.ts";
import { encodeObject, storageOf, toStored } from "./codec.ts";

/** What is sent to a webhook at once, at most. */
const batchObjects = 100;
const batchBytes = 4 * 1024 * 1024;

type Stored = Pick<Entry, "key" | "value" | "modRevision">;

/** The objects of entries in the version that `facts` serves, in their order. Rejects when they cannot be converted. */
export function decodeEntries(
  facts: ResourceFacts,
  entries: readonly Entry[],
): readonly CachedObject[] | Promise<readonly CachedObject[]> {
  const { convert } = storageOf(facts);
  if (!convert) return entries.map((entry) => CachedObject.fromEntry(facts, entry));
  const foreign = entries.filter((entry) => !isIn(facts, entry));
  const own = (entry: Entry) => CachedObject.fromEntry(facts, entry);
  if (foreign.length === 0) return entries.map(own);
  return convertEntries(facts, convert, foreign).then((converted) =>
    entries.map((entry) => converted.get(entry) ?? own(entry)),
  );
}

/** One entry's object. Rejects when it cannot be converted. */
export async function decodeEntry(facts: ResourceFacts, entry: Entry): Promise<CachedObject> {
  const [item] = await decodeEntries(facts, [entry]);
  return item!;
}

/** The bytes of an object for the store, in the storage version. Rejects when it cannot be converted. */
export function encodeEntry(facts: ResourceFacts, object: KubeObject): Buffer | Promise<Buffer> {
  const { convert, group, version } = storageOf(facts);
  if (!convert || version === facts.version) return toStored(facts, object);
  const type = { group, version, kind: facts.kind };
  return convert([object], apiVersionOf(type)).then(([stored]) => encodeObject(type, stored!));
}

/** Objects stay in the version in which they were written until they are written again. */
function isIn(facts: ResourceFacts, { value }: Stored): boolean {
  const head = `{"kind":${JSON.stringify(facts.kind)},"apiVersion":${JSON.stringify(apiVersionOf(facts))},`;
  return value.toString("latin1", 0, head.length) === head;
}

async function convertEntries(
  facts: ResourceFacts,
  convert: NonNullable<NonNullable<ResourceFacts["storage"]>["convert"]>,
  entries: readonly Entry[],
): Promise<ReadonlyMap<Entry, CachedObject>> {
  const converted = new Map<Entry, CachedObject>();
  for (const batch of batchesOf(entries)) {
    const objects = await convert(
      batch.map(({ value }) => parseJson(value) as KubeObject),
      apiVersionOf(facts),
    );
    for (const [index, entry] of batch.entries()) {
      const object = settled(facts, objects[index]!, entry.modRevision);
      converted.set(entry, new CachedObject(facts, entry.key, entry.modRevision, object));
    }
  }
  return converted;
}

function* batchesOf(entries: readonly Entry[]): Generator<readonly Entry[]> {
  let batch: Entry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (batch.length === batchObjects || (batch.length > 0 && bytes + entry.value.length > batchBytes)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(entry);
    bytes += entry.value.length;
  }
  if (batch.length > 0) yield batch;
}

/** What a webhook made of an object, without what the version does not know and with its defaults. */
function settled(facts: ResourceFacts, object: KubeObject, revision: number): KubeObject {
  const { apiVersion: _apiVersion, kind: _kind, metadata, ...rest } = object;
  pruneUnknown(facts.schema, rest);
  const meta = canonicalize(builtInSchema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"), metadata) as object;
  const next: KubeObject = {
    kind: facts.kind,
    apiVersion: apiVersionOf(facts),
    metadata: { ...meta, resourceVersion: String(revision) },
    ...rest,
  };
  applyDefaults(facts.schema, next);
  return next;
}
