import { dns1123Label } from "../machinery/names.ts";

/** Names and labels by which a cluster's containers, network and volumes are found again. */

export type Role = "server" | "agent";

export const labels = {
  cluster: "k3ts.cluster",
  /** A {@link Role}, or {@link loadBalancerRole}. */
  role: "k3ts.role",
  /** The cluster's join token is kept on its servers, so that nodes can be added later. */
  token: "k3ts.token",
  /** Where the API is published, on the container that publishes it. */
  apiPort: "k3ts.api-port",
  /** What servers keep the cluster in: a `Datastore`. */
  datastore: "k3ts.datastore",
  /** The address that a server always has, where others know it by that. */
  address: "k3ts.address",
  /** Ports beside the API's that the load balancer passes on, with commas between. */
  ports: "k3ts.ports",
} as const;

/** The role of the container that is no node. */
export const loadBalancerRole = "loadbalancer";

/** Long enough for people, short enough that a container's name stays a host name. */
const maxNameLength = 32;

/** @throws when the name cannot be part of a host name */
export function checkClusterName(name: string): void {
  const [problem] = dns1123Label(name);
  if (problem) throw new Error(`invalid cluster name "${name}": ${problem}`);
  if (name.length > maxNameLength) {
    throw new Error(
      `invalid cluster name "${name}": it has ${name.length} characters, at most ${maxNameLength} are possible`,
    );
  }
}

export function networkName(cluster: string): string {
  return `k3ts-${cluster}`;
}

/** A node's container, host and Kubernetes name are the same. */
export function nodeName(cluster: string, role: Role, index: number): string {
  return `k3ts-${cluster}-${role}-${index}`;
}

/** The container in front of a cluster's servers. */
export function loadBalancerName(cluster: string): string {
  return `k3ts-${cluster}-serverlb`;
}

/** The context, cluster and user in people's kubeconfig. */
export function contextName(cluster: string): string {
  return `k3ts-${cluster}`;
}

/** The cluster that a context was written for; undefined for contexts of others. */
export function clusterOfContext(context: string): string | undefined {
  return context.startsWith("k3ts-") ? context.slice("k3ts-".length) : undefined;
}
