import type Docker from "dockerode";
import { nodes } from "../api/generated/core-v1.ts";
import type { Client } from "../client/client.ts";
import { type Clock, ioClock } from "../machinery/clock.ts";
import { StatusError } from "../machinery/status.ts";
import { fetchKubeconfig } from "./cluster-kubeconfig.ts";
import { labels } from "./cluster-names.ts";
import {
  type Cluster,
  type ClusterNode,
  datastoreOfNode,
  getCluster,
  removeContainer,
  stopContainer,
} from "./inventory.ts";
import { clientOf } from "./kubeconfig-client.ts";
import { leaveEtcd } from "./leave-etcd.ts";
import { updateLoadBalancer } from "./load-balancer.ts";
import { canDoWithout, deletionProblem, type ServerDeletion } from "./quorum.ts";

/**
 * Removes a node from its cluster for good; its pods are made anew elsewhere.
 * @param options.force also a server that embedded etcd's quorum needs; only its container is removed then
 * @throws when the cluster cannot do without the node
 */
export async function deleteNode(
  docker: Docker,
  node: ClusterNode,
  options: { readonly force: boolean } = { force: false },
  clock: Clock = ioClock,
): Promise<void> {
  if (node.role === "server") return deleteServer(docker, node, options.force, clock);
  await removeContainer(docker, node.name);
  await deleteNodeObject(docker, node.cluster, node.name);
}

async function deleteServer(docker: Docker, node: ClusterNode, force: boolean, clock: Clock): Promise<void> {
  const cluster = await getCluster(docker, node.cluster);
  const deletion = await circumstances(docker, cluster, node);
  const problem = deletionProblem(deletion);
  if (problem && !(force && problem.force)) throw new Error(problem.message);
  // Nothing new reaches it from now on.
  await updateLoadBalancer(docker, cluster.name, node.name);
  const leaves = !problem && datastoreOfNode(node) === "etcd";
  // In order, so that it hands over what it leads and takes its address back; unless it has to agree that it goes.
  if (!leaves || canDoWithout(deletion)) await stopContainer(docker, node.name);
  // A removed member that is started again would join anew.
  else await docker.getContainer(node.name).update({ RestartPolicy: { Name: "no" } });
  if (leaves) await withClient(docker, cluster, (client) => leaveEtcd(client, node.name, clock));
  await removeContainer(docker, node.name);
  if (!problem) await deleteNodeObject(docker, cluster.name, node.name);
}

async function circumstances(docker: Docker, cluster: Cluster, node: ClusterNode): Promise<ServerDeletion> {
  const servers = cluster.nodes.filter(({ role }) => role === "server");
  return {
    cluster: cluster.name,
    // Asked one by one: the engine's list may still have a state that is over.
    servers: await Promise.all(
      servers.map(async ({ name }) => {
        const { State } = await docker.getContainer(name).inspect();
        return { name, running: State.Running && !State.Paused };
      }),
    ),
    name: node.name,
    datastore: datastoreOfNode(node),
    publishesApi: node.labels[labels.apiPort] !== undefined,
  };
}

/** Deletes a Node object, so that pods of a node whose container is gone are replaced at once. */
export async function deleteNodeObject(docker: Docker, cluster: string, name: string): Promise<void> {
  await withClient(docker, await getCluster(docker, cluster), (client) => client.delete(nodes, name));
}

/** What is not there is as good as deleted. */
async function withClient(docker: Docker, cluster: Cluster, work: (client: Client) => Promise<unknown>): Promise<void> {
  const client = clientOf(await fetchKubeconfig(docker, cluster));
  try {
    await work(client);
  } catch (error) {
    if (!(error instanceof StatusError && error.code === 404)) throw error;
  } finally {
    client.close();
  }
}
