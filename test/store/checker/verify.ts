import type { Change, History, Read, Seen, Watched, Write } from "./history.ts";

/**
 * Proves from a history what the cluster promises, or says what was broken, a sentence each:
 *
 * - no acknowledged write is lost, none that was refused happened, and none happened twice;
 * - no update or delete hit a state that its client had not seen;
 * - every watcher saw every change once, in order, and nothing else;
 * - a read is never older than what was acknowledged before it began, and is a state that there really was.
 */
export function verify(history: History): string[] {
  const changes = new Changes(history.changes);
  return [
    ...changes.problems,
    ...verifyWrites(history.writes, changes),
    ...verifyReads(history.reads, history.writes, changes),
    ...history.watched.flatMap((watched) => verifyWatch(watched, history.changes)),
    ...history.finals.flatMap(({ server, found }) =>
      differences(changes.stateAt(Number.POSITIVE_INFINITY), found).map(
        (text) => `the last list of ${server}: ${text}`,
      ),
    ),
  ];
}

/** All changes, by their places. */
class Changes {
  readonly problems: string[] = [];
  readonly #all: readonly Change[];
  readonly #byValue = new Map<string, Change[]>();
  /** The change of the same key before a change. */
  readonly before = new Map<Change, Change | undefined>();
  readonly #byKey = new Map<string, Change[]>();

  constructor(all: readonly Change[]) {
    this.#all = all;
    let last = 0;
    for (const change of all) {
      if (change.revision <= last) this.problems.push(`revision ${change.revision} comes after ${last} in the log`);
      last = change.revision;
      const ofKey = this.#byKey.get(change.key) ?? [];
      this.before.set(change, ofKey.at(-1));
      ofKey.push(change);
      this.#byKey.set(change.key, ofKey);
      if (change.type === "put") this.#byValue.set(change.value, [...(this.#byValue.get(change.value) ?? []), change]);
    }
  }

  /** Where a value was written. */
  withValue(value: string): readonly Change[] {
    return this.#byValue.get(value) ?? [];
  }

  ofKey(key: string): readonly Change[] {
    return this.#byKey.get(key) ?? [];
  }

  /** A key's state as of a revision; undefined when there is none. */
  keyAt(key: string, revision: number): Change | undefined {
    const change = this.ofKey(key).findLast((one) => one.revision <= revision);
    return change?.type === "put" ? change : undefined;
  }

  stateAt(revision: number): Map<string, Seen> {
    const state = new Map<string, Seen>();
    for (const change of this.#all) {
      if (change.revision > revision) break;
      if (change.type === "put") state.set(change.key, change);
      else state.delete(change.key);
    }
    return state;
  }
}

const named = ({ client, key, value, expectedRevision }: Write) =>
  `${client}'s ${value === undefined ? "delete" : `write ${JSON.stringify(value)}`} of ${key} over revision ${expectedRevision ?? "none"}`;

function verifyWrites(writes: readonly Write[], changes: Changes): string[] {
  const problems: string[] = [];
  const deleted = new Set<string>();
  for (const write of writes) {
    if (write.value === undefined && write.outcome.kind === "done") {
      const state = `${write.key} ${write.expectedRevision}`;
      if (deleted.has(state)) problems.push(`${named(write)} was acknowledged to somebody else, too`);
      deleted.add(state);
    }
    const happened = write.value === undefined ? deletionsBy(write, changes) : changes.withValue(write.value);
    const [change] = happened;
    if (happened.length > 1) problems.push(`${named(write)} happened ${happened.length} times`);
    if (write.outcome.kind === "refused" && change && write.value !== undefined) {
      problems.push(`${named(write)} was refused (${write.outcome.why}) and happened at ${change.revision}`);
    }
    if (write.outcome.kind === "done") {
      if (!change) problems.push(`${named(write)} was acknowledged and is lost`);
      else if (write.outcome.revision !== undefined && write.outcome.revision !== change.revision) {
        problems.push(
          `${named(write)} was acknowledged at ${write.outcome.revision} and happened at ${change.revision}`,
        );
      }
    }
    if (change && write.value !== undefined) {
      const before = changes.before.get(change);
      const over = before?.type === "put" ? before.revision : undefined;
      if (over !== write.expectedRevision) {
        problems.push(`${named(write)} overwrote revision ${over ?? "none"}, which it had not seen`);
      }
    }
  }
  return problems;
}

