import type Docker from "dockerode";
import { type Clock, ioClock } from "../machinery/clock.ts";
import { fetchKubeconfig } from "./cluster-kubeconfig.ts";
import { labels, nodeName, type Role } from "./cluster-names.ts";
import { fixedAddress, subnetOf } from "./cluster-network.ts";
import { startDeadline } from "./deadline.ts";
import { deleteNodeObject } from "./delete-node.ts";
import { type Cluster, datastoreOfNode, getCluster, removeContainer, serversOf } from "./inventory.ts";
import { updateLoadBalancer } from "./load-balancer.ts";
import { failsWhenEnded } from "./node-log.ts";
import { containerOptions, type NodeSpec, nameOf } from "./node-spec.ts";
import { requireImages } from "./require-images.ts";
import { serverTemplate } from "./server-template.ts";
import { settleAll } from "./settle-all.ts";
import { waitForNodes } from "./wait-ready.ts";

export interface AddNodesOptions {
  readonly cluster: string;
  readonly role: Role;
  /** "" is the next free name. */
  readonly names: readonly string[];
  /** Default for servers: that of the cluster's. */
  readonly image?: string;
  /** Beside those that the cluster's servers have, for servers. */
  readonly args?: readonly string[];
  readonly timeoutMs: number;
  /** Gives it up; what was made is removed then. */
  readonly signal?: AbortSignal;
}

/**
 * Adds nodes to a cluster that runs, and waits until they are Ready. When that fails, those that were made are removed
 * again.
 * @throws when the cluster cannot have another server, or a name is taken
 */
export async function addNodes(docker: Docker, options: AddNodesOptions, clock: Clock = ioClock): Promise<void> {
  const cluster = await getCluster(docker, options.cluster);
  const specs = await planAddition(docker, cluster, options);
  await requireImages(
    docker,
    specs.map(({ image }) => image),
    options.signal,
  );
  const deadline = startDeadline(clock, options.timeoutMs, options.signal);
  const { signal } = deadline;
  const names = specs.map(nameOf);
  const kubeconfig = await fetchKubeconfig(docker, cluster);
  const ended = new AbortController();
  try {
    await settleAll(specs.map(async (spec) => (await docker.createContainer(containerOptions(spec))).start()));
    signal.throwIfAborted();
    if (options.role === "server") await updateLoadBalancer(docker, cluster.name);
    // A node that ends says why in its log; without that the wait would only time out.
    const failed = Promise.all(names.map((name) => failsWhenEnded(docker, name, ended.signal)));
    await Promise.race([waitForNodes(kubeconfig, names, signal), failed]);
  } catch (error) {
    await Promise.all(names.map((name) => removeContainer(docker, name)));
    if (options.role === "server") {
      await updateLoadBalancer(docker, cluster.name);
      // With its Node goes what else the cluster may have noted of a server that came half way.
      await Promise.all(names.map((name) => deleteNodeObject(docker, cluster.name, name).catch(() => {})));
    }
    throw error;
  } finally {
    deadline.cancel();
    ended.abort(new Error("nobody waits any more"));
  }
}

async function planAddition(docker: Docker, cluster: Cluster, options: AddNodesOptions): Promise<NodeSpec[]> {
  const [server] = serversOf(cluster);
  const token = server?.labels[labels.token];
  if (!server || !token) throw new Error(`cluster "${cluster.name}" has no server that knows its token`);
  const names = freeNames(cluster, options);
  const shared = { cluster: cluster.name, network: server.network, role: options.role, index: 0, token };
  if (options.role === "agent") {
    if (!options.image) throw new Error("an agent's image has to be named");
    const { image } = options;
    const join = cluster.loadBalancer?.name ?? server.name;
    return names.map((name) => ({ ...shared, name, image, join, args: options.args ?? [] }));
  }
  const datastore = datastoreOfNode(server);
  if (datastore === "sqlite") {
    throw new Error(
      `cluster "${cluster.name}" is kept in a SQLite file of its one server, which others cannot share; ` +
        "make clusters that are to have several servers with --servers 3, --cluster-init or --datastore-endpoint",
    );
  }
  const template = await serverTemplate(docker, server.name);
  const addresses = await freeAddresses(docker, cluster, names.length);
  return names.map((name, index) => ({
    ...shared,
    ...template,
    ...(addresses ? { address: addresses[index]! } : {}),
    name,
    datastore,
    image: options.image ?? template.image,
    ...(datastore === "etcd" ? { join: server.name } : {}),
    args: [...template.args, ...(options.args ?? [])],
  }));
}

/** For servers that come to others which have addresses of their own. */
async function freeAddresses(docker: Docker, cluster: Cluster, count: number): Promise<string[] | undefined> {
  const servers = serversOf(cluster);
  const taken = new Set(servers.map((server) => server.labels[labels.address]));
  if (taken.has(undefined)) return undefined;
  const subnet = await subnetOf(docker, servers[0]!.network);
  const candidates = Array.from({ length: servers.length + count }, (_, index) => fixedAddress(subnet, index));
  return candidates.filter((address) => !taken.has(address)).slice(0, count);
}

/** @throws when a wanted name is taken */
function freeNames(cluster: Cluster, { role, names }: AddNodesOptions): string[] {
  const taken = new Set(cluster.nodes.map(({ name }) => name));
  let index = 0;
  return names.map((wanted) => {
    let name = wanted;
    while (name === "" || (wanted === "" && taken.has(name))) name = nodeName(cluster.name, role, index++);
    if (taken.has(name)) throw new Error(`node "${name}" exists already in cluster "${cluster.name}"`);
    taken.add(name);
    return name;
  });
}
