import { readFileSync } from "node:fs";
import type { Clock } from "../../machinery/clock.ts";
import { bigint, message, repeated, string } from "../../machinery/protobuf.ts";
import { type GrpcClient, GrpcError } from "../../rpc/grpc-client.ts";
import type { DatastoreFiles } from "../../store/datastore-endpoint.ts";
import { etcdClient } from "../../store/etcd/etcd-connection.ts";
import { cluster, type MemberMessage, maintenance } from "../../store/etcd/etcd-messages.ts";
import type { MemberFacts } from "./join-plan.ts";

export interface Member extends MemberFacts {
  readonly id: bigint;
}

export interface MemberStatus {
  readonly memberId: bigint;
  readonly isLearner: boolean;
  /** The member that leads; 0 where none is known. */
  readonly leader: bigint;
  /** How much of the cluster's log this member has taken in. */
  readonly appliedIndex: number;
  readonly errors: readonly string[];
}

/** Asks and changes who the members of a cluster of etcd are. Everything rejects with a GrpcError. */
export interface MemberClient {
  list(): Promise<Member[]>;
  addLearner(peerUrl: string): Promise<void>;
  promote(id: bigint): Promise<void>;
  remove(id: bigint): Promise<void>;
  /** Tells the others that a member has moved. */
  move(id: bigint, peerUrl: string): Promise<void>;
  /** Has the member that is asked hand its leadership over. */
  moveLeader(to: bigint): Promise<void>;
  /** Of the first of the members asked that answers; learners answer, too. */
  status(): Promise<MemberStatus>;
  close(): void;
}

const update = {
  path: "/etcdserverpb.Cluster/MemberUpdate",
  request: message("MemberUpdateRequest", { id: bigint(1), peerUrls: repeated(string(2)) }),
  response: cluster.remove.response,
};

const moveLeader = {
  path: "/etcdserverpb.Maintenance/MoveLeader",
  request: message("MoveLeaderRequest", { targetId: bigint(1) }),
  response: message("MoveLeaderResponse", {}),
};

/** etcd itself gives up a change that its members do not agree on after about as long. */
const timeoutMs = 7000;
/** A change that comes while another is under way is dropped without a word; these may be asked for again at once. */
const joinTimeoutMs = 1500;

/**
 * Makes a client of the members at `clientUrls`; the next one is asked when one is away.
 * @param clock the io clock
 */
export function memberClient(
  clientUrls: readonly string[],
  files: Required<DatastoreFiles>,
  clock: Clock,
): MemberClient {
  const [ca, cert, key] = [files.ca, files.cert, files.key].map((path) => readFileSync(path));
  const clients = clientUrls.map((url) => {
    const { hostname, port } = new URL(url);
    return etcdClient(
      { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port), tls: true },
      { ca, cert, key },
      clock,
    );
  });
  const ask = async <T>(call: (client: GrpcClient) => Promise<T>): Promise<T> => {
    let failure: unknown = new GrpcError("UNAVAILABLE", "no member of etcd is known that could be asked");
    for (const client of clients) {
      try {
        return await call(client);
      } catch (error) {
        failure = error;
        if (!(error instanceof GrpcError) || !error.unsent) throw error;
      }
    }
    throw failure;
  };
  const options = { timeoutMs };
  return {
    list: async () => {
      const { members } = await ask((client) => client.unary(cluster.list, { linearizable: true }, options));
      return members.map(memberOf);
    },
    addLearner: async (url) => {
      await ask((client) =>
        client.unary(cluster.add, { peerUrls: [url], isLearner: true }, { timeoutMs: joinTimeoutMs }),
      );
    },
    promote: async (id) => {
      await ask((client) => client.unary(cluster.promote, { id }, { timeoutMs: joinTimeoutMs }));
    },
    remove: async (id) => {
      await ask((client) => client.unary(cluster.remove, { id }, options));
    },
    move: async (id, url) => {
      await ask((client) => client.unary(update, { id, peerUrls: [url] }, options));
    },
    moveLeader: async (targetId) => {
      await ask((client) => client.unary(moveLeader, { targetId }, options));
    },
    status: async () => {
      const reply = await ask((client) => client.unary(maintenance.status, {}, options));
      return {
        memberId: BigInt.asUintN(64, reply.header?.memberId ?? 0n),
        isLearner: reply.isLearner,
        leader: BigInt.asUintN(64, reply.leader),
        appliedIndex: reply.raftAppliedIndex,
        errors: reply.errors,
      };
    },
    close: () => {
      for (const client of clients) client.close();
    },
  };
}

function memberOf({ id, name, peerUrls, clientUrls, isLearner }: MemberMessage): Member {
  return { id: BigInt.asUintN(64, id), name, peerUrls, clientUrls, isLearner };
}
