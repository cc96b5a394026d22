import { readFile, statfs } from "node:fs/promises";
import type { Cri } from "../containerd/cri.ts";
import type { ContainerStats } from "../containerd/cri-messages.ts";
import type { PodWorker } from "./pod-worker.ts";
import { runtimeLabels } from "./runtime-config.ts";

type Workers = ReadonlyMap<string, PodWorker>;

interface Usage {
  readonly name: string;
  readonly cpuNanoSeconds: number;
  readonly cpuNanoCores: number;
  readonly workingSetBytes: number;
  readonly usageBytes: number;
  readonly rssBytes: number;
  readonly pageFaults: number;
  readonly majorPageFaults: number;
  readonly timestampMs: number;
  readonly diskBytes: number;
  readonly startedAtMs: number;
}

async function usageByPod(cri: Cri, workers: Workers): Promise<Map<PodWorker, Usage[]>> {
  const result = new Map<PodWorker, Usage[]>();
  for (const stats of await cri.listContainerStats()) {
    const worker = workers.get(stats.attributes?.labels[runtimeLabels.podUid] ?? "");
    if (!worker || !stats.cpu?.timestamp) continue;
    const observed = worker.observed.containers.find(({ id }) => id === stats.attributes?.id);
    result.set(worker, [...(result.get(worker) ?? []), usageOf(stats, observed?.startedAtMs ?? 0)]);
  }
  return result;
}

function usageOf({ attributes, cpu, memory, writableLayer }: ContainerStats, startedAtMs: number): Usage {
  return {
    name: attributes?.labels[runtimeLabels.containerName] ?? "",
    cpuNanoSeconds: cpu?.usageCoreNanoSeconds?.value ?? 0,
    cpuNanoCores: cpu?.usageNanoCores?.value ?? 0,
    workingSetBytes: memory?.workingSetBytes?.value ?? 0,
    usageBytes: memory?.usageBytes?.value ?? 0,
    rssBytes: memory?.rssBytes?.value ?? 0,
    pageFaults: memory?.pageFaults?.value ?? 0,
    majorPageFaults: memory?.majorPageFaults?.value ?? 0,
    timestampMs: Math.floor((cpu?.timestamp ?? 0) / 1e6),
    diskBytes: writableLayer?.usedBytes?.value ?? 0,
    startedAtMs,
  };
}

interface NodeUsage {
  readonly cpuNanoSeconds: number;
  readonly workingSetBytes: number;
  readonly availableBytes: number;
}

/** Clock ticks a second in /proc/stat, on every Linux that runs Node. */
const ticksPerSecond = 100;

async function nodeUsage(): Promise<NodeUsage> {
  const [stat, meminfo] = await Promise.all([readFile("/proc/stat", "utf8"), readFile("/proc/meminfo", "utf8")]);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = stat
    .split("\n")[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const kilobytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(meminfo)?.[1] ?? 0);
  const availableBytes = kilobytes("MemAvailable") * 1024;
  return {
    cpuNanoSeconds: ((user + nice + system + irq + softirq) / ticksPerSecond) * 1e9,
    workingSetBytes: kilobytes("MemTotal") * 1024 - availableBytes,
    availableBytes,
  };
}

const iso = (ms: number): string => new Date(ms).toISOString();

const cpuStats = (usage: Usage) => ({
  time: iso(usage.timestampMs),
  usageNanoCores: usage.cpuNanoCores,
  usageCoreNanoSeconds: usage.cpuNanoSeconds,
});

const memoryStats = (usage: Usage) => ({
  time: iso(usage.timestampMs),
  usageBytes: usage.usageBytes,
  workingSetBytes: usage.workingSetBytes,
  rssBytes: usage.rssBytes,
  pageFaults: usage.pageFaults,
  majorPageFaults: usage.majorPageFaults,
});

/** The kubelet's /stats/summary: CPU and memory of the node, its pods and their containers. */
export async function statsSummary(cri: Cri, workers: Workers, nodeName: string, nowMs: number): Promise<object> {
  const [byPod, node, disk] = await Promise.all([usageByPod(cri, workers), nodeUsage(), statfs("/")]);
  const time = iso(nowMs);
  return {
    node: {
      nodeName,
      cpu: { time, usageCoreNanoSeconds: node.cpuNanoSeconds },
      memory: { time, availableBytes: node.availableBytes, workingSetBytes: node.workingSetBytes },
      fs: {
        time,
        availableBytes: disk.bavail * disk.bsize,
        capacityBytes: disk.blocks * disk.bsize,
        usedBytes: (disk.blocks - disk.bfree) * disk.bsize,
        inodesFree: disk.ffree,
        inodes: disk.files,
      },
    },
    pods: [...byPod].map(([worker, containers]) => {
      const { name, namespace, uid } = worker.pod.metadata;
      const sum = (key: keyof Usage) => containers.reduce((total, usage) => total + (usage[key] as number), 0);
      return {
        podRef: { name, namespace, uid },
        startTime: worker.pod.status?.startTime,
        containers: containers.map((usage) => ({
          name: usage.name,
          startTime: iso(usage.startedAtMs),
          cpu: cpuStats(usage),
          memory: memoryStats(usage),
          rootfs: { time: iso(usage.timestampMs), usedBytes: usage.diskBytes },
        })),
        cpu: { time, usageNanoCores: sum("cpuNanoCores"), usageCoreNanoSeconds: sum("cpuNanoSeconds") },
        memory: {
          time,
          usageBytes: sum("usageBytes"),
          workingSetBytes: sum("workingSetBytes"),
          rssBytes: sum("rssBytes"),
        },
      };
    }),
  };
}

