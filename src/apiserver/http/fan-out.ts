import type { Clock } from "../../machinery/clock.ts";

/** Something that takes bytes: one watcher's connection. */
export interface FanOutTarget {
  write(bytes: Buffer): void;
}

/** Above this many frames a second, rounds are held, so that one write carries several events. */
const quickFramesPerSecond = 50_000;
const holdMs = 25;

interface Joined {
  readonly frames: readonly Buffer[];
  readonly bytes: Buffer;
}

function sameFrames(a: readonly Buffer[], b: readonly Buffer[]): boolean {
  return a.length === b.length && a.every((frame, index) => frame === b[index]);
}

/**
 * Writes events to many watchers in rounds. Watchers that are due the same frames share one joined buffer; a round
 * follows at once while there is little to do, and is held for a moment when there is much.
 */
export class FanOut {
  readonly #clock: Clock;
  #due = new Map<FanOutTarget, Buffer[]>();
  #scheduled = false;
  #frames = 0;
  #countedFromMs = 0;
  #framesPerSecond = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Sends frames to a target with the next round. */
  send(target: FanOutTarget, frames: readonly Buffer[]): void {
    const due = this.#due.get(target);
    if (due) due.push(...frames);
    else this.#due.set(target, [...frames]);
    this.#frames += frames.length;
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (this.#framesPerSecond > quickFramesPerSecond) this.#clock.after(holdMs, () => this.#round());
    else setImmediate(() => this.#round());
  }

  /** Sends what is due to one target now; before it is closed. */
  flush(target: FanOutTarget): void {
    const frames = this.#due.get(target);
    if (!frames) return;
    this.#due.delete(target);
    target.write(Buffer.concat(frames));
  }

  /** Drops what is due to a target that is gone. */
  forget(target: FanOutTarget): void {
    this.#due.delete(target);
  }

  #round(): void {
    this.#scheduled = false;
    const due = this.#due;
    this.#due = new Map();
    this.#measure();
    const joined = new Map<Buffer, Joined[]>();
    for (const [target, frames] of due) {
      const first = frames[0]!;
      if (frames.length === 1) {
        target.write(first);
        continue;
      }
      const candidates = joined.get(first) ?? [];
      let found = candidates.find((candidate) => sameFrames(candidate.frames, frames));
      if (!found) {
        found = { frames, bytes: Buffer.concat(frames) };
        joined.set(first, [...candidates, found]);
      }
      target.write(found.bytes);
    }
  }

  #measure(): void {
    const nowMs = this.#clock.now();
    const elapsedMs = nowMs - this.#countedFromMs;
    if (elapsedMs < 100) return;
    this.#framesPerSecond = (this.#frames * 1000) / elapsedMs;
    this.#frames = 0;
    this.#countedFromMs = nowMs;
  }
}
