import { Command } from "commander";
import type Docker from "dockerode";
import { loadBalancerRole, type Role } from "../cluster/cluster-names.ts";
import { connectDocker } from "../cluster/docker.ts";
import { datastoreOfNode, getCluster, listClusters, serversOf } from "../cluster/inventory.ts";
import { runSteps } from "../cluster/progress.ts";
import { quorumNote } from "../cluster/quorum.ts";
import { parseDuration } from "../machinery/duration.ts";
import { count } from "./cluster.ts";
import { agentImage } from "./images.ts";
import { interruptible } from "./interruptible.ts";
import { formatTable } from "./print-table.ts";

const collect = (value: string, list: string[]) => [...list, value];

interface CreateFlags {
  cluster: string;
  role: string;
  replicas: string;
  image?: string;
  agentArg: string[];
  serverArg: string[];
  timeout: string;
}

/** `k3ts node`: nodes of clusters of containers. */
export async function node(args: readonly string[]): Promise<number> {
  const program = new Command("k3ts node").description("Nodes of clusters of containers").exitOverride();
  program
    .command("create")
    .description("Add nodes to a cluster that runs")
    .argument("[name]", "name of the node (default: the next free one)")
    .option("-c, --cluster <name>", "the cluster", "dev")
    .option("--role <role>", "agent or server", "agent")
    .option("--replicas <count>", "how many", "1")
    .option("-i, --image <image>", `image of the node (default: ${agentImage}, or that of the cluster's servers)`)
    .option("--agent-arg <flag>", "flag of `k3ts agent`; may be repeated", collect, [])
    .option("--server-arg <flag>", "flag of `k3ts server`, beside the other servers'; may be repeated", collect, [])
    .option("--timeout <duration>", "how long to wait", "2m")
    .action(async (name: string | undefined, flags: CreateFlags) => {
      const { addNodes } = await import("../cluster/add-nodes.ts");
      const role = roleFrom(flags);
      const image = flags.image ?? (role === "agent" ? agentImage : undefined);
      const docker = await connectDocker();
      const replicas = count("replicas", flags.replicas);
      const names = Array.from({ length: replicas }, (_, index) =>
        name === undefined ? "" : replicas === 1 ? name : `${name}-${index}`,
      );
      const options = {
        cluster: flags.cluster,
        role,
        names,
        ...(image === undefined ? {} : { image }),
        args: role === "agent" ? flags.agentArg : flags.serverArg,
        timeoutMs: parseDuration(flags.timeout),
      };
      const title = `Add ${replicas} ${role}${replicas === 1 ? "" : "s"} to cluster ${flags.cluster}`;
      await interruptible((signal) =>
        runSteps([{ title, run: () => addNodes(docker, { ...options, signal }) }], { signal }),
      );
      if (role === "server") await noteQuorum(docker, flags.cluster);
    });
  program
    .command("list")
    .alias("ls")
    .description("List nodes")
    .action(async () => {
      const clusters = await listClusters(await connectDocker());
      const rows = clusters.flatMap(({ name, nodes, loadBalancer }) => [
        ...nodes.map((each) => [each.name, each.role, name, each.state]),
        ...(loadBalancer ? [[loadBalancer.name, loadBalancerRole, name, loadBalancer.state]] : []),
      ]);
      process.stdout.write(formatTable(["NAME", "ROLE", "CLUSTER", "STATUS"], rows));
    });
  program
    .command("delete")
    .alias("rm")
    .description("Delete nodes; their pods are made anew elsewhere")
    .argument("<names...>", "names of nodes")
    .option("--force", "also a server without which embedded etcd has no quorum", false)
    .action(async (names: string[], flags: { force: boolean }) => {
      const { deleteNode } = await import("../cluster/delete-node.ts");
      const docker = await connectDocker();
      for (const name of names) {
        const found = (await listClusters(docker)).flatMap(({ nodes }) => nodes).find((each) => each.name === name);
        if (!found) throw new Error(`no node "${name}" found; see k3ts node list`);
        await deleteNode(docker, found, flags);
        if (found.role === "server") await noteQuorum(docker, found.cluster);
      }
    });
  await program.parseAsync([...args], { from: "user" });
  return 0;
}

function roleFrom({ role, agentArg, serverArg }: CreateFlags): Role {
  if (role !== "agent" && role !== "server") throw new Error(`invalid value "${role}" for --role: use agent or server`);
  const [foreign] = role === "agent" ? serverArg : agentArg;
  if (foreign === undefined) return role;
  throw new Error(`"${foreign}" is for ${role === "agent" ? "servers" : "agents"}, and --role is ${role}`);
}

/** Says so when a number of servers is no good one. */
async function noteQuorum(docker: Docker, name: string): Promise<void> {
  const servers = serversOf(await getCluster(docker, name));
  const note = quorumNote(servers.length, datastoreOfNode(servers[0]));
  if (note) process.stderr.write(`Note: ${note}.\n`);
}
