import { randomBytes } from "node:crypto";
import type Docker from "dockerode";
import type { ContainerCreateOptions } from "dockerode";
import { type Clock, ioClock } from "../machinery/clock.ts";
import { fetchKubeconfig } from "./cluster-kubeconfig.ts";
import { checkClusterName, contextName, loadBalancerName, networkName } from "./cluster-names.ts";
import { createClusterNetwork, fixedAddress, subnetOf } from "./cluster-network.ts";
import { startDeadline } from "./deadline.ts";
import { publishedHost } from "./docker.ts";
import { foundingFilesOf, giveFoundingFiles } from "./founding.ts";
import { freePort } from "./free-port.ts";
import { getCluster, listClusters, removeCluster } from "./inventory.ts";
import {
  defaultKubeconfigPath,
  type KubeconfigFile,
  mergeKubeconfig,
  readKubeconfigFile,
  writeKubeconfigFile,
} from "./kubeconfig-file.ts";
import { configureLoadBalancer } from "./load-balancer.ts";
import { forwardedPorts, loadBalancerOptions } from "./load-balancer-spec.ts";
import { failsWhenEnded, waitForLine } from "./node-log.ts";
import { containerOptions, type NodeSpec, nameOf } from "./node-spec.ts";
import { type ClusterSettings, planCluster } from "./plan-cluster.ts";
import { runSteps } from "./progress.ts";
import { requireImages } from "./require-images.ts";
import { settleAll } from "./settle-all.ts";
import { waitForNodes } from "./wait-ready.ts";

export interface CreateClusterOptions extends ClusterSettings {
  /** Where the API is published: "[address:]port"; default a free port on the loopback address. */
  readonly apiPort?: string;
  readonly token?: string;
  /** Wait until every node is Ready. */
  readonly wait: boolean;
  readonly timeoutMs: number;
  /** Write the kubeconfig into the user's own, and make it the current context. */
  readonly updateKubeconfig: boolean;
  readonly switchContext: boolean;
  readonly quiet?: boolean;
  /** Gives it up; what was made is removed then. */
  readonly signal?: AbortSignal;
}

/**
 * Makes a cluster of sibling containers; all nodes start at the same time. When any step fails, everything that was
 * made is removed again, and the error says why.
 * @returns the cluster's kubeconfig
 */
