import { randomInt } from "node:crypto";

/** Who holds a number: the object that is stored with it, or a request that has not been written yet. */
export interface Holder {
  readonly uid?: string;
  readonly request?: object;
}

/**
 * Numbers of a range, handed out at random. The lower part is left to those who choose themselves (the static band), as
 * long as the upper one has any.
 */
export class NumberPool {
  readonly size: number;
  readonly #staticBand: number;
  readonly #held = new Map<number, Holder>();

  /** `size` numbers from 0; `staticBand` of them at the start are given out last. */
  constructor(size: number, staticBand: number) {
    this.size = size;
    this.#staticBand = Math.min(staticBand, size);
  }

  get held(): number {
    return this.#held.size;
  }

  holder(number: number): Holder | undefined {
    return this.#held.get(number);
  }

  /** Takes this number; false when somebody else has it. */
  take(number: number, holder: Holder): boolean {
    const now = this.#held.get(number);
    if (now && !isSame(now, holder)) return false;
    this.#held.set(number, holder);
    return true;
  }

  /** Writes down what the store says, whoever was thought to hold the number. */
  note(number: number, uid: string): void {
    this.#held.set(number, { uid });
  }

  /** Makes what is stored, by number and uid, the truth. For when no request is under way that changes an object. */
  replaceStored(stored: ReadonlyMap<number, string>): void {
    for (const [number, { uid }] of this.#held) if (uid && !stored.has(number)) this.#held.delete(number);
    for (const [number, uid] of stored) this.note(number, uid);
  }

  /** Takes any free number; `undefined` when there is none. */
  takeAny(holder: Holder): number | undefined {
    return this.#pick(this.#staticBand, this.size, holder) ?? this.#pick(0, this.#staticBand, holder);
  }

  /** Gives a number back, if this holder has it. */
  free(number: number, holder: Holder): void {
    const now = this.#held.get(number);
    if (now && isSame(now, holder)) this.#held.delete(number);
  }

  #pick(from: number, to: number, holder: Holder): number | undefined {
    const count = to - from;
    if (count <= 0) return undefined;
    const start = randomInt(count);
    for (let step = 0; step < count; step++) {
      const number = from + ((start + step) % count);
      if (this.#held.has(number)) continue;
      this.#held.set(number, holder);
      return number;
    }
    return undefined;
  }
}

function isSame(a: Holder, b: Holder): boolean {
  return a.uid !== undefined ? a.uid === b.uid : a.request !== undefined && a.request === b.request;
}
