import { setImmediate } from "node:timers/promises";
import type { Entry, Store } from "./store.ts";

/** Keys of k3ts itself: they describe one store and do not move. */
export const ownPrefix = "/k3ts/";
/** Stands in a store that is being filled: who fills it, and as of which revision. */
const markerKey = `${ownPrefix}migration`;
/** Entries read at once, and writes under way at once. */
const pageSize = 500;

export interface MigrateOptions {
  /** Tells one source from another, without secrets; a migration that was cut off goes on only from the same one. */
  readonly source: string;
  /** Seconds that a key lives on; undefined for ever. Stores do not tell when a key's time comes, so it begins anew. */
  readonly lifetimeOf: (key: string) => number | undefined;
  /** Keys that nobody misses: what servers write while they live. */
  readonly leaveOut: (key: string) => boolean;
  /** Called with the number of entries that have moved. */
  readonly onProgress?: (entries: number) => void;
}

/** The target holds something already, or something else than what was moved into it. */
export class MigrationError extends Error {}

/**
 * Moves all that a store holds now into another, empty one. Nothing may write to either meanwhile; the caller sees to
 * that. Cut off at any point, it goes on with the next call: what has moved stays, what is new or changed in the source
 * since is brought over. At the end every entry is compared, and revisions of the target go on above the source's, so that
 * clients see time go forward.
 * @returns how many entries moved, and the revision that the target goes on from
 * @throws MigrationError when the target is not empty, or differs at the end
 */
export async function migrateStore(
  from: Store,
  to: Store,
  options: MigrateOptions,
): Promise<{ readonly entries: number; readonly revision: number }> {
  await mark(to, options.source);
  const wanted = await read(from, options.leaveOut);
  const present = await read(to, options.leaveOut);
  let entries = 0;
  for (const page of pages([...wanted.values()])) {
    await Promise.all(page.map((entry) => bring(to, entry, present.get(entry.key), options)));
    entries += page.length;
    options.onProgress?.(entries);
    await setImmediate();
  }
  // What a first attempt brought and the source has deleted since.
  for (const { key, modRevision } of present.values()) {
    if (!wanted.has(key) && !(await to.delete(key, modRevision)).ok) throw changed(key);
  }
  await verify(wanted, to, options.leaveOut);
  const revision = await from.currentRevision();
  await to.raiseRevision(revision);
  const marker = await to.get(markerKey);
  if (marker) await to.delete(markerKey, marker.modRevision);
  return { entries, revision: await to.currentRevision() };
}

/** Whether a store is empty, or one that a migration into it has not finished with. */
export async function canBeFilled(store: Store): Promise<boolean> {
  if (await store.get(markerKey)) return true;
  return (await store.list("/", { limit: 1 })).entries.length === 0;
}

async function mark(to: Store, source: string): Promise<void> {
  const made = await to.get(markerKey);
  if (made) {
    const other = made.value.toString();
    if (other === source) return;
    throw new MigrationError(`the target was being filled from ${other}; finish that, or empty the target`);
  }
  const { entries } = await to.list("/", { limit: 1 });
  if (entries.length > 0) {
    throw new MigrationError(`the target is not empty: it holds ${JSON.stringify(entries[0]!.key)}; give one that is`);
  }
  if (!(await to.create(markerKey, Buffer.from(source))).ok) throw changed(markerKey);
}

async function read(store: Store, leaveOut: (key: string) => boolean): Promise<Map<string, Entry>> {
  const { entries } = await store.list("/");
  return new Map(
    entries.filter(({ key }) => !key.startsWith(ownPrefix) && !leaveOut(key)).map((entry) => [entry.key, entry]),
  );
}

function* pages(entries: readonly Entry[]): Generator<readonly Entry[]> {
  for (let at = 0; at < entries.length; at += pageSize) yield entries.slice(at, at + pageSize);
}

async function bring(
  to: Store,
  { key, value }: Entry,
  present: Entry | undefined,
  options: MigrateOptions,
): Promise<void> {
  if (present?.value.equals(value)) return;
  const ttlSeconds = options.lifetimeOf(key);
  const lifetime = ttlSeconds === undefined ? {} : { ttlSeconds };
  const result = present
    ? await to.update(key, value, present.modRevision, lifetime)
    : await to.create(key, value, lifetime);
  if (!result.ok) throw changed(key);
}

async function verify(
  wanted: ReadonlyMap<string, Entry>,
  to: Store,
  leaveOut: (key: string) => boolean,
): Promise<void> {
  const found = await read(to, leaveOut);
  for (const [key, { value }] of wanted) if (!found.get(key)?.value.equals(value)) throw changed(key);
  for (const key of found.keys()) if (!wanted.has(key)) throw changed(key);
}

function changed(key: string): MigrationError {
  return new MigrationError(
    `${JSON.stringify(key)} was changed in the target while it was filled; stop all servers that use it and try again`,
  );
}
