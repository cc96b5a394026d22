import type Docker from "dockerode";

/** What a container uses at one moment. */
export interface Usage {
  readonly atMs: number;
  /** As `docker stats` counts: without the page cache that is easily given back. */
  readonly memoryBytes: number;
  readonly cpuNs: number;
}

export async function usageOf(docker: Docker, name: string): Promise<Usage> {
  const stats = await docker.getContainer(name).stats({ stream: false, "one-shot": true });
  const detail = stats.memory_stats.stats as unknown as Record<string, number>;
  const cache = detail["total_inactive_file"] ?? detail["inactive_file"] ?? 0;
  return {
    atMs: Date.parse(stats.read),
    memoryBytes: stats.memory_stats.usage - cache,
    cpuNs: stats.cpu_stats.cpu_usage.total_usage,
  };
}

/** Percent of one processor between two moments. */
export function cpuPercent(before: Usage, after: Usage): number {
  return ((after.cpuNs - before.cpuNs) / ((after.atMs - before.atMs) * 1e6)) * 100;
}