export async function createCluster(
  docker: Docker,
  options: CreateClusterOptions,
  clock: Clock = ioClock,
): Promise<KubeconfigFile> {
  checkClusterName(options.name);
  const existing = (await listClusters(docker)).find(({ name }) => name === options.name);
  if (existing) {
    throw new Error(
      `cluster "${options.name}" exists already; delete it with \`k3ts cluster delete ${options.name}\`, or choose another name`,
    );
  }
  const { nodes, loadBalancer } = planCluster(options, {
    token: options.token ?? randomBytes(16).toString("hex"),
    api: await apiAddress(options.apiPort),
    publishedHost: publishedHost(process.env),
  });
  // etcd's members know each other by their addresses; in a network of others' making nothing can be said about these.
  const fixed = options.network === undefined && nodes.some(({ datastore }) => datastore === "etcd");
  await requireImages(
    docker,
    [...nodes, ...(loadBalancer ? [loadBalancer] : [])].map(({ image }) => image),
    options.signal,
  );
  if (options.network !== undefined) await requireNetwork(docker, options.network);

  const deadline = startDeadline(clock, options.timeoutMs, options.signal);
  const { signal } = deadline;
  const [server = "", ...others] = nodes.map(nameOf);
  const names = [server, ...others];
  let kubeconfig: KubeconfigFile | undefined;
  try {
    await runSteps(
      [
        ...(options.network === undefined
          ? [
              {
                title: `Create network ${networkName(options.name)}`,
                run: () => createClusterNetwork(docker, options.name, fixed),
              },
            ]
          : []),
        {
          title: `Start ${names.length} node${names.length === 1 ? "" : "s"}${loadBalancer ? " and a load balancer" : ""}`,
          run: async (say) => {
            const subnet = fixed ? await subnetOf(docker, networkName(options.name)) : undefined;
            const start = async (create: ContainerCreateOptions & { name: string }, configure = async () => {}) => {
              const container = await docker.createContainer(create);
              await configure();
              signal.throwIfAborted();
              await container.start().catch((error: Error) => {
                throw withRemedy(error);
              });
              say(create.name);
            };
            const placed = nodes.map((node) =>
              subnet && node.role === "server" ? { ...node, address: fixedAddress(subnet, node.index) } : node,
            );
            const founding = await foundingFilesOf(placed, clock);
            const startNode = (node: NodeSpec) => {
              const name = nameOf(node);
              return start(containerOptions(node), () => giveFoundingFiles(docker, name, founding.get(name)));
            };
            // All of them end before anything is removed again.
            await settleAll([
              ...(loadBalancer
                ? [
                    start(loadBalancerOptions(loadBalancer), () =>
                      configureLoadBalancer(docker, loadBalancerName(options.name), {
                        servers: nodes.filter(({ role }) => role === "server").map(nameOf),
                        ports: forwardedPorts(loadBalancer.ports),
                      }),
                    ),
                  ]
                : []),
              ...placed.map(startNode),
            ]);
          },
        },
        {
          title: "Wait for the API",
          run: async () => {
            await waitForLine(docker, server, "Wrote kubeconfig", signal);
            kubeconfig = await fetchKubeconfig(docker, await getCluster(docker, options.name));
          },
        },
        ...(options.wait
          ? [
              {
                title: "Wait until all nodes are Ready",
                run: async (say: (detail: string) => void) => {
                  // A node that ends says why in its log; without that the wait would only time out.
                  const ended = new AbortController();
                  const failed = Promise.all(names.map((node) => failsWhenEnded(docker, node, ended.signal)));
                  try {
                    await Promise.race([waitForNodes(kubeconfig!, names, signal, say), failed]);
                  } finally {
                    ended.abort(new Error("nobody waits any more"));
                  }
                },
              },
            ]
          : []),
        ...(options.updateKubeconfig
          ? [
              {
                title: `Write context ${contextName(options.name)} to the kubeconfig`,
                run: async (say: (detail: string) => void) => {
                  const path = defaultKubeconfigPath(process.env);
                  writeKubeconfigFile(
                    path,
                    mergeKubeconfig(readKubeconfigFile(path), kubeconfig!, options.switchContext),
                  );
                  say(path);
                },
              },
            ]
          : []),
      ],
      { quiet: options.quiet ?? false, signal: options.signal },
    );
  } catch (error) {
    await removeCluster(docker, options.name);
    throw new Error(
      `creating cluster "${options.name}" failed, and what was made of it is removed again: ${(error as Error).message}`,
    );
  } finally {
    deadline.cancel();
  }
  return kubeconfig!;
}

/** The engine tells which port it could not have; how to choose another one is ours to tell. */
function withRemedy(error: Error): Error {
  if (!/address already in use|port is already allocated/.test(error.message)) return error;
  return new Error(`${error.message.trim()}; choose another port with --api-port or --port`, { cause: error });
}

async function apiAddress(text: string | undefined): Promise<{ host: string; port: number }> {
  const remote = publishedHost(process.env) !== "127.0.0.1";
  const match = /^(?:(.+):)?(\d{1,5})$/.exec(text ?? "");
  if (text !== undefined && (!match || Number(match[2]) > 65535)) {
    throw new Error(`invalid --api-port "${text}": write it as 6550 or 127.0.0.1:6550`);
  }
  const host = match?.[1] ?? (remote ? "0.0.0.0" : "127.0.0.1");
  return { host, port: match ? Number(match[2]) : await freePort(remote ? "0.0.0.0" : host) };
}

/** @throws when there is no such network, or it is one where containers do not find each other by name */
async function requireNetwork(docker: Docker, name: string): Promise<void> {
  if (["bridge", "host", "none"].includes(name)) {
    throw new Error(
      `--network=${name}: nodes find each other by name, which they cannot there; use a network of your own`,
    );
  }
  await docker
    .getNetwork(name)
    .inspect()
    .catch((error: Error) => {
      throw new Error(`--network=${name}: ${error.message.trim()}; make it with docker network create`);
    });
}
