import type Docker from "dockerode";
import { nodes } from "../api/generated/core-v1.ts";
import { StatusError } from "../machinery/status.ts";
import { fetchKubeconfig } from "./cluster-kubeconfig.ts";
import { getCluster } from "./inventory.ts";
import { clientOf } from "./kubeconfig-client.ts";

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
