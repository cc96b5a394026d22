import { randomBytes } from "node:crypto";
import type Docker from "dockerode";
import { type Clock, ioClock } from "../machinery/clock.ts";
import { fetchKubeconfig } from "./cluster-kubeconfig.ts";
import { checkClusterName, contextName, labels, networkName, nodeName, type Role } from "./cluster-names.ts";
import { publishedHost } from "./docker.ts";
import { freePort } from "./free-port.ts";
import { getCluster, listClusters, removeCluster } from "./inventory.ts";
import {
  defaultKubeconfigPath,
  type KubeconfigFile,
  mergeKubeconfig,
  readKubeconfigFile,
  writeKubeconfigFile,
} from "./kubeconfig-file.ts";
import { failsWhenEnded, waitForLine } from "./node-log.ts";
import { containerOptions, type NodeSpec } from "./node-spec.ts";
import { runSteps } from "./progress.ts";
import { waitForNodes } from "./wait-ready.ts";

export interface CreateClusterOptions {
  readonly name: string;
  readonly servers: number;
  readonly agents: number;
  readonly serverImage: string;
  readonly agentImage: string;
  /** Where the API is published: "[address:]port"; default a free port on the loopback address. */
  readonly apiPort?: string;
  readonly token?: string;
  readonly environment?: readonly string[];
  readonly volumes?: readonly string[];
  /** Published on the first server. */
  readonly ports?: readonly string[];
  readonly serverArgs?: readonly string[];
  readonly agentArgs?: readonly string[];
  readonly memoryBytes?: { readonly server?: number; readonly agent?: number };
  /** Wait until every node is Ready. */
  readonly wait: boolean;
  readonly timeoutMs: number;
  /** Write the kubeconfig into the user's own, and make it the current context. */
  readonly updateKubeconfig: boolean;
  readonly switchContext: boolean;
  readonly quiet?: boolean;
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
  if (options.servers !== 1) {
    throw new Error(`--servers=${options.servers}: clusters of one server are supported by this version of k3ts`);
  }
  const existing = (await listClusters(docker)).find(({ name }) => name === options.name);
  if (existing) {
    throw new Error(
      `cluster "${options.name}" exists already; delete it with \`k3ts cluster delete ${options.name}\`, or choose another name`,
    );
  }
  await requireImages(docker, [options.serverImage, ...(options.agents > 0 ? [options.agentImage] : [])]);
  const specs = await planNodes(options);

