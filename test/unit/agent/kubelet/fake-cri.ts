import type { Cri } from "../../../../src/agent/containerd/cri.ts";
import type {
  ContainerConfig,
  ContainerResources,
  PodSandboxConfig,
} from "../../../../src/agent/containerd/cri-messages.ts";
import type { RuntimeAmounts } from "../../../../src/agent/kubelet/container-resources.ts";
import { runtimeLabels } from "../../../../src/agent/kubelet/runtime-config.ts";
import type { Clock } from "../../../../src/machinery/clock.ts";

interface FakeSandbox {
  readonly id: string;
  readonly config: PodSandboxConfig;
  readonly createdAtMs: number;
  ready: boolean;
}

interface FakeContainer {
  readonly id: string;
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  readonly createdAtMs: number;
  resources: RuntimeAmounts;
  state: "CONTAINER_CREATED" | "CONTAINER_RUNNING" | "CONTAINER_EXITED";
  startedAtMs: number;
  finishedAtMs: number;
  exitCode: number;
  reason: string;
}

const notFound = (id: string) => Object.assign(new Error(`${id} not found`), { code: "NOT_FOUND" });
// In the middle of the millisecond: nanoseconds of today do not fit into a number exactly.
const nanoseconds = (ms: number): number => (ms > 0 ? ms * 1e6 + 500_000 : 0);

const noAmounts: RuntimeAmounts = { cpuShares: 0, cpuQuota: 0, cpuPeriod: 0, memoryLimitInBytes: 0 };

/** What of a container's resources this runtime keeps. */
function pick(resources: ContainerResources): Partial<RuntimeAmounts> {
  const kept = Object.entries(resources).filter(
    ([name, value]) => Object.hasOwn(noAmounts, name) && value !== undefined,
  );
  return Object.fromEntries(kept) as Partial<RuntimeAmounts>;
}

