import { Command } from "commander";
import { fetchKubeconfig } from "../cluster/cluster-kubeconfig.ts";
import { connectDocker } from "../cluster/docker.ts";
import { getCluster } from "../cluster/inventory.ts";
import {
  defaultKubeconfigPath,
  mergeKubeconfig,
  printKubeconfig,
  readKubeconfigFile,
  writeKubeconfigFile,
} from "../cluster/kubeconfig-file.ts";

/** `k3ts kubeconfig`: credentials of clusters of containers. */
export async function kubeconfig(args: readonly string[]): Promise<number> {
  const program = new Command("k3ts kubeconfig").description("Kubeconfigs of clusters of containers").exitOverride();
  const fetch = async (name: string) => {
    const docker = await connectDocker();
    return fetchKubeconfig(docker, await getCluster(docker, name));
  };
  program
    .command("get")
    .description("Print a cluster's kubeconfig")
    .argument("[name]", "name of the cluster", "dev")
    .action(async (name: string) => {
      process.stdout.write(printKubeconfig(await fetch(name)));
    });
  program
    .command("merge")
    .description("Add a cluster to the kubeconfig that kubectl uses")
    .argument("[name]", "name of the cluster", "dev")
    .option("-o, --output <file>", "merge into this file instead")
    .option("--no-switch-context", "keep the current context")
    .action(async (name: string, flags: { output?: string; switchContext: boolean }) => {
      const path = flags.output ?? defaultKubeconfigPath(process.env);
      writeKubeconfigFile(path, mergeKubeconfig(readKubeconfigFile(path), await fetch(name), flags.switchContext));
      process.stdout.write(`${path}\n`);
    });
  program
    .command("write")
    .description("Write a cluster's kubeconfig to a file of its own")
    .argument("[name]", "name of the cluster", "dev")
    .requiredOption("-o, --output <file>", "the file")
    .action(async (name: string, flags: { output: string }) => {
      writeKubeconfigFile(flags.output, await fetch(name));
      process.stdout.write(`${flags.output}\n`);
    });
  await program.parseAsync([...args], { from: "user" });
  return 0;
}
