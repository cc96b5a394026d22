/** The names of gRPC's status codes, by number. */
export const grpcCodes = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

export type GrpcCode = (typeof grpcCodes)[number];

/** A call that did not end with OK. `message` is the server's text, or what broke (which is the cause then). */
export class GrpcError extends Error {
  readonly code: GrpcCode;
  /** The server cannot have begun with it: there was no connection, or it refused the call as it came. */
  readonly unsent: boolean;
  constructor(code: GrpcCode, message: string, options: { unsent?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = "GrpcError";
    this.code = code;
    this.unsent = options.unsent ?? false;
  }
}
