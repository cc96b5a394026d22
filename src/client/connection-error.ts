/** The server could not be reached, or the connection broke before it answered: whether a write happened is unknown. */
export class ConnectionError extends Error {
  /** Node's or HTTP/2's code: "ECONNREFUSED", "ERR_HTTP2_STREAM_ERROR", … */
  readonly code: string | undefined;
  /** True when the request cannot have reached the server. */
  readonly notSent: boolean;

  constructor(message: string, options: { cause?: unknown; notSent?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.name = "ConnectionError";
    this.code = (options.cause as NodeJS.ErrnoException | undefined)?.code;
    this.notSent = options.notSent ?? false;
  }
}
