import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { networkName, type Role } from "../../src/cluster/cluster-names.ts";
import { createCluster } from "../../src/cluster/create-cluster.ts";
import type { Datastore } from "../../src/cluster/datastore-kind.ts";
import { connectDocker } from "../../src/cluster/docker.ts";
import { importImages } from "../../src/cluster/import-images.ts";
import { datastoreOfNode, getCluster, removeCluster } from "../../src/cluster/inventory.ts";
import { printKubeconfig } from "../../src/cluster/kubeconfig-file.ts";
import { agentImage, loadBalancerImage, serverImage } from "../../src/commands/images.ts";
import { type RunOptions, run, tryRun } from "../../tools/run.ts";
import { type ClusterKind, clusterKindOf } from "./cluster-kind.ts";
import { startDatabase, type TestDatabase } from "./database.ts";
import { eventually } from "./eventually.ts";
import { helm, kubectl, kubectlJson, type ToolOptions } from "./kubectl.ts";

/** Without a kind of its own a cluster has the one that the run was told to have (`cluster-kind.ts`). */
export interface TestClusterOptions extends Partial<ClusterKind> {
  /** Default 0: servers are the only nodes. */
  agents?: number;
  serverArgs?: readonly string[];
  agentArgs?: readonly string[];
  /** Images of the engine that every node gets, so that pods need no registry. */
  images?: readonly string[];
  /** Default 240,000. */
  timeoutMs?: number;
}

/** A cluster of real containers that a test has to itself. */
export interface TestCluster extends AsyncDisposable {
  name: string;
  /** Names of the nodes, which are also those of their containers; servers first. */
  nodes: string[];
  /** The servers that it was made with; the first is the one that began it. */
  readonly servers: string[];
  /** The agents that it was made with. */
  readonly agents: string[];
  /** What the servers keep it in. */
  readonly datastore: Datastore;
  /** Where the datastore is a database outside. */
  readonly database?: TestDatabase;
  /** The network that its containers are in. */
  readonly network: string;
  /** Path of the kubeconfig, in a folder that goes with the cluster. */
  kubeconfig: string;
  kubectl(args: readonly string[], options?: Omit<ToolOptions, "kubeconfig">): Promise<string>;
  kubectlJson<T>(args: readonly string[]): Promise<T>;
  helm(args: readonly string[], options?: Omit<ToolOptions, "kubeconfig">): Promise<string>;
  /** Runs a program in a node's container and gives back what it printed. */
  exec(node: string, args: readonly string[], options?: RunOptions): Promise<string>;
  /** Removes all of it. Calling it twice does nothing more. */
  remove(): Promise<void>;
}

/** What has to go when this process ends before a test could clean up. */
const left = new Map<string, () => void>();
let watching = false;

/**
 * Creates a cluster under a name of its own and waits until its nodes are Ready. Give `remove` to the test's `after`; an
 * interrupted run removes it, too. Throws, with nothing left behind, when the cluster does not come up.
 */
export async function createTestCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const name = `test-${randomBytes(4).toString("hex")}`;
  const directory = mkdtempSync(join(tmpdir(), `k3ts-${name}-`));
  const kubeconfig = join(directory, "kubeconfig.yaml");
  left.set(name, () => removeNow(name, directory));
  watchForEnd();
  const docker = await connectDocker();
  const kind = options.servers || options.database ? options : clusterKindOf(process.env);
  const network = networkName(name);
  let database: TestDatabase | undefined;
  const remove = async () => {
    // A busy engine may not see a container end that it kills, and lets go of its network and its files late.
    await eventually(() => removeCluster(docker, name), 60_000);
    await database?.remove();
    if (kind.database) await eventually(() => removeNetwork(network), 60_000);
    rmSync(directory, { recursive: true, force: true });
    left.delete(name);
  };
  try {
    if (kind.database) {
      await run("docker", ["network", "create", network]);
      database = await startDatabase(kind.database, { network });
    }
    const file = await createCluster(docker, {
      name,
      servers: kind.servers ?? 1,
      agents: options.agents ?? 0,
      serverImage,
      agentImage,
      loadBalancerImage,
      ...(database ? { datastoreEndpoint: database.networkEndpoint, network } : {}),
      serverArgs: options.serverArgs ?? [],
      agentArgs: options.agentArgs ?? [],
      wait: true,
      timeoutMs: options.timeoutMs ?? 240_000,
      updateKubeconfig: false,
      switchContext: false,
      quiet: true,
    });
    writeFileSync(kubeconfig, printKubeconfig(file), { mode: 0o600 });
    const cluster = await getCluster(docker, name);
    if (options.images?.length) await importImages(docker, cluster, options.images);
    // Pods are not admitted before it is there, and nodes may be Ready first.
    await eventually(() => kubectl(["get", "serviceaccount", "default"], { kubeconfig }), 60_000);
    const named = (role: Role) => cluster.nodes.filter((node) => node.role === role).map((node) => node.name);
    return {
      name,
      nodes: cluster.nodes.map((node) => node.name),
      servers: named("server"),
      agents: named("agent"),
      datastore: datastoreOfNode(cluster.nodes[0]),
      ...(database ? { database } : {}),
      network,
      kubeconfig,
      kubectl: (args, more) => kubectl(args, { ...more, kubeconfig }),
      kubectlJson: (args) => kubectlJson(args, { kubeconfig }),
      helm: (args, more) => helm(args, { ...more, kubeconfig }),
      exec: (node, args, more) =>
        run("docker", ["exec", ...(more?.input === undefined ? [] : ["-i"]), node, ...args], more),
      remove,
      [Symbol.asyncDispose]: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** What is gone already is no error. */
async function removeNetwork(network: string): Promise<void> {
  const { code, stderr } = await tryRun("docker", ["network", "rm", network]);
  if (code !== 0 && !/not found/.test(stderr)) throw new Error(`docker network rm ${network}: ${stderr}`);
}

/** Without promises: the process is ending. */
function removeNow(name: string, directory: string): void {
  const label = `label=k3ts.cluster=${name}`;
  const containers = spawnSync("docker", ["ps", "-aq", "--filter", label], { encoding: "utf8" })
    .stdout?.split("\n")
    .filter(Boolean);
  if (containers?.length) spawnSync("docker", ["rm", "-fv", ...containers]);
  spawnSync("docker", ["network", "rm", networkName(name)]);
  rmSync(directory, { recursive: true, force: true });
}

function watchForEnd(): void {
  if (watching) return;
  watching = true;
  process.once("exit", () => {
    for (const removeLeft of left.values()) removeLeft();
  });
  // Each time: a runner and a terminal both tell, and a second signal without a listener would end the clearing up.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));
}
