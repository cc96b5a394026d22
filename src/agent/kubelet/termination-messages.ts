import { open } from "node:fs/promises";
import type { Pod } from "../../api/generated/core-v1.ts";
import type { ContainerFiles } from "./container-files.ts";
import { parseRecord } from "./log-reader.ts";
import type { ObservedPod } from "./observed-pod.ts";
import { allContainers } from "./pod-facts.ts";

const longestMessageBytes = 4096;
const longestTailBytes = 2048;
const longestTailLines = 80;
const newline = Buffer.from("\n");

/** The last words of a pod's containers, read once when each has ended. */
export class TerminationMessages {
  readonly #files: ContainerFiles;
  /** By container id. */
  readonly #messages = new Map<string, string>();

  constructor(files: ContainerFiles) {
    this.#files = files;
  }

  of(id: string): string | undefined {
    return this.#messages.get(id);
  }

  forget(id: string): void {
    this.#messages.delete(id);
  }

  /** Reads what containers that have ended since the last call have left. */
  async read(pod: Pod, observed: ObservedPod): Promise<void> {
    for (const { container } of allContainers(pod)) {
      for (const ended of observed.containers) {
        if (ended.name !== container.name || ended.state !== "exited" || this.#messages.has(ended.id)) continue;
        let text = await readStart(this.#files.messagePath(ended), longestMessageBytes);
        if (text === "" && container.terminationMessagePolicy === "FallbackToLogsOnError" && ended.exitCode !== 0)
          text = await logTail(this.#files.logPath(pod, ended));
        this.#messages.set(ended.id, text || knownMessage(pod, ended.id));
      }
    }
  }
}

/** What the status says already: the file may be gone by now. */
function knownMessage(pod: Pod, id: string): string {
  const all = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  const ends = all.flatMap(({ state, lastState }) => [state?.terminated, lastState?.terminated]);
  return ends.find((end) => end?.containerID === `containerd://${id}`)?.message ?? "";
}

async function readStart(path: string, most: number): Promise<string> {
  try {
    const file = await open(path);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(most), 0, most, 0);
      return buffer.toString("utf8", 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    return "";
  }
}

/** The whole lines of a piece of a file. */
function lines(data: Buffer): Buffer[] {
  const result: Buffer[] = [];
  let start = 0;
  for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, start)) {
    result.push(data.subarray(start, end));
    start = end + 1;
  }
  return result;
}

/** The end of a container's log: at most 2,048 bytes and 80 lines. */
async function logTail(path: string): Promise<string> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      const length = Math.min(size, 16 * 1024);
      const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
      const records = lines(buffer).flatMap((line) => parseRecord(line) ?? []);
      const whole = records.filter(({ partial }) => !partial).length;
      // The file may begin in the middle of a line; of the lines in it the last ones count.
      let skip = Math.max(0, whole - longestTailLines);
      const text = Buffer.concat(
        records.flatMap(({ content, partial }) => {
          if (skip > 0) {
            if (!partial) skip--;
            return [];
          }
          // What a container did not end with a newline has none here either.
          return partial ? [content] : [content, newline];
        }),
      );
      return text.subarray(-longestTailBytes).toString();
    } finally {
      await file.close();
    }
  } catch {
    return "";
  }
}
