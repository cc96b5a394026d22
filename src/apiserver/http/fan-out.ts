import type { Clock } from "../../machinery/clock.ts";

/** Something that takes bytes: one watcher's connection. */
export interface FanOutTarget {
  write(bytes: Buffer): void;
}

/** Work of a round that is done in one turn of the loop. */
const turnMs = 4;
/** Targets written between two looks at the clock. */
const stride = 16;
/** A round that took less than this is followed by the next at once. */
const quickMs = 2;
/** Pauses between rounds, as a multiple of what the last one took, so that they leave the loop to others. */
const holdFactor = 2;
const holdMaxMs = 40;

interface Joined {
  readonly frames: readonly Buffer[];
  readonly bytes: Buffer;
}

function sameFrames(a: readonly Buffer[], b: readonly Buffer[]): boolean {
  return a.length === b.length && a.every((frame, index) => frame === b[index]);
}

/**
 * Writes events to many watchers in rounds. Watchers that are due the same frames share one joined buffer; a round
 * follows at once while it is little work, and is held for a moment when it is much, so that one write carries several
 * events. A long round goes over several turns of the loop.
 */
export class FanOut {
  readonly #clock: Clock;
  #due = new Map<FanOutTarget, Buffer[]>();
  /** What is left of the round that goes on. */
  #writing = new Map<FanOutTarget, Buffer[]>();
  #joined = new Map<Buffer, Joined[]>();
  #scheduled = false;
  #tookMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Sends frames to a target with the next round. */
  send(target: FanOutTarget, frames: readonly Buffer[]): void {
    const due = this.#due.get(target);
    if (due) due.push(...frames);
    else this.#due.set(target, [...frames]);
    this.#schedule();
  }

  /** Sends what is due to one target now; before it is closed. */
  flush(target: FanOutTarget): void {
    const frames = [...(this.#writing.get(target) ?? []), ...(this.#due.get(target) ?? [])];
    this.forget(target);
    if (frames.length > 0) target.write(Buffer.concat(frames));
  }

  /** Drops what is due to a target that is gone. */
  forget(target: FanOutTarget): void {
    this.#writing.delete(target);
    this.#due.delete(target);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const start = () => {
      this.#writing = this.#due;
      this.#due = new Map();
      this.#joined = new Map();
      this.#tookMs = 0;
      this.#write();
    };
    if (this.#tookMs < quickMs) setImmediate(start);
    else this.#clock.after(Math.min(holdMaxMs, this.#tookMs * holdFactor), start);
  }

  #write(): void {
    const startedMs = this.#clock.now();
    let count = 0;
    for (const [target, frames] of this.#writing) {
      this.#writing.delete(target);
      target.write(this.#join(frames));
      if (++count % stride === 0 && this.#clock.now() - startedMs >= turnMs) break;
    }
    this.#tookMs += this.#clock.now() - startedMs;
    if (this.#writing.size > 0) {
      setImmediate(() => this.#write());
      return;
    }
    this.#joined.clear();
    this.#scheduled = false;
    if (this.#due.size > 0) this.#schedule();
  }

  #join(frames: readonly Buffer[]): Buffer {
    const first = frames[0]!;
    if (frames.length === 1) return first;
    const candidates = this.#joined.get(first) ?? [];
    let found = candidates.find((candidate) => sameFrames(candidate.frames, frames));
    if (!found) {
      found = { frames, bytes: Buffer.concat(frames) };
      this.#joined.set(first, [...candidates, found]);
    }
    return found.bytes;
  }
}
