import { connectDocker } from "../../src/cluster/docker.ts";
import { serverImage } from "../../src/commands/images.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { run } from "../../tools/run.ts";
import { createTestCluster } from "../support/cluster.ts";
import { cpuPercent, usageOf } from "./container-usage.ts";
import type { Figure, Measurement } from "./measurement.ts";
import { freshName, removeContainers } from "./server-container.ts";

const settleMs = 120_000;
const watchMs = 60_000;
const megabyte = 1e6;

interface Process {
  readonly pid: string;
  readonly name: string;
  readonly pssKb: number;
  readonly anonymousKb: number;
  readonly writtenBytes: number;
}

/** One line a process: id, name, proportional and anonymous memory in kB, bytes that it caused to be written. */
const listProcesses = `for p in /proc/[0-9]*; do
  [ "$p" = "/proc/$$" ] || echo "\${p#/proc/} $(tr ' ' _ < $p/comm) $(awk '/^Pss:/ {p=$2} /^Anonymous:/ {a=$2} END {print p+0, a+0}' $p/smaps_rollup) $(awk '/^write_bytes/ {print $2}' $p/io)"
done 2> /dev/null`;

/** A cluster of a server and an agent that does nothing, two minutes after it is Ready. */
export const idle: Measurement = {
  name: "idle",
  async run(say) {
    const docker = await connectDocker();
    const bare = freshName("bare");
    await using cluster = await createTestCluster({ agents: 1 });
    try {
      const wait = "setInterval(() => {}, 1e6)";
      await run("docker", ["run", "-d", "--name", bare, "--entrypoint", "node", serverImage, "-e", wait]);
      say(`idle for ${settleMs / 1000} s`);
      await ioClock.sleep(settleMs);
      const [server, agent] = cluster.nodes as [string, string];
      const containers = [server, agent, bare];
      const before = await Promise.all(containers.map((name) => usageOf(docker, name)));
      const processesBefore = await Promise.all(containers.map(processesOf));
      say(`watching for ${watchMs / 1000} s`);
      await ioClock.sleep(watchMs);
      const processes = await Promise.all(containers.map(processesOf));
      const after = await Promise.all(containers.map((name) => usageOf(docker, name)));

      const memory = after.map(({ memoryBytes }) => memoryBytes / megabyte);
      const cpu = after.map((now, index) => cpuPercent(before[index]!, now));
      const written = processes.map((now, index) => writtenPerSecond(processesBefore[index]!, now) / 1000);
      const nodes = processes.map((all) => nodeProcess(all).anonymousKb / 1000);
      const what = "a bare Node process in a container";
      const figure = (name: string, unit: Figure["unit"], of: readonly number[], index: number, budget: number) => ({
        ...{ what: name, unit, samples: [of[index]!], budget },
        yardstick: { what, samples: [of[2]!] },
      });
      return {
        figures: [
          figure("server container, memory", "MB", memory, 0, 250),
          figure("server container, processor", "%", cpu, 0, 3),
          figure("server container, writes", "kB/s", written, 0, 1),
          figure("agent container, memory", "MB", memory, 1, 130),
          figure("agent container, processor", "%", cpu, 1, 1.5),
          figure("agent container, writes", "kB/s", written, 1, 1),
          figure("agent's Node process, anonymous memory", "MB", nodes, 1, 50),
        ],
        notes: ["Server", "Agent"].flatMap((role, index) => [
          `${role}, by process (proportional, anonymous memory, written in ${watchMs / 1000} s):`,
          ...processes[index]!.map((now) => {
            const then = processesBefore[index]!.find(({ pid }) => pid === now.pid);
            const mb = (kb: number) => `${(kb / 1000).toFixed(1)} MB`;
            const grown = now.writtenBytes - (then?.writtenBytes ?? 0);
            return `- ${now.name}: ${mb(now.pssKb)}, ${mb(now.anonymousKb)}, ${(grown / 1000).toFixed(0)} kB`;
          }),
        ]),
      };
    } finally {
      await removeContainers(bare);
    }
  },
};

async function processesOf(name: string): Promise<Process[]> {
  const text = await run("docker", ["exec", name, "sh", "-c", listProcesses]);
  return text.split("\n").flatMap((line) => {
    const [pid, comm, pss, anonymous, written] = line.split(" ");
    // Helpers of the listing itself are gone by the time they are looked at.
    if (pid === undefined || comm === undefined || written === undefined || written === "") return [];
    return [{ pid, name: comm, pssKb: Number(pss), anonymousKb: Number(anonymous), writtenBytes: Number(written) }];
  });
}

/**
 * By the processes that were there all the time: those that come and go belong to the measurement. The kernel counts whole
 * pages, or larger pieces of its cache, for what a few bytes made dirty: this is more than reaches the disk.
 */
function writtenPerSecond(before: readonly Process[], after: readonly Process[]): number {
  const then = new Map(before.map(({ pid, writtenBytes }) => [pid, writtenBytes]));
  const bytes = after.reduce((sum, { pid, writtenBytes }) => sum + writtenBytes - (then.get(pid) ?? writtenBytes), 0);
  return bytes / (watchMs / 1000);
}

/** The Node process of a node: its main thread has a name of its own. */
function nodeProcess(processes: readonly Process[]): Process {
  const found = processes.find(({ name }) => name === "MainThread" || name === "node");
  if (!found) throw new Error(`no Node process among ${processes.map(({ name }) => name).join(", ")}`);
  return found;
}
