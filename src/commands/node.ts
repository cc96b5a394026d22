import { Command } from "commander";
import { connectDocker } from "../cluster/docker.ts";
import { listClusters, removeNode } from "../cluster/inventory.ts";
import { runSteps } from "../cluster/progress.ts";
import { parseDuration } from "../machinery/duration.ts";
import { count } from "./cluster.ts";
import { agentImage } from "./images.ts";
import { formatTable } from "./print-table.ts";

/** `k3ts node`: nodes of clusters of containers. */
export async function node(args: readonly string[]): Promise<number> {
  const program = new Command("k3ts node").description("Nodes of clusters of containers").exitOverride();
  program
    .command("create")
    .description("Add nodes to a cluster that runs")
    .argument("[name]", "name of the node (default: the next free one)", "")
    .option("-c, --cluster <name>", "the cluster", "dev")
    .option("--role <role>", "agent", "agent")
    .option("--replicas <count>", "how many", "1")
    .option("-i, --image <image>", "image of the node", agentImage)
    .option(
      "--agent-arg <flag>",
      "flag of `k3ts agent`; may be repeated",
      (value: string, list: string[]) => [...list, value],
      [],
    )
    .option("--timeout <duration>", "how long to wait", "2m")
    .action(
      async (
        name: string,
        flags: { cluster: string; role: "agent"; replicas: string; image: string; agentArg: string[]; timeout: string },
      ) => {
        const { addNodes } = await import("../cluster/create-cluster.ts");
        const docker = await connectDocker();
        const replicas = count("replicas", flags.replicas);
        const names = Array.from({ length: replicas }, (_, index) =>
          name === "" ? "" : replicas === 1 ? name : `${name}-${index}`,
        );
        await runSteps([
          {
            title: `Add ${replicas} node${replicas === 1 ? "" : "s"} to cluster ${flags.cluster}`,
            run: () =>
              addNodes(docker, {
                cluster: flags.cluster,
                role: flags.role,
                names,
                image: flags.image,
                args: flags.agentArg,
                timeoutMs: parseDuration(flags.timeout),
              }),
          },
        ]);
      },
    );
  program
    .command("list")
    .alias("ls")
    .description("List nodes")
    .action(async () => {
      const clusters = await listClusters(await connectDocker());
      const rows = clusters.flatMap(({ name, nodes }) => nodes.map((each) => [each.name, each.role, name, each.state]));
      process.stdout.write(formatTable(["NAME", "ROLE", "CLUSTER", "STATUS"], rows));
    });
  program
    .command("delete")
    .alias("rm")
    .description("Delete agents; their pods are made anew elsewhere")
    .argument("<names...>", "names of nodes")
    .action(async (names: string[]) => {
      const { deleteNodeObject } = await import("../cluster/delete-node.ts");
      const docker = await connectDocker();
      const known = (await listClusters(docker)).flatMap(({ nodes }) => nodes);
      for (const name of names) {
        const found = known.find((each) => each.name === name);
        if (!found) throw new Error(`no node "${name}" found; see k3ts node list`);
        if (found.role === "server")
          throw new Error(
            `"${name}" is its cluster's only server; delete the cluster instead: k3ts cluster delete ${found.cluster}`,
          );
        await removeNode(docker, name);
        await deleteNodeObject(docker, found.cluster, name);
      }
    });
  await program.parseAsync([...args], { from: "user" });
  return 0;
}
