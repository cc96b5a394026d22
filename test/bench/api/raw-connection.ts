/** What a request of the load generator is made of. */
export interface RawRequest {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly body?: string;
}

/** Takes a reply as it comes. */
export interface RawReply {
  /** The reply's headers are here; `ok` is a code of 2xx. */
  open?(ok: boolean): void;
  /** A part of the body; the bytes are good only during the call. */
  data?(bytes: Buffer): void;
  /** All of it is here. */
  end(ok: boolean): void;
}

/**
 * A connection that knows just enough of HTTP to load a server: a full client costs more than the server that it is to
 * measure, and would be measured with it. Whatever it does not expect is an error.
 */
export interface RawConnection {
  send(request: RawRequest, reply: RawReply): void;
  close(): void;
}

export interface RawTarget {
  readonly host: string;
  readonly port: number;
  /** PEM. */
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}
