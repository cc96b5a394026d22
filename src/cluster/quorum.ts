import type { Datastore } from "./datastore-kind.ts";

/** How many of `members` etcd members have to be there for it to answer. */
export function quorumOf(members: number): number {
  return Math.floor(members / 2) + 1;
}

/** What is to be said about a number of servers that is no good choice; undefined for the others. */
export function quorumNote(servers: number, datastore: Datastore): string | undefined {
  if (datastore !== "etcd" || servers % 2 === 1) return undefined;
  const bears = servers - quorumOf(servers);
  return (
    `${servers} servers with embedded etcd bear the loss of ${bears === 0 ? "none" : bears}, as ${servers - 1} would: ` +
    `${quorumOf(servers)} of them make the quorum. Use an odd number, such as ${servers + 1}`
  );
}

export interface ServerDeletion {
  readonly cluster: string;
  /** All servers of the cluster, by name, and whether their containers run. */
  readonly servers: readonly { readonly name: string; readonly running: boolean }[];
  readonly name: string;
  readonly datastore: Datastore;
  /** Whether this server's container publishes the API's port. */
  readonly publishesApi: boolean;
}

/**
 * Why a server should not be deleted; undefined when it may be. Only where `force` is true can the user have it all the
 * same.
 */
export function deletionProblem(deletion: ServerDeletion): { message: string; force: boolean } | undefined {
  const { cluster, servers, name, datastore, publishesApi } = deletion;
  if (servers.length === 1) {
    const message = `"${name}" is its cluster's only server; delete the cluster instead: k3ts cluster delete ${cluster}`;
    return { message, force: false };
  }
  if (publishesApi) {
    const message =
      `"${name}" publishes the API of cluster "${cluster}", which has no load balancer; ` +
      "make clusters whose servers come and go without --no-lb";
    return { message, force: false };
  }
  if (datastore !== "etcd") return undefined;
  const running = servers.filter((server) => server.running).length;
  const present = quorumOf(servers.length);
  if (running < present) {
    const message =
      `${running} of ${servers.length} servers run, and ${present} are needed for etcd to take "${name}" out; ` +
      `start the others first, or use --force to remove its container alone, and kubectl delete node ${name} later`;
    return { message, force: true };
  }
  const left = servers.filter((server) => server.running && server.name !== name).length;
  const needed = quorumOf(servers.length - 1);
  if (left >= needed) return undefined;
  const message =
    `without "${name}" ${left} of ${servers.length - 1} servers would run, and ${needed} are needed for etcd to answer; ` +
    `start the others first, or use --force to remove its container alone, and kubectl delete node ${name} later`;
  return { message, force: true };
}

/** Whether the other servers that run make embedded etcd's quorum without this one, while it still counts as a member. */
export function canDoWithout({ servers, name }: ServerDeletion): boolean {
  return servers.filter((server) => server.running && server.name !== name).length >= quorumOf(servers.length);
}
