import type { Clock } from "../../machinery/clock.ts";

/** After this time an expectation that nothing fulfilled is given up: the event was missed or the write was lost. */
const lifetimeMs = 5 * 60_000;

interface Expected {
  creations: number;
  readonly deletions: Set<string>;
  atMs: number;
}

/**
 * What a controller has written and its informer has not shown yet. A controller that acted on the older state would
 * write twice; so it waits until all that it expects was seen.
 */
export class Expectations {
  readonly #clock: Clock;
  readonly #expected = new Map<string, Expected>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** May the owner act? */
  satisfied(owner: string): boolean {
    const expected = this.#expected.get(owner);
    if (!expected) return true;
    if (expected.creations <= 0 && expected.deletions.size === 0) return true;
    return this.#clock.now() - expected.atMs > lifetimeMs;
  }

  /** Says, before they are written, how many creations will follow. */
  expectCreations(owner: string, count: number): void {
    const expected = this.#entry(owner);
    expected.creations = Math.max(0, expected.creations) + count;
  }

  /** Says, before they are written, which objects (by uid) will be deleted. */
  expectDeletions(owner: string, uids: Iterable<string>): void {
    const expected = this.#entry(owner);
    for (const uid of uids) expected.deletions.add(uid);
  }

  /** A creation was seen, or failed. */
  creationObserved(owner: string): void {
    const expected = this.#expected.get(owner);
    if (expected && expected.creations > 0) expected.creations--;
  }

  /** A deletion was seen (its mark is enough), or failed. */
  deletionObserved(owner: string, uid: string): void {
    this.#expected.get(owner)?.deletions.delete(uid);
  }

  /** The owner is gone. */
  forget(owner: string): void {
    this.#expected.delete(owner);
  }

  #entry(owner: string): Expected {
    let expected = this.#expected.get(owner);
    if (!expected || this.satisfied(owner)) {
      expected = { creations: 0, deletions: new Set(), atMs: 0 };
      this.#expected.set(owner, expected);
    }
    expected.atMs = this.#clock.now();
    return expected;
  }
}
