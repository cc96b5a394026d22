/** An entry of an {@link OrderedMap}. */
export interface Keyed {
  readonly key: string;
}

interface Leaf<T> {
  epoch: number;
  items: T[];
}

/** Leaves split above this; copying one is cheaper than a microsecond. */
const leafSize = 128;

/** A state of an {@link OrderedMap} that later changes do not touch. */
export interface Snapshot<T extends Keyed> {
  readonly size: number;
  /** Items whose key starts with `prefix`, in key order, strictly after `after`. */
  range(prefix: string, after?: string): Generator<T, void>;
}

function firstNotBelow<T extends Keyed>(items: readonly T[], key: string): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (items[middle]!.key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The leaf that holds `key`, or would. */
function leafFor<T extends Keyed>(leaves: readonly Leaf<T>[], key: string): number {
  let low = 0;
  let high = leaves.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (leaves[middle]!.items[0]!.key <= key) low = middle;
    else high = middle - 1;
  }
  return low;
}

function* rangeOf<T extends Keyed>(leaves: readonly Leaf<T>[], prefix: string, after?: string): Generator<T, void> {
  if (leaves.length === 0) return;
  const from = after !== undefined && after > prefix ? after : prefix;
  let index = leafFor(leaves, from);
  let at = firstNotBelow(leaves[index]!.items, from);
  for (; index < leaves.length; index++, at = 0) {
    const { items } = leaves[index]!;
    for (; at < items.length; at++) {
      const item = items[at]!;
      if (!item.key.startsWith(prefix)) return;
      if (item.key !== after) yield item;
    }
  }
}

/**
 * Items in key order (UTF-16 order, which for the ASCII keys of Kubernetes is byte order), with snapshots that cost
 * nothing to take: what a snapshot sees is copied only when it is changed later.
 */
export class OrderedMap<T extends Keyed> implements Snapshot<T> {
  #leaves: Leaf<T>[] = [];
  /** The present state by key: a look-up compares one key instead of many. */
  readonly #byKey = new Map<string, T>();
  #rootEpoch = 0;
  #epoch = 0;

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): T | undefined {
    return this.#byKey.get(key);
  }

  range(prefix: string, after?: string): Generator<T, void> {
    return rangeOf(this.#leaves, prefix, after);
  }

  /** The present state, for good. */
  snapshot(): Snapshot<T> {
    this.#epoch++;
    const leaves = this.#leaves;
    return { size: this.#byKey.size, range: (prefix, after) => rangeOf(leaves, prefix, after) };
  }

  set(item: T): void {
    this.#byKey.set(item.key, item);
    this.#ownRoot();
    if (this.#leaves.length === 0) {
      this.#leaves.push({ epoch: this.#epoch, items: [item] });
      return;
    }
    const index = leafFor(this.#leaves, item.key);
    const { items } = this.#ownLeaf(index);
    const at = firstNotBelow(items, item.key);
    if (items[at]?.key === item.key) {
      items[at] = item;
      return;
    }
    items.splice(at, 0, item);
    if (items.length > leafSize) {
      const right = items.splice(items.length >>> 1);
      this.#leaves.splice(index + 1, 0, { epoch: this.#epoch, items: right });
    }
  }

  delete(key: string): void {
    if (!this.#byKey.delete(key)) return;
    this.#ownRoot();
    const index = leafFor(this.#leaves, key);
    const { items } = this.#ownLeaf(index);
    items.splice(firstNotBelow(items, key), 1);
    if (items.length === 0) this.#leaves.splice(index, 1);
  }

  #ownRoot(): void {
    if (this.#rootEpoch === this.#epoch) return;
    this.#leaves = [...this.#leaves];
    this.#rootEpoch = this.#epoch;
  }

  #ownLeaf(index: number): Leaf<T> {
    const leaf = this.#leaves[index]!;
    if (leaf.epoch === this.#epoch) return leaf;
    const own = { epoch: this.#epoch, items: [...leaf.items] };
    this.#leaves[index] = own;
    return own;
  }
}
