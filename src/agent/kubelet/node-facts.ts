import { readFile, statfs } from "node:fs/promises";
import { cpus, release } from "node:os";
import type { NodeSystemInfo } from "../../api/generated/core-v1.ts";
import { quantityOf } from "../../machinery/quantity.ts";

const readText = async (path: string): Promise<string> => {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch {
    return "";
  }
};

/** Memory that the node has for everything: the machine's, or the limit of the container that it lives in. */
export async function memoryCapacityBytes(): Promise<number> {
  const meminfo = await readText("/proc/meminfo");
  const total = Number(/^MemTotal:\s+(\d+) kB/m.exec(meminfo)?.[1] ?? 0) * 1024;
  const limits = await Promise.all(
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].map(async (path) =>
      Number(await readText(path)),
    ),
  );
  return Math.min(total, ...limits.filter((limit) => Number.isFinite(limit) && limit > 0));
}

/** Share of the disk that pods may count on; below it images are collected. */
const usableDisk = 0.95;

export interface NodeResources {
  readonly capacity: Record<string, string>;
  readonly allocatable: Record<string, string>;
}

/** What the node has, and what of it pods may ask for. */
export async function nodeResources(rootDir: string, maxPods: number): Promise<NodeResources> {
  const disk = await statfs(rootDir);
  const diskBytes = disk.blocks * disk.bsize;
  const memory = `${Math.floor((await memoryCapacityBytes()) / 1024)}Ki`;
  const common = {
    cpu: String(cpus().length),
    memory,
    "hugepages-1Gi": "0",
    "hugepages-2Mi": "0",
    pods: String(maxPods),
  };
  return {
    capacity: { ...common, "ephemeral-storage": `${Math.floor(diskBytes / 1024)}Ki` },
    allocatable: { ...common, "ephemeral-storage": quantityOf(Math.floor(diskBytes * usableDisk)).toString() },
  };
}

/** Names and versions of what the node runs on. */
export async function nodeInfo(version: string, runtimeVersion: string): Promise<NodeSystemInfo> {
  const osRelease = await readText("/etc/os-release");
  const names: Record<string, string> = { x64: "amd64", ia32: "386" };
  return {
    architecture: names[process.arch] ?? process.arch,
    bootID: await readText("/proc/sys/kernel/random/boot_id"),
    containerRuntimeVersion: `containerd://${runtimeVersion}`,
    kernelVersion: release(),
    kubeProxyVersion: "",
    kubeletVersion: version,
    machineID: await readText("/etc/machine-id"),
    operatingSystem: "linux",
    osImage: /^PRETTY_NAME="?(.*?)"?$/m.exec(osRelease)?.[1] ?? "Linux",
    systemUUID: await readText("/sys/class/dmi/id/product_uuid"),
  };
}
