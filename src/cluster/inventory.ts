import type Docker from "dockerode";
import { labels, networkName, type Role } from "./cluster-names.ts";

/** A node's container as it stands. */
export interface ClusterNode {
  readonly id: string;
  readonly name: string;
  readonly cluster: string;
  readonly role: Role;
  /** Docker's own word: "running", "exited", "created", … */
  readonly state: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Cluster {
  readonly name: string;
  /** Servers first, then by name. */
  readonly nodes: readonly ClusterNode[];
}

/** All clusters on this engine, found by the labels of their containers. */
export async function listClusters(docker: Docker): Promise<Cluster[]> {
  const containers = await docker.listContainers({ all: true, filters: JSON.stringify({ label: [labels.cluster] }) });
  const clusters = new Map<string, ClusterNode[]>();
  for (const container of containers) {
    const cluster = container.Labels[labels.cluster]!;
    const node: ClusterNode = {
      id: container.Id,
      name: (container.Names[0] ?? "").replace(/^\//, ""),
      cluster,
      role: container.Labels[labels.role] === "server" ? "server" : "agent",
      state: container.State,
      image: container.Image,
      labels: container.Labels,
    };
    clusters.set(cluster, [...(clusters.get(cluster) ?? []), node]);
  }
  const order = (node: ClusterNode) => `${node.role === "server" ? 0 : 1}${node.name}`;
  return [...clusters]
    .map(([name, nodes]) => ({
      name,
      nodes: nodes.sort((a, b) => order(a).localeCompare(order(b), "en", { numeric: true })),
    }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** @throws when there is no such cluster; the message names those that there are */
export async function getCluster(docker: Docker, name: string): Promise<Cluster> {
  const clusters = await listClusters(docker);
  const found = clusters.find((cluster) => cluster.name === name);
  if (found) return found;
  const known = clusters.map((cluster) => cluster.name).join(", ");
  throw new Error(
    `no cluster "${name}" found${known ? `; there are: ${known}` : "; create it with k3ts cluster create"}`,
  );
}

export function firstServer(cluster: Cluster): ClusterNode {
  const server = cluster.nodes.find((node) => node.labels[labels.apiPort]);
  if (!server)
    throw new Error(`cluster "${cluster.name}" has no server with a published API; delete it and create it again`);
  return server;
}

/** Removes containers with their volumes, and the network; what is gone already is no error. */
export async function removeCluster(
  docker: Docker,
  name: string,
  nodes: readonly Pick<ClusterNode, "name">[],
): Promise<void> {
  await Promise.all(nodes.map((node) => removeNode(docker, node.name)));
  await docker.getNetwork(networkName(name)).remove().catch(ignoreGone);
}

export async function removeNode(docker: Docker, container: string): Promise<void> {
  await docker.getContainer(container).remove({ force: true, v: true }).catch(ignoreGone);
}

function ignoreGone(error: { statusCode?: number }): void {
  if (error.statusCode !== 404) throw error;
}
