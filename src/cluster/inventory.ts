import type Docker from "dockerode";
import { labels, loadBalancerRole, type Role } from "./cluster-names.ts";
import type { Datastore } from "./datastore-kind.ts";

/** A container of a cluster as it stands. */
export interface ClusterContainer {
  readonly id: string;
  readonly name: string;
  readonly cluster: string;
  readonly network: string;
  /** Docker's own word: "running", "exited", "created", … */
  readonly state: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ClusterNode extends ClusterContainer {
  readonly role: Role;
}

export interface Cluster {
  readonly name: string;
  /** Servers first, then by name. */
  readonly nodes: readonly ClusterNode[];
  /** In front of the servers, where there is one. */
  readonly loadBalancer?: ClusterContainer;
}

/** All clusters on this engine, found by the labels of their containers. */
export async function listClusters(docker: Docker): Promise<Cluster[]> {
  const containers = await docker.listContainers({ all: true, filters: JSON.stringify({ label: [labels.cluster] }) });
  const clusters = new Map<string, { nodes: ClusterNode[]; loadBalancer?: ClusterContainer }>();
  for (const container of containers) {
    const name = container.Labels[labels.cluster]!;
    const cluster = clusters.get(name) ?? { nodes: [] };
    clusters.set(name, cluster);
    const found: ClusterContainer = {
      id: container.Id,
      name: (container.Names[0] ?? "").replace(/^\//, ""),
      cluster: name,
      network: container.HostConfig.NetworkMode,
      state: container.State,
      image: container.Image,
      labels: container.Labels,
    };
    const role = container.Labels[labels.role];
    if (role === loadBalancerRole) cluster.loadBalancer = found;
    else cluster.nodes.push({ ...found, role: role === "server" ? "server" : "agent" });
  }
  const order = (node: ClusterNode) => `${node.role === "server" ? 0 : 1}${node.name}`;
  return [...clusters]
    .map(([name, { nodes, ...rest }]) => ({
      name,
      nodes: nodes.sort((a, b) => order(a).localeCompare(order(b), "en", { numeric: true })),
      ...rest,
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

/** Nodes, and what stands in front of them. */
export function containersOf(cluster: Cluster): readonly ClusterContainer[] {
  return cluster.loadBalancer ? [...cluster.nodes, cluster.loadBalancer] : cluster.nodes;
}

/** The servers of a cluster: those that run first, so that the first one serves best. */
export function serversOf(cluster: Cluster): readonly ClusterNode[] {
  const servers = cluster.nodes.filter(({ role }) => role === "server");
  const runs = ({ state }: ClusterNode) => state === "running";
  return [...servers.filter(runs), ...servers.filter((server) => !runs(server))];
}

/** What a server keeps its cluster in. */
export function datastoreOfNode(server: ClusterNode | undefined): Datastore {
  return (server?.labels[labels.datastore] as Datastore | undefined) ?? "sqlite";
}

/** The container that publishes the API. @throws when there is none */
export function publisherOf(cluster: Cluster): ClusterContainer {
  const publisher = containersOf(cluster).find((container) => container.labels[labels.apiPort]);
  if (publisher) return publisher;
  throw new Error(`cluster "${cluster.name}" has no container with a published API; delete it and create it again`);
}

/** Removes a cluster's containers with their volumes, and its network; what is gone already is no error. */
export async function removeCluster(docker: Docker, name: string): Promise<void> {
  const filters = { label: [`${labels.cluster}=${name}`] };
  const containers = await docker.listContainers({ all: true, filters: JSON.stringify(filters) });
  await Promise.all(containers.map(({ Id }) => removeContainer(docker, Id)));
  const networks = await docker.listNetworks({ filters: JSON.stringify(filters) });
  await Promise.all(networks.map(({ Id }) => docker.getNetwork(Id).remove().catch(ignoreGone)));
}

/** How long a container gets to end in order before it is killed, seconds. */
const stopSeconds = 20;

export async function stopContainer(docker: Docker, container: string): Promise<void> {
  await docker.getContainer(container).stop({ t: stopSeconds }).catch(ignoreUnchanged);
}

export async function startContainer(docker: Docker, container: string): Promise<void> {
  await docker.getContainer(container).start().catch(ignoreUnchanged);
}

export async function removeContainer(docker: Docker, container: string): Promise<void> {
  await docker.getContainer(container).remove({ force: true, v: true }).catch(ignoreGone);
}

function ignoreGone(error: { statusCode?: number }): void {
  if (error.statusCode !== 404) throw error;
}

/** 304: it is in that state already. */
function ignoreUnchanged(error: { statusCode?: number }): void {
  if (error.statusCode !== 304) throw error;
}
