import assert from "node:assert/strict";
import { test } from "node:test";
import { type GrpcCode, GrpcError } from "../../../../src/rpc/grpc-client.ts";
import { isOutage, storeError } from "../../../../src/store/etcd/etcd-errors.ts";
import { UnavailableError, UnknownOutcomeError } from "../../../../src/store/store.ts";

const cases: readonly [GrpcCode, string, ofRead: string, ofWrite: string][] = [
  ["UNAVAILABLE", "etcdserver: request timed out", "unavailable", "unknown"],
  ["UNAVAILABLE", "etcdserver: leader changed", "unavailable", "unknown"],
  ["UNAVAILABLE", "etcdserver: no leader", "unavailable", "unavailable"],
  ["DEADLINE_EXCEEDED", "no reply after 8000 ms", "unavailable", "unknown"],
  ["UNKNOWN", "raft proposal dropped", "unavailable", "unknown"],
  ["RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded", "unavailable", "unavailable"],
  ["RESOURCE_EXHAUSTED", "etcdserver: too many requests", "unavailable", "unavailable"],
  ["RESOURCE_EXHAUSTED", "grpc: received message larger than max", "answer", "answer"],
  ["INVALID_ARGUMENT", "etcdserver: request is too large", "answer", "answer"],
  ["OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted", "answer", "answer"],
  ["FAILED_PRECONDITION", "etcdserver: rpc not supported for learner", "unavailable", "unavailable"],
  ["PERMISSION_DENIED", "etcdserver: permission denied", "unavailable", "unavailable"],
];

function kind(error: Error): string {
  if (error instanceof UnavailableError) return "unavailable";
  return error instanceof UnknownOutcomeError ? "unknown" : "answer";
}

test("only a write that etcd may have begun with has an unknown outcome", () => {
  for (const [code, text, ofRead, ofWrite] of cases) {
    const error = new GrpcError(code, text);
    assert.deepEqual([kind(storeError(error, false)), kind(storeError(error, true))], [ofRead, ofWrite], text);
    assert.equal(isOutage(error), ofRead !== "answer", text);
  }
  const unsent = new GrpcError("UNAVAILABLE", "connect ECONNREFUSED", { unsent: true });
  assert.equal(kind(storeError(unsent, true)), "unavailable");
});

test("a full database is named with what to do about it", () => {
  const { message } = storeError(
    new GrpcError("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded"),
    true,
  );
  assert.match(message, /space exceeded; compact and defragment/);
});