  const deadline = new AbortController();
  const timer = clock.after(options.timeoutMs, () =>
    deadline.abort(new Error(`not ready within ${options.timeoutMs / 1000} s`)),
  );
  const made: string[] = [];
  let kubeconfig: KubeconfigFile | undefined;
  try {
    await runSteps(
      [
        {
          title: `Create network ${networkName(options.name)}`,
          run: async () => {
            await docker.createNetwork({
              Name: networkName(options.name),
              Driver: "bridge",
              Labels: { [labels.cluster]: options.name },
            });
          },
        },
        {
          title: `Start ${specs.length} node${specs.length === 1 ? "" : "s"}`,
          run: async (say) => {
            const started = await Promise.allSettled(
              specs.map(async (spec) => {
                const create = containerOptions(spec);
                made.push(create.name);
                const container = await docker.createContainer(create);
                await container.start().catch((error: Error) => {
                  throw withRemedy(error);
                });
                say(create.name);
              }),
            );
            // Not before all have an outcome: what is made while the others are removed would stay.
            for (const outcome of started) if (outcome.status === "rejected") throw outcome.reason;
          },
        },
        {
          title: "Wait for the API",
          run: async () => {
            const server = made[0]!;
            await waitForLine(docker, server, "Wrote kubeconfig", deadline.signal);
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
                  const failed = Promise.all(made.map((node) => failsWhenEnded(docker, node, ended.signal)));
                  try {
                    await Promise.race([waitForNodes(kubeconfig!, made, deadline.signal, say), failed]);
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
      { quiet: options.quiet ?? false },
    );
  } catch (error) {
    await removeCluster(
      docker,
      options.name,
      made.map((name) => ({ name })),
    );
    throw new Error(
      `creating cluster "${options.name}" failed, and what was made of it is removed again: ${(error as Error).message}`,
    );
  } finally {
    timer.cancel();
  }
  return kubeconfig!;
}

/** The engine tells which port it could not have; how to choose another one is ours to tell. */
function withRemedy(error: Error): Error {
  if (!/address already in use|port is already allocated/.test(error.message)) return error;
  return new Error(`${error.message.trim()}; choose another port with --api-port or --port`, { cause: error });
}

async function planNodes(options: CreateClusterOptions): Promise<NodeSpec[]> {
  const token = options.token ?? randomBytes(16).toString("hex");
  const api = await apiAddress(options.apiPort);
  const shared = {
    cluster: options.name,
    token,
    environment: options.environment ?? [],
    volumes: options.volumes ?? [],
  };
  const server: NodeSpec = {
    ...shared,
    role: "server",
    index: 0,
    image: options.serverImage,
    api,
    apiNames: [...new Set(["0.0.0.0", api.host, publishedHost(process.env)])],
    ports: options.ports ?? [],
    args: options.serverArgs ?? [],
    ...(options.memoryBytes?.server ? { memoryBytes: options.memoryBytes.server } : {}),
  };
  const agents = Array.from(
    { length: options.agents },
    (_, index): NodeSpec => ({
      ...shared,
      role: "agent",
      index,
      image: options.agentImage,
      args: options.agentArgs ?? [],
      ...(options.memoryBytes?.agent ? { memoryBytes: options.memoryBytes.agent } : {}),
    }),
  );
  return [server, ...agents];
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

/** Pulls what is missing. @throws when an image is neither here nor to be had */
async function requireImages(docker: Docker, images: readonly string[]): Promise<void> {
  for (const image of new Set(images)) {
    const present = await docker
      .getImage(image)
      .inspect()
      .then(
        () => true,
        () => false,
      );
    if (present) continue;
    try {
      const stream = await docker.pull(image);
      await new Promise<void>((resolve, reject) => {
        docker.modem.followProgress(stream, (error) => (error ? reject(error) : resolve()));
      });
    } catch (error) {
      throw new Error(
        `image "${image}" is not here and cannot be pulled (${(error as Error).message}); build it with \`npm run images\``,
      );
    }
  }
}

/** Adds nodes to a cluster that runs. */
export async function addNodes(
  docker: Docker,
  options: {
    readonly cluster: string;
    readonly role: Role;
    readonly names: readonly string[];
    readonly image: string;
    readonly args?: readonly string[];
    readonly timeoutMs: number;
  },
  clock: Clock = ioClock,
): Promise<void> {
  if (options.role !== "agent")
    throw new Error("adding servers is not supported by this version of k3ts; use --role agent");
  const cluster = await getCluster(docker, options.cluster);
  const token = cluster.nodes.map((node) => node.labels[labels.token]).find(Boolean);
  if (!token) throw new Error(`cluster "${cluster.name}" has no server that knows its token`);
  await requireImages(docker, [options.image]);
  const deadline = new AbortController();
  const timer = clock.after(options.timeoutMs, () =>
    deadline.abort(new Error(`not ready within ${options.timeoutMs / 1000} s`)),
  );
  const made: string[] = [];
  try {
    const taken = new Set(cluster.nodes.map(({ name }) => name));
    let index = 0;
    for (const wanted of options.names) {
      let name = wanted;
      while (name === "" || (wanted === "" && taken.has(name))) name = nodeName(cluster.name, "agent", index++);
      if (taken.has(name)) throw new Error(`node "${name}" exists already in cluster "${cluster.name}"`);
      taken.add(name);
      const create = containerOptions({
        cluster: cluster.name,
        role: "agent",
        index: 0,
        name,
        image: options.image,
        token,
        args: options.args ?? [],
      });
      made.push(name);
      await (await docker.createContainer(create)).start();
    }
    const kubeconfig = await fetchKubeconfig(docker, cluster);
    await waitForNodes(kubeconfig, made, deadline.signal);
  } catch (error) {
    await Promise.all(
      made.map((name) =>
        docker
          .getContainer(name)
          .remove({ force: true, v: true })
          .catch(() => {}),
      ),
    );
    throw error;
  } finally {
    timer.cancel();
  }
}
