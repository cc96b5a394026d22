import { GrpcError } from "../../rpc/grpc-client.ts";
import { UnavailableError, UnknownOutcomeError } from "../store.ts";

/** etcd answered that it does not keep this revision any more. */
export function isCompacted(error: unknown): boolean {
  return error instanceof GrpcError && error.code === "OUT_OF_RANGE" && error.message.includes("has been compacted");
}

/** etcd answered that it has not come to this revision yet. */
export function isFutureRevision(error: unknown): boolean {
  return error instanceof GrpcError && error.code === "OUT_OF_RANGE" && error.message.includes("future revision");
}

export function isLeaseNotFound(error: unknown): boolean {
  return error instanceof GrpcError && error.code === "NOT_FOUND" && error.message.includes("lease");
}

/** The answer would have been larger than one message may be. */
export function isOversize(error: unknown): boolean {
  return error instanceof GrpcError && error.code === "RESOURCE_EXHAUSTED" && error.message.includes("too large");
}

/** etcd cannot take writes, though it answers reads. */
export function isNoSpace(error: unknown): boolean {
  return error instanceof GrpcError && error.message.includes("database space exceeded");
}

/** The request is at fault, or names something that is not there: no other endpoint and no later time would help. */
function isAnswer({ code, message }: GrpcError): boolean {
  if (code === "RESOURCE_EXHAUSTED") return !/space exceeded|too many requests/.test(message);
  return ["OUT_OF_RANGE", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "UNIMPLEMENTED"].includes(code);
}

/** The call failed by the endpoint or what lies behind it; the same call may succeed elsewhere or later. */
export function isOutage(error: GrpcError): boolean {
  return !isAnswer(error);
}

const refusals = new Set(["etcdserver: no leader", "etcdserver: rpc not supported for learner"]);

/**
 * Whether a write that failed so cannot have happened. "No leader" is said before anything is proposed, since the calls
 * ask for a leader; "request timed out" may be said of a proposal that is under way.
 */
export function isUnsent(error: GrpcError): boolean {
  if (error.unsent || isAnswer(error)) return true;
  if (error.code === "UNAVAILABLE") return refusals.has(error.message);
  return ["RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAUTHENTICATED", "FAILED_PRECONDITION", "DATA_LOSS"].includes(
    error.code,
  );
}

/** What the store's callers are told of an outage. */
export function storeError(error: GrpcError, write: boolean): Error {
  if (!isOutage(error)) return error;
  if (write && !isUnsent(error))
    return new UnknownOutcomeError(`etcd does not tell whether the write happened: ${error.message}`, { cause: error });
  const remedy = isNoSpace(error) ? "; compact and defragment it, or raise its quota, and disarm its alarm" : "";
  return new UnavailableError(`etcd is not available: ${error.message}${remedy}`, { cause: error });
}
