import { createReadStream, existsSync } from "node:fs";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import type Docker from "dockerode";
import { type Clock, ioClock } from "../machinery/clock.ts";
import type { Cluster } from "./inventory.ts";
import { runSteps } from "./progress.ts";

/** How long to wait before the engine is asked again for the end of a program. */
const askAgainMs = 50;

/**
 * Brings images of this machine's engine, or archives in files, into every node of a cluster, side by side.
 * @param sources image names, or paths of archives as `docker save` writes them
 * @throws when an image is neither a file nor known to the engine
 */
export async function importImages(
  docker: Docker,
  cluster: Cluster,
  sources: readonly string[],
  clock: Clock = ioClock,
): Promise<void> {
  const files = sources.filter((source) => existsSync(source));
  const images = sources.filter((source) => !existsSync(source));
  for (const image of images) {
    await docker
      .getImage(image)
      .inspect()
      .catch(() => {
        throw new Error(`"${image}" is neither a file nor an image of this Docker Engine; pull or build it first`);
      });
  }
  const running = cluster.nodes.filter(({ state }) => state === "running");
  if (running.length === 0)
    throw new Error(`cluster "${cluster.name}" is stopped; start it with \`k3ts cluster start ${cluster.name}\``);
  await runSteps(
    running.map((node) => ({
      title: `Import into ${node.name}`,
      run: async () => {
        for (const file of files) await importInto(docker, node.name, createReadStream(file), clock);
        if (images.length > 0) await importInto(docker, node.name, await saveImages(docker, images), clock);
      },
    })),
    { parallel: true },
  );
}

/** The engine's archive of several images in one. The library's types do not know its method. */
function saveImages(docker: Docker, names: readonly string[]): Promise<NodeJS.ReadableStream> {
  return (
    docker as Docker & { getImages(options: { names: readonly string[] }): Promise<NodeJS.ReadableStream> }
  ).getImages({ names });
}

async function importInto(docker: Docker, node: string, archive: NodeJS.ReadableStream, clock: Clock): Promise<void> {
  const exec = await docker.getContainer(node).exec({
    Cmd: ["ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "-"],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
  });
  const stream = await exec.start({ hijack: true, stdin: true });
  const output = new PassThrough();
  const text: Buffer[] = [];
  output.on("data", (chunk: Buffer) => text.push(chunk));
  docker.modem.demuxStream(stream, output, output);
  const ended = new Promise<void>((resolve) => stream.once("end", resolve));
  await pipeline(archive, stream, { end: true });
  await ended;
  stream.destroy();
  if ((await exitCodeOf(exec, clock)) !== 0) {
    throw new Error(
      `importing into ${node} failed: ${Buffer.concat(text).toString("utf8").trim().split("\n").at(-1) ?? ""}`,
    );
  }
}

/** The end of a program's output may come before the engine knows of the program's own end. */
async function exitCodeOf(exec: Docker.Exec, clock: Clock): Promise<number> {
  for (;;) {
    const { ExitCode } = await exec.inspect();
    if (ExitCode !== null) return ExitCode;
    await clock.sleep(askAgainMs);
  }
}
