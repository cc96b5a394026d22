/** The frames of HTTP/2 (RFC 9113), as far as a client that sends requests needs them. */

export const frameType = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const frameFlag = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

/** By their numbers in the frame of settings. */
export const setting = {
  headerTableBytes: 1,
  enablePush: 2,
  mostStreams: 3,
  streamWindowBytes: 4,
  largestFrameBytes: 5,
} as const;

/** Why a stream is reset. */
export const resetCode = { refused: 7, cancel: 8 } as const;

/** What a client begins with, before its first frame. */
export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** What a peer takes at most until it says otherwise; we never say otherwise. */
export const defaultFrameBytes = 16 * 1024;
/** What a peer may send on a stream, and on a connection, until it is told otherwise. */
export const defaultWindowBytes = 65_535;

const headBytes = 9;
const numberMask = 0x7fffffff;

export type OnFrame = (type: number, flags: number, streamId: number, payload: Buffer) => void;

export function writeFrame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(headBytes + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId, 5);
  payload.copy(bytes, headBytes);
  return bytes;
}

/** A number of 31 bits, as several frames carry one. */
export function numberPayload(value: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32BE(value);
  return payload;
}

export function readNumber(payload: Buffer, at = 0): number {
  return payload.readUInt32BE(at) & numberMask;
}

export function settingsPayload(settings: readonly (readonly [number, number])[]): Buffer {
  const payload = Buffer.allocUnsafe(6 * settings.length);
  for (const [index, [name, value]] of settings.entries()) {
    payload.writeUInt16BE(name, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  }
  return payload;
}

export function readSettings(payload: Buffer): [name: number, value: number][] {
  const settings: [number, number][] = [];
  for (let at = 0; at + 6 <= payload.length; at += 6)
    settings.push([payload.readUInt16BE(at), payload.readUInt32BE(at + 2)]);
  return settings;
}

/** What a frame of data or headers carries, without what only fills it or says what comes first. */
export function contentOf(flags: number, payload: Buffer): Buffer {
  if ((flags & (frameFlag.padded | frameFlag.priority)) === 0) return payload;
  let start = 0;
  let end = payload.length;
  if (flags & frameFlag.padded) {
    start = 1;
    end -= payload[0] ?? 0;
  }
  if (flags & frameFlag.priority) start += 5;
  if (start > end) throw new Error("a frame of HTTP/2 is filled with more than it holds");
  return payload.subarray(start, end);
}

/** Makes frames of the pieces that arrive. */
export class Http2FrameReader {
  #rest: Buffer | undefined;

  /**
   * Calls `onFrame` for each frame that is complete; what it gets is part of the piece, and is to be copied where it is
   * kept. Throws when a frame is larger than was agreed, and what `onFrame` throws.
   */
  push(piece: Buffer, onFrame: OnFrame): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, piece]) : piece;
    let at = 0;
    while (bytes.length - at >= headBytes) {
      const size = bytes.readUIntBE(at, 3);
      if (size > defaultFrameBytes) throw new Error("the server does not speak HTTP/2, or not as was agreed");
      const start = at + headBytes;
      const end = start + size;
      if (end > bytes.length) break;
      at = end;
      onFrame(bytes[start - 6]!, bytes[start - 5]!, readNumber(bytes, start - 4), bytes.subarray(start, end));
    }
    this.#rest = at < bytes.length ? bytes.subarray(at) : undefined;
  }
}
