import { Command } from "commander";
import { connectDocker } from "../cluster/docker.ts";
import { importImages } from "../cluster/import-images.ts";
import { getCluster } from "../cluster/inventory.ts";

/** `k3ts image`: images of this machine for the nodes of a cluster. */
export async function image(args: readonly string[]): Promise<number> {
  const program = new Command("k3ts image").description("Images in clusters of containers").exitOverride();
  program
    .command("import")
    .description("Import images of the Docker Engine, or archives, into all nodes")
    .argument("<images...>", "image names, or archives as docker save writes them")
    .option("-c, --cluster <name>", "the cluster", "dev")
    .action(async (images: string[], flags: { cluster: string }) => {
      const docker = await connectDocker();
      await importImages(docker, await getCluster(docker, flags.cluster), images);
    });
  await program.parseAsync([...args], { from: "user" });
  return 0;
}
