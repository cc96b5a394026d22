import type Docker from "dockerode";
import { nodes } from "../api/generated/core-v1.ts";
import { StatusError } from "../machinery/status.ts";
import { fetchKubeconfig } from "./cluster-kubeconfig.ts";
import { labels } from "./cluster-names.ts";
import { type Cluster, type ClusterNode, datastoreOfNode, getCluster, removeContainer } from "./inventory.ts";
import { clientOf } from "./kubeconfig-client.ts";
import { updateLoadBalancer } from "./load-balancer.ts";
import { deletionProblem } from "./quorum.ts";

/**
 * Removes a node from its cluster for good; its pods are made anew elsewhere.
 * @param options.force also a server that embedded etcd's quorum needs; its container is then removed, and nothing is
 * waited for
 * @throws when the cluster cannot do without the node
 */
export async function deleteNode(
  docker: Docker,
  node: ClusterNode,
  options: { readonly force: boolean } = { force: false },
): Promise<void> {
  if (node.role === "server") return deleteServer(docker, node, options.force);
  await removeContainer(docker, node.name);
  await deleteNodeObject(docker, node.cluster, node.name);
}

async function deleteServer(docker: Docker, node: ClusterNode, force: boolean): Promise<void> {
  const cluster = await getCluster(docker, node.cluster);
  const problem = deletionProblem(circumstances(cluster, node));
  if (problem && !(force && problem.force)) throw new Error(problem.message);
  // Nothing new reaches it from now on.
  await updateLoadBalancer(docker, cluster.name, node.name);
  if (problem) {
    await removeContainer(docker, node.name);
    return;
  }
  // While it still runs: of two members both are needed to agree that one goes.
  if (datastoreOfNode(node) === "etcd") await deleteNodeObject(docker, cluster.name, node.name);
  await removeContainer(docker, node.name);
  // Its kubelet may have registered it again meanwhile.
  await deleteNodeObject(docker, cluster.name, node.name);
}

function circumstances(cluster: Cluster, node: ClusterNode) {
  return {
    cluster: cluster.name,
    servers: cluster.nodes
      .filter(({ role }) => role === "server")
      .map(({ name, state }) => ({ name, running: state === "running" })),
    name: node.name,
    datastore: datastoreOfNode(node),
    publishesApi: node.labels[labels.apiPort] !== undefined,
  };
}

/** Deletes a Node object, so that pods of a node whose container is gone are replaced at once. */
export async function deleteNodeObject(docker: Docker, cluster: string, name: string): Promise<void> {
  const client = clientOf(await fetchKubeconfig(docker, await getCluster(docker, cluster)));
  try {
    await client.delete(nodes, name);
  } catch (error) {
    if (!(error instanceof StatusError && error.code === 404)) throw error;
  } finally {
    client.close();
  }
}
