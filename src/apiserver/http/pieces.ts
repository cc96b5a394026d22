import type { Clock } from "../../machinery/clock.ts";

/** A body in pieces, each of which is made when the one before it is taken. */
export interface Pieces {
  /** Bytes of all of them, where that is known beforehand. */
  readonly length?: number;
  readonly pieces: Iterable<Buffer | string>;
}

/** What goes to a connection at once. */
export const chunkBytes = 64 * 1024;

/** Work that is done in one turn of the loop. */
const turnMs = 4;
/** Steps between two looks at the clock. */
const stride = 32;

/** Lets long work give way to others every few milliseconds. */
export class Pace {
  readonly #clock: Clock;
  #startedMs: number;
  #steps = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.now();
  }

  /** Is this turn's time over? Ask at each small step, and {@link pause} then. */
  get over(): boolean {
    return ++this.#steps % stride === 0 && this.#clock.now() - this.#startedMs >= turnMs;
  }

  /** Is this turn's time over? For steps that are not small. */
  get overNow(): boolean {
    return this.#clock.now() - this.#startedMs >= turnMs;
  }

  /** Resolves in the next turn. */
  async pause(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#startedMs = this.#clock.now();
  }
}

/** Packs pieces into chunks of {@link chunkBytes} or a little less; a larger piece is a chunk of its own. */
export function* chunksOf(pieces: Iterable<Buffer | string>): Generator<Buffer, void> {
  let chunk = Buffer.allocUnsafe(chunkBytes);
  let used = 0;
  for (const piece of pieces) {
    const length = typeof piece === "string" ? Buffer.byteLength(piece) : piece.length;
    if (used + length > chunkBytes) {
      if (used > 0) {
        yield chunk.subarray(0, used);
        chunk = Buffer.allocUnsafe(chunkBytes);
        used = 0;
      }
      if (length > chunkBytes) {
        yield Buffer.from(piece);
        continue;
      }
    }
    used += typeof piece === "string" ? chunk.write(piece, used) : piece.copy(chunk, used);
  }
  if (used > 0) yield chunk.subarray(0, used);
}

/** All pieces in one buffer. */
export async function joinPieces({ pieces }: Pieces, clock: Clock): Promise<Buffer> {
  const pace = new Pace(clock);
  const chunks: Buffer[] = [];
  for (const chunk of chunksOf(pieces)) {
    chunks.push(chunk);
    if (pace.overNow) await pace.pause();
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}
