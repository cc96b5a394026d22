import type Docker from "dockerode";

/** What servers of one cluster have in common. */
export interface ServerTemplate {
  readonly image: string;
  readonly args: readonly string[];
  readonly environment: readonly string[];
  readonly volumes: readonly string[];
  readonly memoryBytes?: number;
}

/** Set for each container anew, or for the first server only. */
const own = /^(K3S_URL|K3S_TOKEN|K3S_CLUSTER_INIT|K3S_NODE_NAME)=/;

/** Reads from a server's container how another of the same cluster is started. */
export async function serverTemplate(docker: Docker, container: string): Promise<ServerTemplate> {
  const { Config, HostConfig, Image } = await docker.getContainer(container).inspect();
  const fromImage = new Set((await docker.getImage(Image).inspect()).Config.Env);
  return {
    image: Config.Image,
    args: Config.Cmd.slice(1).filter((argument) => argument !== "--cluster-init"),
    environment: Config.Env.filter((entry) => !fromImage.has(entry) && !own.test(entry)),
    volumes: HostConfig.Binds ?? [],
    ...(HostConfig.Memory ? { memoryBytes: HostConfig.Memory } : {}),
  };
}