/** A runtime in memory: what it was asked to do, in order, and containers that run until a test ends them. */
export class FakeCri {
  readonly calls: string[] = [];
  readonly sandboxes: FakeSandbox[] = [];
  readonly containers: FakeContainer[] = [];
  /** Told after everything that a runtime would send an event for. */
  onEvent: () => void = () => {};
  /** What a command in a container does; by default it succeeds. */
  onExec: (command: readonly string[], signal?: AbortSignal) => Promise<number> | number = () => 0;
  /** Thrown by the next start of a container. */
  failStart: Error | undefined;
  /** Thrown by every change of a container's resources while it is there. */
  failUpdate: Error | undefined;
  /** Bytes that every container uses. */
  memoryUsage = 1024 ** 2;
  readonly #clock: Clock;
  #ids = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get cri(): Cri {
    return this as unknown as Cri;
  }

  /** The newest container of a name. */
  container(name: string): FakeContainer {
    const found = this.containers.findLast(({ config }) => config.metadata?.name === name);
    if (!found) throw new Error(`there is no container "${name}"`);
    return found;
  }

  running(): string[] {
    return this.containers
      .filter(({ state }) => state === "CONTAINER_RUNNING")
      .map(({ config }) => `${config.metadata?.name} ${config.metadata?.attempt}`);
  }

  /** Ends a container. */
  exit(name: string, exitCode: number, reason = ""): void {
    const container = this.container(name);
    Object.assign(container, { state: "CONTAINER_EXITED", finishedAtMs: this.#clock.now(), exitCode, reason });
    this.onEvent();
  }

  /** Takes a sandbox down from outside: its containers are killed at once, it is gone itself after `tookMs`. */
  loseSandbox(sandbox: FakeSandbox, tookMs: number): void {
    for (const { sandboxId, state, config } of this.containers)
      if (sandboxId === sandbox.id && state === "CONTAINER_RUNNING") this.exit(config.metadata?.name ?? "", 137);
    this.#clock.after(tookMs, () => {
      sandbox.ready = false;
      this.onEvent();
    });
  }

  async listPodSandboxes(selector: Record<string, string> = {}) {
    const uid = selector[runtimeLabels.podUid];
    return this.sandboxes.filter(({ config }) => uid === undefined || config.metadata?.uid === uid);
  }

  async listContainers() {
    return this.containers.map(({ id, sandboxId }) => ({ id, podSandboxId: sandboxId }));
  }

  async podSandboxStatus(id: string) {
    const sandbox = this.sandboxes.find((candidate) => candidate.id === id);
    if (!sandbox) throw notFound(id);
    const { ready, config, createdAtMs } = sandbox;
    return {
      status: {
        id,
        state: ready ? "SANDBOX_READY" : "SANDBOX_NOTREADY",
        metadata: config.metadata,
        createdAt: nanoseconds(createdAtMs),
        network: { ip: "10.42.0.9", additionalIps: [] },
      },
    };
  }

  async containerStatus(id: string) {
    const container = this.#find(id);
    const { config, state, exitCode, reason } = container;
    return {
      id,
      metadata: config.metadata,
      state,
      createdAt: nanoseconds(container.createdAtMs),
      startedAt: nanoseconds(container.startedAtMs),
      finishedAt: nanoseconds(container.finishedAtMs),
      exitCode,
      reason,
      message: "",
      image: { image: "busybox:1" },
      imageRef: "sha256:1",
      imageId: "sha256:1",
      labels: config.labels,
      annotations: config.annotations,
      logPath: "",
      resources: { linux: container.resources },
    };
  }

  async runPodSandbox(config: PodSandboxConfig) {
    const id = `sandbox-${++this.#ids}`;
    this.calls.push(`sandbox ${config.metadata?.attempt}`);
    this.sandboxes.push({ id, config, ready: true, createdAtMs: this.#clock.now() + this.#ids });
    return id;
  }

  async stopPodSandbox(id: string) {
    this.calls.push("stop sandbox");
    const sandbox = this.sandboxes.find((candidate) => candidate.id === id);
    if (sandbox) sandbox.ready = false;
  }

  async removePodSandbox(id: string) {
    this.sandboxes.splice(
      this.sandboxes.findIndex((candidate) => candidate.id === id),
      1,
    );
  }

  async createContainer(sandboxId: string, config: ContainerConfig) {
    const id = `${config.metadata?.name}-${++this.#ids}`;
    this.containers.push({
      id,
      sandboxId,
      config,
      createdAtMs: this.#clock.now() + this.#ids,
      resources: { ...noAmounts, ...pick(config.linux?.resources ?? {}) },
      state: "CONTAINER_CREATED",
      startedAtMs: 0,
      finishedAtMs: 0,
      exitCode: 0,
      reason: "",
    });
    return id;
  }

  async startContainer(id: string) {
    const container = this.#find(id);
    const failure = this.failStart;
    this.failStart = undefined;
    if (failure) {
      const finishedAtMs = this.#clock.now();
      Object.assign(container, { state: "CONTAINER_EXITED", finishedAtMs, exitCode: 128, reason: "StartError" });
      throw failure;
    }
    this.calls.push(`start ${container.config.metadata?.name} ${container.config.metadata?.attempt}`);
    Object.assign(container, { state: "CONTAINER_RUNNING", startedAtMs: this.#clock.now() });
    this.onEvent();
  }

  async stopContainer(id: string, timeoutSeconds: number) {
    const container = this.#find(id);
    this.calls.push(`stop ${container.config.metadata?.name} ${timeoutSeconds}s`);
    if (container.state === "CONTAINER_RUNNING") this.exit(container.config.metadata?.name ?? "", 143);
  }

  async updateContainerResources(id: string, resources: ContainerResources) {
    const container = this.#find(id);
    if (this.failUpdate) throw this.failUpdate;
    this.calls.push(`update ${container.config.metadata?.name} ${JSON.stringify(pick(resources))}`);
    Object.assign(container.resources, pick(resources));
  }

  async listContainerStats() {
    return this.containers.map(({ id }) => ({
      attributes: { id },
      memory: { usageBytes: { value: this.memoryUsage } },
    }));
  }

  async removeContainer(id: string) {
    this.containers.splice(
      this.containers.findIndex((container) => container.id === id),
      1,
    );
  }

  async execSync(_: string, command: readonly string[], __: number, signal?: AbortSignal) {
    this.calls.push(`exec ${command.join(" ")}`);
    const exitCode = await this.onExec(command, signal);
    return { exitCode, stdout: Buffer.from("said"), stderr: Buffer.alloc(0) };
  }

  #find(id: string): FakeContainer {
    const container = this.containers.find((candidate) => candidate.id === id);
    if (!container) throw notFound(id);
    return container;
  }
}
