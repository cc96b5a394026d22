import { Command } from "commander";
import { datastoreOf } from "../cluster/datastore-kind.ts";
import { connectDocker } from "../cluster/docker.ts";
import { getCluster, listClusters } from "../cluster/inventory.ts";
import { quorumNote } from "../cluster/quorum.ts";
import { parseDuration } from "../machinery/duration.ts";
import { parseQuantity } from "../machinery/quantity.ts";
import { agentImage, loadBalancerImage, serverImage } from "./images.ts";
import { interruptible } from "./interruptible.ts";
import { formatTable } from "./print-table.ts";

const collect = (value: string, list: string[]) => [...list, value];

interface CreateFlags {
  servers: string;
  agents: string;
  image: string;
  agentImage: string;
  lb?: boolean;
  clusterInit?: true;
  datastoreEndpoint?: string;
  network?: string;
  apiPort?: string;
  token?: string;
  env: string[];
  volume: string[];
  port: string[];
  serverArg: string[];
  agentArg: string[];
  serversMemory?: string;
  agentsMemory?: string;
  wait: boolean;
  timeout: string;
  kubeconfigUpdateDefault: boolean;
  kubeconfigSwitchContext: boolean;
}

/** `k3ts cluster`: clusters whose nodes are containers side by side on one Docker Engine. */
export async function cluster(args: readonly string[]): Promise<number> {
  const program = new Command("k3ts cluster").description("Clusters of containers on one Docker Engine").exitOverride();
  program
    .command("create")
    .description("Create a cluster and wait until it is ready")
    .argument("[name]", "name of the cluster", "dev")
    .option("-s, --servers <count>", "number of servers; several have embedded etcd and a load balancer", "1")
    .option("-a, --agents <count>", "number of agents", "0")
    .option("-i, --image <image>", "image of servers", serverImage)
    .option("--agent-image <image>", "image of agents", agentImage)
    .option("--cluster-init", "embedded etcd also for one server, so that more can be added")
    .option("--datastore-endpoint <endpoint>", "database that the servers share instead of embedded etcd")
    .option("--lb", "a load balancer in front of one server, too")
    .option("--no-lb", "no load balancer: the API is that of the first server")
    .option("--network <name>", "join a network that is there (default: one of the cluster's own)")
    .option("--api-port <[address:]port>", "where the API is published (default: a free port on 127.0.0.1)")
    .option("--token <token>", "join token (default: a random one)")
    .option("-e, --env <name=value>", "environment of every node; may be repeated", collect, [])
    .option("-v, --volume <host:container>", "volume of every node; may be repeated", collect, [])
    .option(
      "-p, --port <host:container[@node]>",
      "publish a port of the servers, or of one node (@server:0, @agent:1); may be repeated",
      collect,
      [],
    )
    .option("--server-arg <flag>", "flag of `k3ts server`; may be repeated", collect, [])
    .option("--agent-arg <flag>", "flag of `k3ts agent`; may be repeated", collect, [])
    .option("--servers-memory <quantity>", "memory limit of each server, such as 1Gi")
    .option("--agents-memory <quantity>", "memory limit of each agent")
    .option("--no-wait", "return before the nodes are Ready")
    .option("--timeout <duration>", "how long to wait", "3m")
    .option("--no-kubeconfig-update-default", "leave the kubeconfig alone")
    .option("--no-kubeconfig-switch-context", "keep the current context")
    .action(async (name: string, flags: CreateFlags) => {
      const { createCluster } = await import("../cluster/create-cluster.ts");
      const docker = await connectDocker();
      const memory = (text: string | undefined) => (text === undefined ? undefined : parseQuantity(text).toUnits());
      const server = memory(flags.serversMemory);
      const agent = memory(flags.agentsMemory);
      const datastore = {
        servers: count("servers", flags.servers),
        ...(flags.clusterInit === undefined ? {} : { clusterInit: flags.clusterInit }),
        ...(flags.datastoreEndpoint === undefined ? {} : { datastoreEndpoint: flags.datastoreEndpoint }),
        environment: flags.env,
        serverArgs: flags.serverArg,
      };
      const kind = datastoreOf(datastore);
      const note = quorumNote(datastore.servers, kind);
      if (note) process.stderr.write(`Note: ${note}.\n`);
      if (kind === "etcd" && datastore.servers > 1 && flags.network !== undefined) {
        process.stderr.write(
          "Note: in a network of others' making servers have no fixed addresses; " +
            "embedded etcd does not come back when all of them stop and get other ones.\n",
        );
      }
      const options = {
        ...datastore,
        name,
        agents: count("agents", flags.agents),
        serverImage: flags.image,
        agentImage: flags.agentImage,
        loadBalancerImage,
        ...(flags.lb === undefined ? {} : { loadBalancer: flags.lb }),
        ...(flags.network === undefined ? {} : { network: flags.network }),
        ...(flags.apiPort === undefined ? {} : { apiPort: flags.apiPort }),
        ...(flags.token === undefined ? {} : { token: flags.token }),
        volumes: flags.volume,
        ports: flags.port,
        agentArgs: flags.agentArg,
        memoryBytes: { ...(server === undefined ? {} : { server }), ...(agent === undefined ? {} : { agent }) },
        wait: flags.wait,
        timeoutMs: parseDuration(flags.timeout),
        updateKubeconfig: flags.kubeconfigUpdateDefault,
        switchContext: flags.kubeconfigSwitchContext,
      };
      await interruptible((signal) => createCluster(docker, { ...options, signal }));
      process.stdout.write(`\nCluster "${name}" is ready. Try:\n\n  k3ts kubectl get nodes\n`);
    });
  program
    .command("list")
    .alias("ls")
    .description("List clusters")
    .option("-o, --output <format>", "table or json", "table")
    .action(async (flags: { output: string }) => {
      const clusters = await listClusters(await connectDocker());
      if (flags.output === "json") {
        const shown = clusters.map(({ name, nodes, loadBalancer }) => ({
          name,
          nodes: nodes.map(({ name, role, state, image }) => ({ name, role, state, image })),
          ...(loadBalancer
            ? { loadBalancer: { name: loadBalancer.name, state: loadBalancer.state, image: loadBalancer.image } }
            : {}),
        }));
        process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
        return;
      }
      const rows = clusters.map(({ name, nodes, loadBalancer }) => {
        const of = (role: string) => nodes.filter((node) => node.role === role);
        const running = (role: string) =>
          `${of(role).filter(({ state }) => state === "running").length}/${of(role).length}`;
        return [name, running("server"), running("agent"), String(loadBalancer !== undefined)];
      });
      process.stdout.write(formatTable(["NAME", "SERVERS", "AGENTS", "LOADBALANCER"], rows));
    });
  program
    .command("start")
    .description("Start a stopped cluster")
    .argument("[name]", "name of the cluster", "dev")
    .option("--no-wait", "return before the nodes are Ready")
    .option("--timeout <duration>", "how long to wait", "3m")
    .action(async (name: string, flags: { wait: boolean; timeout: string }) => {
      const { startCluster } = await import("../cluster/lifecycle.ts");
      const docker = await connectDocker();
      const found = await getCluster(docker, name);
      const options = { wait: flags.wait, timeoutMs: parseDuration(flags.timeout) };
      await interruptible((signal) => startCluster(docker, found, { ...options, signal }));
    });
  program
    .command("stop")
    .description("Stop a cluster, keeping everything in it")
    .argument("[name]", "name of the cluster", "dev")
    .action(async (name: string) => {
      const { stopCluster } = await import("../cluster/lifecycle.ts");
      const docker = await connectDocker();
      await stopCluster(docker, await getCluster(docker, name));
    });
  program
    .command("delete")
    .alias("rm")
    .description("Delete clusters with all that is in them")
    .argument("[names...]", "names of clusters (default: dev)")
    .option("-a, --all", "all clusters", false)
    .action(async (names: string[], flags: { all: boolean }) => {
      const { deleteCluster } = await import("../cluster/lifecycle.ts");
      const docker = await connectDocker();
      const wanted = flags.all
        ? (await listClusters(docker)).map(({ name }) => name)
        : names.length > 0
          ? names
          : ["dev"];
      for (const name of wanted) await deleteCluster(docker, await getCluster(docker, name));
    });
  await program.parseAsync([...args], { from: "user" });
  return 0;
}

/** @throws when the text is not a whole number */
export function count(flag: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`invalid value "${text}" for --${flag}: use a whole number`);
  return Number(text);
}
