import type { Readable } from "node:stream";
import type Docker from "dockerode";
import { extract } from "tar-stream";
import { contextName, labels } from "./cluster-names.ts";
import { publishedHost } from "./docker.ts";
import { type Cluster, publisherOf, serversOf } from "./inventory.ts";
import { adaptKubeconfig, type KubeconfigFile } from "./kubeconfig-file.ts";

const pathInNode = "/etc/rancher/k3s/k3s.yaml";

/** The admin's kubeconfig of a cluster, with the address at which this machine reaches its API. */
export async function fetchKubeconfig(docker: Docker, cluster: Cluster): Promise<KubeconfigFile> {
  const url = apiUrl(publisherOf(cluster).labels[labels.apiPort]!);
  return adaptKubeconfig(await readFromServers(docker, cluster), contextName(cluster.name), url);
}

/** Every server has the same; one that is still starting may have none yet. */
async function readFromServers(docker: Docker, cluster: Cluster): Promise<string> {
  let failed: unknown;
  for (const { name } of serversOf(cluster)) {
    try {
      return await readFile(docker, name, pathInNode);
    } catch (error) {
      failed ??= error;
    }
  }
  throw failed ?? new Error(`cluster "${cluster.name}" has no server`);
}

/** "0.0.0.0:6550" is where the engine listens; clients use a real address. */
function apiUrl(published: string): string {
  const port = published.slice(published.lastIndexOf(":") + 1);
  const host = published.slice(0, published.lastIndexOf(":"));
  return `https://${host === "0.0.0.0" || host === "127.0.0.1" ? publishedHost(process.env) : host}:${port}`;
}

/** Reads one file out of a container. */
async function readFile(docker: Docker, container: string, path: string): Promise<string> {
  const archive = (await docker.getContainer(container).getArchive({ path })) as Readable;
  const reader = extract();
  archive.pipe(reader);
  try {
    for await (const entry of reader) {
      const chunks: Buffer[] = [];
      for await (const chunk of entry) chunks.push(chunk as Buffer);
      if (entry.header.type === "file") return Buffer.concat(chunks).toString("utf8");
    }
  } finally {
    // The rest is not read, and a connection that nobody reads would keep this process alive.
    archive.destroy();
  }
  throw new Error(`node ${container} has no file ${path}`);
}
