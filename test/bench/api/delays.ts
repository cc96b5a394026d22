const bucketMs = 0.25;
const buckets = 40_000;

/** Counts delays, in steps of a quarter of a millisecond; what is beyond ten seconds counts as ten. */
export class Delays {
  #counts = new Uint32Array(buckets);
  #total = 0;

  add(ms: number): void {
    const bucket = Math.min(buckets - 1, Math.max(0, Math.round(ms / bucketMs)));
    this.#counts[bucket]!++;
    this.#total++;
  }

  /** The delay that this share (0 to 1) of all do not exceed, in milliseconds; 0 when there are none. */
  quantile(share: number): number {
    let left = Math.ceil(this.#total * share);
    for (let bucket = 0; left > 0 && bucket < buckets; bucket++) {
      left -= this.#counts[bucket]!;
      if (left <= 0) return bucket * bucketMs;
    }
    return 0;
  }

  clear(): void {
    this.#counts = new Uint32Array(buckets);
    this.#total = 0;
  }
}
