import { Readable } from "node:stream";
import type Docker from "dockerode";
import { pack } from "tar-stream";
import type { Clock } from "../machinery/clock.ts";
import type { FoundingFile } from "../server/etcd/founding-files.ts";
import { type NodeSpec, nameOf } from "./node-spec.ts";

/** Where a server's image keeps its data: a volume. */
const dataDirectory = "/var/lib/rancher/k3s";

/**
 * The servers of a cluster that is to be made which found it together: all with embedded etcd, when there are several.
 * None where somebody else says what is in their data directories, or their addresses are not known beforehand; they join
 * the first one then, one after the other.
 */
export function foundersOf(nodes: readonly NodeSpec[]): { nodeName: string; address: string }[] {
  const servers = nodes.filter(({ role }) => role === "server");
  const founders = servers.flatMap((server) =>
    server.datastore === "etcd" && server.address && hasOwnData(server)
      ? [{ nodeName: nameOf(server), address: server.address }]
      : [],
  );
  return founders.length === servers.length && founders.length > 1 ? founders : [];
}

/** Whether a server begins with an empty data directory where its image has it. */
function hasOwnData({ volumes = [], args = [], environment = [] }: NodeSpec): boolean {
  const targets = volumes.map((volume) => volume.split(":")[1] ?? volume);
  return (
    !targets.some((target) => filled.some((directory) => isWithin(directory, target) || isWithin(target, directory))) &&
    ![...args, ...environment].some((text) => /^(--data-dir|-d|K3S_DATA_DIR)(=|$)/.test(text))
  );
}

/** Where the files of founders lie. */
const filled = ["db", "tls"].map((name) => `${dataDirectory}/server/${name}`);

function isWithin(path: string, directory: string): boolean {
  return `${path}/`.startsWith(`${directory.replace(/\/+$/, "")}/`);
}

/** What the founders among the nodes have to find at their first start, by their containers' names. */
export async function foundingFilesOf(
  nodes: readonly NodeSpec[],
  clock: Clock,
): Promise<ReadonlyMap<string, readonly FoundingFile[]>> {
  const founders = foundersOf(nodes);
  if (founders.length === 0) return new Map();
  const { foundingFiles } = await import("../server/etcd/founding-files.ts");
  const files = await foundingFiles(founders, clock);
  return new Map(founders.map(({ nodeName }, index) => [nodeName, files[index]!]));
}

/** Puts files into the data directory of a server that has not been started. */
export async function giveFoundingFiles(
  docker: Docker,
  container: string,
  files: readonly FoundingFile[] = [],
): Promise<void> {
  if (files.length === 0) return;
  const archive = pack();
  const directories = new Set(files.flatMap(({ path }) => parentsOf(path)));
  for (const name of directories) archive.entry({ name, type: "directory", mode: 0o700 });
  for (const { path, text } of files) archive.entry({ name: `server/${path}`, mode: 0o600 }, text);
  archive.finalize();
  await docker.getContainer(container).putArchive(Readable.from(archive), { path: dataDirectory });
}

/** The directories on the way to a file below the server's, outermost first. */
function parentsOf(path: string): string[] {
  const parts = ["server", ...path.split("/").slice(0, -1)];
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}