/** Deletions of the state that a delete named: a state can be deleted once only, by whomever. */
function deletionsBy(write: Write, changes: Changes): readonly Change[] {
  return changes
    .ofKey(write.key)
    .filter((change) => change.type === "delete" && changes.before.get(change)?.revision === write.expectedRevision);
}

function verifyReads(reads: readonly Read[], writes: readonly Write[], changes: Changes): string[] {
  const problems: string[] = [];
  const done = writes
    .flatMap(({ key, endMs, outcome }) =>
      outcome.kind === "done" && outcome.revision !== undefined ? [{ key, endMs, revision: outcome.revision }] : [],
    )
    .sort((a, b) => a.endMs - b.endMs);
  for (const read of reads) {
    let needed = 0;
    for (const { key, endMs, revision } of done) {
      if (endMs >= read.startMs) break;
      if (read.key === undefined || read.key === key) needed = Math.max(needed, revision);
    }
    const name = `${read.client}'s read of ${read.key ?? "all"}`;
    if (read.key === undefined) {
      const at = read.revision ?? 0;
      if (at < needed)
        problems.push(`${name} is of revision ${at}, older than ${needed}, acknowledged before it began`);
      problems.push(...differences(changes.stateAt(at), read.found).map((text) => `${name} at ${at}: ${text}`));
      continue;
    }
    const [found] = read.found;
    if (found) {
      const real = changes.keyAt(read.key, found.revision);
      if (real?.revision !== found.revision || real.value !== found.value) {
        problems.push(`${name} found ${JSON.stringify(found.value)} at ${found.revision}, which never was`);
      }
      const next = changes.ofKey(read.key).find(({ revision }) => revision > found.revision);
      if (next && next.revision <= needed) {
        problems.push(
          `${name} found revision ${found.revision}, older than ${next.revision}, acknowledged before it began`,
        );
      }
    } else if (!goneSince(changes.ofKey(read.key), needed)) {
      problems.push(`${name} found nothing, although revision ${needed} was acknowledged before it began`);
    }
  }
  return problems;
}

/** Whether the key was gone at some time at or after a revision. */
function goneSince(ofKey: readonly Change[], revision: number): boolean {
  const at = ofKey.findLast((change) => change.revision <= revision);
  return at?.type !== "put" || ofKey.some((change) => change.revision > revision && change.type === "delete");
}

function verifyWatch({ watcher, afterRevision, upToRevision, changes }: Watched, all: readonly Change[]): string[] {
  const expected = all.filter(({ revision }) => revision > afterRevision && revision <= upToRevision);
  for (const [index, change] of changes.entries()) {
    const wanted = expected[index];
    if (wanted && same(wanted, change)) continue;
    const what = wanted ? `${describe(wanted)} was next` : "nothing more was to come";
    return [`${watcher} saw ${describe(change)} where ${what}`];
  }
  const missed = expected[changes.length];
  return missed ? [`${watcher} never saw ${describe(missed)}`] : [];
}

const same = (a: Change, b: Change) =>
  a.type === b.type && a.revision === b.revision && a.key === b.key && (a.type === "delete" || a.value === b.value);

const describe = ({ type, key, revision }: Change) => `the ${type} of ${key} at ${revision}`;

function differences(state: ReadonlyMap<string, Seen>, found: readonly Seen[]): string[] {
  const problems: string[] = [];
  const keys = new Set<string>();
  for (const { key, revision, value } of found) {
    if (keys.has(key)) problems.push(`${key} stands there twice`);
    keys.add(key);
    const real = state.get(key);
    if (real?.revision === revision && real.value === value) continue;
    problems.push(`${key} is at revision ${revision}, and should be ${real ? `at ${real.revision}` : "gone"}`);
  }
  for (const key of state.keys()) if (!keys.has(key)) problems.push(`${key} is missing`);
  return problems;
}
