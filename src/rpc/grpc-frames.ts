/** Length-prefixed messages, as gRPC sends them in the data of an HTTP/2 stream. */

const headBytes = 5;

/** A message as it is sent: not compressed. */
export function frame(payload: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(payload.length + headBytes);
  framed[0] = 0;
  framed.writeUInt32BE(payload.length, 1);
  payload.copy(framed, headBytes);
  return framed;
}

/** A message is larger than was agreed. */
export class OversizeError extends Error {}

/** Makes messages of the pieces that arrive. A large one is joined once, when its last piece is there. */
export class FrameReader {
  readonly #largestBytes: number;
  #pieces: Buffer[] = [];
  #length = 0;
  /** Bytes that the pieces must have before there is something to do. */
  #wanted = headBytes;

  constructor(largestBytes: number) {
    this.#largestBytes = largestBytes;
  }

  /** Calls `onMessage` for each message that is complete. Throws when the data is none of ours or too large. */
  push(piece: Buffer, onMessage: (message: Buffer) => void): void {
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length < this.#wanted) return;
    const rest = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces);
    this.#wanted = headBytes;
    let at = 0;
    while (rest.length - at >= headBytes) {
      const size = rest.readUInt32BE(at + 1);
      if (rest[at] !== 0) throw new Error("the server sent a compressed message, which was not asked for");
      if (size > this.#largestBytes)
        throw new OversizeError(`a message of ${size} bytes is too large; at most ${this.#largestBytes} are taken`);
      this.#wanted = headBytes + size;
      if (rest.length - at < this.#wanted) break;
      const end = at + this.#wanted;
      onMessage(rest.subarray(at + headBytes, end));
      at = end;
      this.#wanted = headBytes;
    }
    this.#length = rest.length - at;
    this.#pieces = this.#length > 0 ? [rest.subarray(at)] : [];
  }
}