const label = (value: string): string =>
  value.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));

function family(name: string, type: string, help: string, rows: readonly string[]): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${rows.map((row) => `${name}${row}\n`).join("")}`;
}

/** /metrics/resource: what metrics-server reads. */
export async function renderResourceMetrics(cri: Cri, workers: Workers, nowMs: number): Promise<string> {
  const [byPod, node] = await Promise.all([usageByPod(cri, workers), nodeUsage()]);
  const rows = [...byPod].flatMap(([worker, containers]) =>
    containers.map((usage) => ({
      usage,
      labels: `{container="${label(usage.name)}",namespace="${label(worker.pod.metadata.namespace ?? "")}",pod="${label(worker.pod.metadata.name ?? "")}"}`,
    })),
  );
  const pods = [...byPod].map(([worker, containers]) => ({
    labels: `{namespace="${label(worker.pod.metadata.namespace ?? "")}",pod="${label(worker.pod.metadata.name ?? "")}"}`,
    cpu: containers.reduce((sum, usage) => sum + usage.cpuNanoSeconds, 0) / 1e9,
    memory: containers.reduce((sum, usage) => sum + usage.workingSetBytes, 0),
  }));
  return [
    family(
      "container_cpu_usage_seconds_total",
      "counter",
      "Cumulative cpu time consumed by the container in core-seconds",
      rows.map(({ usage, labels }) => `${labels} ${usage.cpuNanoSeconds / 1e9} ${usage.timestampMs}`),
    ),
    family(
      "container_memory_working_set_bytes",
      "gauge",
      "Current working set of the container in bytes",
      rows.map(({ usage, labels }) => `${labels} ${usage.workingSetBytes} ${usage.timestampMs}`),
    ),
    family(
      "container_start_time_seconds",
      "gauge",
      "Start time of the container since unix epoch in seconds",
      rows.map(({ usage, labels }) => `${labels} ${usage.startedAtMs / 1000}`),
    ),
    family("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds", [
      ` ${node.cpuNanoSeconds / 1e9} ${nowMs}`,
    ]),
    family("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes", [
      ` ${node.workingSetBytes} ${nowMs}`,
    ]),
    family(
      "pod_cpu_usage_seconds_total",
      "counter",
      "Cumulative cpu time consumed by the pod in core-seconds",
      pods.map(({ labels, cpu }) => `${labels} ${cpu} ${nowMs}`),
    ),
    family(
      "pod_memory_working_set_bytes",
      "gauge",
      "Current working set of the pod in bytes",
      pods.map(({ labels, memory }) => `${labels} ${memory} ${nowMs}`),
    ),
    family("scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise", [" 0"]),
  ].join("");
}

/** /metrics (counts of pods and containers) and /metrics/cadvisor (CPU and memory a container). */
export async function renderMetrics(cri: Cri, workers: Workers, containers: boolean): Promise<string> {
  if (!containers) {
    const all = [...workers.values()];
    const running = all
      .flatMap(({ observed }) => observed.containers)
      .filter(({ state }) => state === "running").length;
    const sandboxes = all.filter(({ observed }) => observed.sandboxes[0]?.ready).length;
    const memory = process.memoryUsage();
    return [
      family("kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox", [` ${sandboxes}`]),
      family("kubelet_running_containers", "gauge", "Number of containers currently running", [
        `{container_state="running"} ${running}`,
      ]),
      family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", [` ${memory.rss}`]),
    ].join("");
  }
  const rows = [...(await usageByPod(cri, workers))].flatMap(([worker, usages]) =>
    usages.map((usage) => ({
      usage,
      labels: `{container="${label(usage.name)}",namespace="${label(worker.pod.metadata.namespace ?? "")}",pod="${label(worker.pod.metadata.name ?? "")}"`,
    })),
  );
  return [
    family(
      "container_cpu_usage_seconds_total",
      "counter",
      "Cumulative cpu time consumed in seconds.",
      rows.map(({ usage, labels }) => `${labels},cpu="total"} ${usage.cpuNanoSeconds / 1e9} ${usage.timestampMs}`),
    ),
    family(
      "container_memory_usage_bytes",
      "gauge",
      "Current memory usage in bytes, including all memory regardless of when it was accessed",
      rows.map(({ usage, labels }) => `${labels}} ${usage.usageBytes} ${usage.timestampMs}`),
    ),
    family(
      "container_memory_working_set_bytes",
      "gauge",
      "Current working set in bytes.",
      rows.map(({ usage, labels }) => `${labels}} ${usage.workingSetBytes} ${usage.timestampMs}`),
    ),
    family(
      "container_memory_rss",
      "gauge",
      "Size of RSS in bytes.",
      rows.map(({ usage, labels }) => `${labels}} ${usage.rssBytes} ${usage.timestampMs}`),
    ),
  ].join("");
}
