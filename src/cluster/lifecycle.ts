import type Docker from "dockerode";
import { type Clock, ioClock } from "../machinery/clock.ts";
import { fetchKubeconfig } from "./cluster-kubeconfig.ts";
import { contextName } from "./cluster-names.ts";
import { startDeadline } from "./deadline.ts";
import { type Cluster, containersOf, removeCluster, startContainer, stopContainer } from "./inventory.ts";
import {
  defaultKubeconfigPath,
  mergeKubeconfig,
  readKubeconfigFile,
  removeFromKubeconfig,
  writeKubeconfigFile,
} from "./kubeconfig-file.ts";
import { runSteps } from "./progress.ts";
import { waitForNodes } from "./wait-ready.ts";

/** Starts a stopped cluster and waits until its nodes are Ready again. */
export async function startCluster(
  docker: Docker,
  cluster: Cluster,
  options: {
    readonly wait: boolean;
    readonly timeoutMs: number;
    /** Write the context into the kubeconfig that kubectl uses, and make it the current one. */
    readonly updateKubeconfig?: boolean;
    /** Gives up waiting. */
    readonly signal?: AbortSignal;
  },
  clock: Clock = ioClock,
): Promise<void> {
  const deadline = startDeadline(clock, options.timeoutMs, options.signal);
  try {
    await runSteps(
      [
        {
          title: `Start ${cluster.nodes.length} nodes`,
          run: async (say) => {
            await Promise.all(
              // Together: embedded etcd answers when most of the servers are there.
              containersOf(cluster).map(async ({ name }) => {
                await startContainer(docker, name);
                say(name);
              }),
            );
          },
        },
        ...(options.wait
          ? [
              {
                title: "Wait until all nodes are Ready",
                run: async (say: (detail: string) => void) => {
                  const kubeconfig = await fetchKubeconfig(docker, cluster);
                  await waitForNodes(
                    kubeconfig,
                    cluster.nodes.map(({ name }) => name),
                    deadline.signal,
                    say,
                  );
                },
              },
            ]
          : []),
        ...(options.updateKubeconfig
          ? [
              {
                title: `Write context ${contextName(cluster.name)} to the kubeconfig`,
                run: async (say: (detail: string) => void) => {
                  const path = defaultKubeconfigPath(process.env);
                  const kubeconfig = await fetchKubeconfig(docker, cluster);
                  writeKubeconfigFile(path, mergeKubeconfig(readKubeconfigFile(path), kubeconfig, true));
                  say(path);
                },
              },
            ]
          : []),
      ],
      { signal: options.signal },
    );
  } finally {
    deadline.cancel();
  }
}

export async function stopCluster(docker: Docker, cluster: Cluster): Promise<void> {
  await runSteps([
    {
      title: `Stop ${cluster.nodes.length} nodes`,
      run: async () => {
        await Promise.all(containersOf(cluster).map(({ name }) => stopContainer(docker, name)));
      },
    },
  ]);
}

/** Removes a cluster's containers, volumes, network and kubeconfig entries. */
export async function deleteCluster(docker: Docker, cluster: Cluster): Promise<void> {
  await runSteps([
    {
      title: `Remove ${cluster.nodes.length} nodes and the network of cluster ${cluster.name}`,
      run: () => removeCluster(docker, cluster.name),
    },
    {
      title: `Remove context ${contextName(cluster.name)} from the kubeconfig`,
      run: async () => {
        const path = defaultKubeconfigPath(process.env);
        const file = readKubeconfigFile(path);
        if (!file.contexts.some(({ name }) => name === contextName(cluster.name))) return;
        writeKubeconfigFile(path, removeFromKubeconfig(file, contextName(cluster.name)));
      },
    },
  ]);
}
