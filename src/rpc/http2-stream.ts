import type { Headers } from "./hpack.ts";

/** Who takes what a server sends on a stream. */
export interface StreamReader {
  /** The headers of the reply, and what follows its data. */
  onHeaders(headers: Headers): void;
  /** A piece of the reply; to be copied where it is kept. */
  onData(piece: Buffer): void;
  /** Called once, last, unless the stream was cancelled: the server ended it in order, or something broke. */
  onClose(error: StreamError | undefined): void;
}

/** A stream did not end in order. */
export class StreamError extends Error {
  /** The server cannot have begun with it. */
  readonly unsent: boolean;
  constructor(message: string, options: { unsent?: boolean; cause?: Error | undefined } = {}) {
    super(message, options.cause && { cause: options.cause });
    this.unsent = options.unsent ?? false;
  }
}

/** One request and its reply. */
export interface Http2Stream {
  /** Sends data as soon as the server takes it. @param end whether it is the last */
  send(bytes: Buffer, end: boolean): void;
  /** Lets the server send what it was allowed to already, and no more. */
  pause(): void;
  resume(): void;
  /** Ends it on both sides; its reader hears nothing more. */
  cancel(): void;
}
