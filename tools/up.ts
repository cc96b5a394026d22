/**
 * From nothing to a running cluster: `npm run up`. Gets a Docker Engine, builds the images, creates the cluster `dev` of
 * one server and two agents (or starts it), waits until its nodes are Ready and says what to type next.
 *
 * `npm run up -- --fresh` makes the cluster anew.
 */
import { parseArgs } from "node:util";
import { contextName } from "../src/cluster/cluster-names.ts";
import { createCluster } from "../src/cluster/create-cluster.ts";
import { connectDocker } from "../src/cluster/docker.ts";
import { type Cluster, listClusters } from "../src/cluster/inventory.ts";
import { defaultKubeconfigPath } from "../src/cluster/kubeconfig-file.ts";
import { deleteCluster, startCluster } from "../src/cluster/lifecycle.ts";
import { agentImage, loadBalancerImage, serverImage } from "../src/commands/images.ts";
import { interruptible } from "../src/commands/interruptible.ts";
import { imageTasks } from "./images.ts";
import { run } from "./run.ts";
import { runTasks } from "./tasks.ts";

const clusterName = "dev";
const timeoutMs = 180_000;

/** Whether a node runs another image than the one that its name stands for now. */
async function isOutdated(cluster: Cluster): Promise<boolean> {
  const wanted = { server: serverImage, agent: agentImage };
  for (const node of cluster.nodes) {
    const [used, current] = await Promise.all([
      run("docker", ["inspect", "--format", "{{.Image}}", node.name]),
      run("docker", ["image", "inspect", "--format", "{{.Id}}", wanted[node.role]]),
    ]);
    if (used !== current) return true;
  }
  return false;
}

async function up(fresh: boolean): Promise<void> {
  if (!(await runTasks(imageTasks()))) return;
  const docker = await connectDocker();
  let existing = (await listClusters(docker)).find(({ name }) => name === clusterName);
  if (existing && fresh) {
    await deleteCluster(docker, existing);
    existing = undefined;
  }
  let outdated = false;
  if (existing) {
    const found = existing;
    await interruptible((signal) =>
      startCluster(docker, found, { wait: true, timeoutMs, updateKubeconfig: true, signal }),
    );
    outdated = await isOutdated(existing);
  } else {
    const options = {
      name: clusterName,
      servers: 1,
      agents: 2,
      serverImage,
      agentImage,
      loadBalancerImage,
      wait: true,
      timeoutMs,
      updateKubeconfig: true,
      switchContext: true,
    };
    await interruptible((signal) => createCluster(docker, { ...options, signal }));
  }
  console.log(`
The cluster "${clusterName}" is up: one server and two agents, all Ready.
Its kubeconfig is the context ${contextName(clusterName)} in ${defaultKubeconfigPath(process.env)}.
${outdated ? '\nIts nodes run an older build than the images; "npm run up -- --fresh" makes it anew, without what is in it.\n' : ""}
Next:
  npx k3ts kubectl get nodes
  npx k3ts image import -c dev k3ts/test-web:1.0
  npx k3ts kubectl create deployment web --image=k3ts/test-web:1.0 --replicas=3
  npx k3ts cluster delete ${clusterName}`);
}

const { values } = parseArgs({ options: { fresh: { type: "boolean", default: false } } });
try {
  await up(values.fresh);
} catch (error) {
  console.error(error instanceof Error ? `\n${error.message}` : error);
  process.exitCode = 1;
}
// Connections that are kept alive, to the engine and to the cluster, must not keep this waiting.
process.exit();
