import type { Cri } from "../containerd/cri.ts";
import type { ContainerStatus, PodSandboxStatus } from "../containerd/cri-messages.ts";
import type { RuntimeAmounts } from "./container-resources.ts";
import { runtimeAnnotations, runtimeLabels } from "./runtime-config.ts";

export interface ObservedContainer {
  readonly id: string;
  readonly name: string;
  readonly sandboxId: string;
  /** How many containers of this name came before it. */
  readonly attempt: number;
  readonly state: "created" | "running" | "exited" | "unknown";
  /** Milliseconds since the epoch; 0: not yet. */
  readonly createdAtMs: number;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly image: string;
  readonly imageId: string;
  readonly hash: string;
  readonly logPath: string;
  /** What the container may use; undefined when the runtime does not say. */
  readonly resources?: RuntimeAmounts | undefined;
}

export interface ObservedSandbox {
  readonly id: string;
  readonly ready: boolean;
  readonly attempt: number;
  readonly createdAtMs: number;
  readonly ips: readonly string[];
}

/** What the runtime has of a pod; the newest come first. */
export interface ObservedPod {
  readonly sandboxes: readonly ObservedSandbox[];
  readonly containers: readonly ObservedContainer[];
}

export const nothingObserved: ObservedPod = { sandboxes: [], containers: [] };

const states = {
  CONTAINER_CREATED: "created",
  CONTAINER_RUNNING: "running",
  CONTAINER_EXITED: "exited",
  CONTAINER_UNKNOWN: "unknown",
} as const;

const msOf = (nanoseconds: number): number => (nanoseconds > 0 ? Math.floor(nanoseconds / 1e6) : 0);

function amountsOf({ resources }: ContainerStatus): RuntimeAmounts | undefined {
  const linux = resources?.linux;
  if (!linux) return undefined;
  const { cpuShares, cpuQuota, cpuPeriod, memoryLimitInBytes } = linux;
  return { cpuShares, cpuQuota, cpuPeriod, memoryLimitInBytes };
}

function observeContainer(status: ContainerStatus, sandboxId: string): ObservedContainer {
  return {
    id: status.id,
    name: status.labels[runtimeLabels.containerName] ?? status.metadata?.name ?? "",
    sandboxId,
    attempt: Number(status.annotations[runtimeAnnotations.restartCount] ?? status.metadata?.attempt ?? 0),
    state: states[status.state as keyof typeof states] ?? "unknown",
    createdAtMs: msOf(status.createdAt),
    startedAtMs: msOf(status.startedAt),
    finishedAtMs: msOf(status.finishedAt),
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    image: status.image?.image ?? "",
    imageId: status.imageRef || status.imageId,
    hash: status.annotations[runtimeAnnotations.hash] ?? "",
    logPath: status.logPath,
    resources: amountsOf(status),
  };
}

function observeSandbox(status: PodSandboxStatus): ObservedSandbox {
  const first = status.network?.ip;
  return {
    id: status.id,
    ready: status.state === "SANDBOX_READY",
    attempt: status.metadata?.attempt ?? 0,
    createdAtMs: msOf(status.createdAt),
    ips: first ? [first, ...(status.network?.additionalIps ?? []).map(({ ip }) => ip)] : [],
  };
}

/** Asks the runtime what it has of a pod. Things that vanish while it asks are left out. */
export async function observePod(cri: Cri, uid: string): Promise<ObservedPod> {
  const selector = { [runtimeLabels.podUid]: uid };
  const [sandboxList, containerList] = await Promise.all([
    cri.listPodSandboxes(selector),
    cri.listContainers(selector),
  ]);
  const present = async <T>(call: Promise<T>): Promise<T | undefined> => {
    try {
      return await call;
    } catch (error) {
      if ((error as { code?: string }).code === "NOT_FOUND") return undefined;
      throw error;
    }
  };
  const [sandboxes, containers] = await Promise.all([
    Promise.all(
      sandboxList.map(async ({ id }) => {
        const status = (await present(cri.podSandboxStatus(id)))?.status;
        return status && observeSandbox(status);
      }),
    ),
    Promise.all(
      containerList.map(async ({ id, podSandboxId }) => {
        const status = await present(cri.containerStatus(id));
        return status && observeContainer(status, podSandboxId);
      }),
    ),
  ]);
  return {
    sandboxes: sandboxes
      .filter((item) => item !== undefined)
      .sort((a, b) => b.createdAtMs - a.createdAtMs || b.attempt - a.attempt),
    containers: containers
      .filter((item) => item !== undefined)
      .sort((a, b) => b.createdAtMs - a.createdAtMs || b.attempt - a.attempt),
  };
}

/** The newest container of a name. */
export function latestContainer(observed: ObservedPod, name: string): ObservedContainer | undefined {
  return observed.containers.find((container) => container.name === name);
}
