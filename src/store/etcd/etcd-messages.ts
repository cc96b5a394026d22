/**
 * The messages and methods of etcd's v3 API that k3ts uses, as tables: field numbers are those of etcd 3.6's rpc.proto,
 * which only adds to 3.4's.
 */
import {
  bigint,
  bool,
  bytes,
  enumeration,
  int64,
  type MessageOutput,
  message,
  nested,
  repeated,
  string,
  uint64,
} from "../../machinery/protobuf.ts";

/** Identifiers use all 64 bits, revisions never come near 2^53. */
const id = bigint;

/** The identifiers are left out here: reading them would cost every answer more than the rest of it. */
const header = message("ResponseHeader", { revision: int64(3) });
const fullHeader = message("ResponseHeader", {
  clusterId: id(1),
  memberId: id(2),
  revision: int64(3),
  raftTerm: uint64(4),
});

const keyValue = message("KeyValue", {
  key: string(1),
  createRevision: int64(2),
  modRevision: int64(3),
  version: int64(4),
  value: bytes(5),
  lease: id(6),
});
export type KeyValue = MessageOutput<typeof keyValue>;

const rangeRequest = message("RangeRequest", {
  key: string(1),
  rangeEnd: bytes(2),
  limit: int64(3),
  revision: int64(4),
  serializable: bool(7),
  keysOnly: bool(8),
  countOnly: bool(9),
});
const rangeResponse = message("RangeResponse", {
  header: nested(1, header),
  kvs: repeated(nested(2, keyValue)),
  more: bool(3),
  count: int64(4),
});

const putRequest = message("PutRequest", { key: string(1), value: bytes(2), lease: id(3), prevKv: bool(4) });
const putResponse = message("PutResponse", { header: nested(1, header), prevKv: nested(2, keyValue) });

const deleteRangeRequest = message("DeleteRangeRequest", { key: string(1), rangeEnd: bytes(2), prevKv: bool(3) });
const deleteRangeResponse = message("DeleteRangeResponse", {
  header: nested(1, header),
  deleted: int64(2),
  prevKvs: repeated(nested(3, keyValue)),
});

const requestOp = message("RequestOp", {
  range: nested(1, rangeRequest),
  put: nested(2, putRequest),
  deleteRange: nested(3, deleteRangeRequest),
});
const responseOp = message("ResponseOp", {
  range: nested(1, rangeResponse),
  put: nested(2, putResponse),
  deleteRange: nested(3, deleteRangeResponse),
});
/** The wanted number stands in one of the last three; a zero is left out, which etcd reads as zero. */
const compare = message("Compare", {
  result: enumeration(1, ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]),
  target: enumeration(2, ["VERSION", "CREATE", "MOD", "VALUE", "LEASE"]),
  key: string(3),
  version: int64(4),
  createRevision: int64(5),
  modRevision: int64(6),
});
const txnRequest = message("TxnRequest", {
  compare: repeated(nested(1, compare)),
  success: repeated(nested(2, requestOp)),
  failure: repeated(nested(3, requestOp)),
});
const txnResponse = message("TxnResponse", {
  header: nested(1, header),
  succeeded: bool(2),
  responses: repeated(nested(3, responseOp)),
});

const compactionRequest = message("CompactionRequest", { revision: int64(1), physical: bool(2) });
const headerOnly = message("HeaderOnlyResponse", { header: nested(1, header) });

const watchCreateRequest = message("WatchCreateRequest", {
  key: bytes(1),
  rangeEnd: bytes(2),
  startRevision: int64(3),
  progressNotify: bool(4),
  prevKv: bool(6),
  fragment: bool(8),
});
const watchRequest = message("WatchRequest", {
  create: nested(1, watchCreateRequest),
  progress: nested(3, message("WatchProgressRequest", {})),
});
const event = message("Event", {
  type: enumeration(1, ["PUT", "DELETE"]),
  kv: nested(2, keyValue),
  prevKv: nested(3, keyValue),
});
export type WatchEvent = MessageOutput<typeof event>;
export const watchResponse = message("WatchResponse", {
  header: nested(1, header),
  watchId: int64(2),
  created: bool(3),
  canceled: bool(4),
  compactRevision: int64(5),
  cancelReason: string(6),
  fragment: bool(7),
  events: repeated(nested(11, event)),
});
export type WatchResponse = MessageOutput<typeof watchResponse>;

const leaseGrantRequest = message("LeaseGrantRequest", { ttl: int64(1), id: id(2) });
const leaseGrantResponse = message("LeaseGrantResponse", {
  header: nested(1, header),
  id: id(2),
  ttl: int64(3),
  error: string(4),
});

const statusResponse = message("StatusResponse", {
  header: nested(1, fullHeader),
  version: string(2),
  dbSize: int64(3),
  leader: id(4),
  raftIndex: uint64(5),
  raftTerm: uint64(6),
  raftAppliedIndex: uint64(7),
  errors: repeated(string(8)),
  dbSizeInUse: int64(9),
  isLearner: bool(10),
});
const snapshotResponse = message("SnapshotResponse", {
  header: nested(1, header),
  remainingBytes: uint64(2),
  blob: bytes(3),
});

const member = message("Member", {
  id: id(1),
  name: string(2),
  peerUrls: repeated(string(3)),
  clientUrls: repeated(string(4)),
  isLearner: bool(5),
});
export type MemberMessage = MessageOutput<typeof member>;
const memberChanged = message("MemberChangeResponse", {
  header: nested(1, header),
  member: nested(2, member),
  members: repeated(nested(3, member)),
});
const membersLeft = message("MembersResponse", {
  header: nested(1, fullHeader),
  members: repeated(nested(2, member)),
});
const memberIdRequest = message("MemberIdRequest", { id: id(1) });
const empty = message("Empty", {});

export const kv = {
  range: { path: "/etcdserverpb.KV/Range", request: rangeRequest, response: rangeResponse },
  put: { path: "/etcdserverpb.KV/Put", request: putRequest, response: putResponse },
  deleteRange: { path: "/etcdserverpb.KV/DeleteRange", request: deleteRangeRequest, response: deleteRangeResponse },
  txn: { path: "/etcdserverpb.KV/Txn", request: txnRequest, response: txnResponse },
  compact: { path: "/etcdserverpb.KV/Compact", request: compactionRequest, response: headerOnly },
};

export const watchMethod = { path: "/etcdserverpb.Watch/Watch", request: watchRequest, response: watchResponse };

export const leaseGrant = {
  path: "/etcdserverpb.Lease/LeaseGrant",
  request: leaseGrantRequest,
  response: leaseGrantResponse,
};

export const maintenance = {
  status: { path: "/etcdserverpb.Maintenance/Status", request: empty, response: statusResponse },
  snapshot: { path: "/etcdserverpb.Maintenance/Snapshot", request: empty, response: snapshotResponse },
};

export const cluster = {
  list: {
    path: "/etcdserverpb.Cluster/MemberList",
    request: message("MemberListRequest", { linearizable: bool(1) }),
    response: membersLeft,
  },
  add: {
    path: "/etcdserverpb.Cluster/MemberAdd",
    request: message("MemberAddRequest", { peerUrls: repeated(string(1)), isLearner: bool(2) }),
    response: memberChanged,
  },
  remove: { path: "/etcdserverpb.Cluster/MemberRemove", request: memberIdRequest, response: membersLeft },
  promote: { path: "/etcdserverpb.Cluster/MemberPromote", request: memberIdRequest, response: membersLeft },
};
