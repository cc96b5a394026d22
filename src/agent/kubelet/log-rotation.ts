import { createReadStream, createWriteStream } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { Logger } from "../../machinery/log.ts";
import type { Cri } from "../containerd/cri.ts";
import type { ObservedPod } from "./observed-pod.ts";

const largestBytes = 10 * 1024 * 1024;
const mostFiles = 5;

/** Rotates the logs of running containers that have grown beyond 10 MB; five files are kept, older ones compressed. */
export async function rotateLogs(options: {
  readonly cri: Cri;
  readonly logRoot: string;
  readonly workers: Iterable<{ readonly observed: ObservedPod }>;
  readonly logger: Logger;
}): Promise<void> {
  for (const { observed } of options.workers)
    for (const container of observed.containers) {
      if (container.state !== "running" || !container.logPath) continue;
      const info = await stat(container.logPath).catch(() => undefined);
      if (!info || info.size < largestBytes) continue;
      try {
        await rotate(container.logPath, () => options.cri.reopenContainerLog(container.id));
      } catch (error) {
        options.logger.warn({ path: container.logPath, error: (error as Error).message }, "Log could not be rotated");
      }
    }
}

/** Moves a log away, has the runtime open a new one, and compresses all but the newest of the old ones. */
export async function rotate(path: string, reopen: () => Promise<void>): Promise<void> {
  const base = path.slice(path.lastIndexOf("/") + 1);
  const folder = dirname(path);
  const old = (await readdir(folder)).filter((name) => name.startsWith(`${base}.`)).sort();
  for (const name of old.splice(0, Math.max(0, old.length - (mostFiles - 2)))) await rm(join(folder, name));
  const { mtimeMs } = await stat(path);
  const stamp = new Date(mtimeMs).toISOString().replace(/[-:.TZ]/g, "");
  const moved = `${path}.${stamp}`;
  await rename(path, moved);
  try {
    await reopen();
  } catch (error) {
    await rename(moved, path);
    throw error;
  }
  for (const name of old) {
    if (name.endsWith(".gz")) continue;
    const source = join(folder, name);
    await pipeline(createReadStream(source), createGzip(), createWriteStream(`${source}.gz`));
    await rm(source);
  }
}
