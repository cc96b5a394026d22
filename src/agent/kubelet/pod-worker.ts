import { chmod, mkdir, open, readFile, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Pod, pods } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { EventRecorder } from "../../client/events.ts";
import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { StatusError } from "../../machinery/status.ts";
import type { Cri } from "../containerd/cri.ts";
import type { Mount } from "../containerd/cri-messages.ts";
import { ContainerProber, probeFailureText } from "./container-prober.ts";
import { type DnsSettings, podDnsConfig, podHosts } from "./dns-config.ts";
import { ContainerConfigError, containerEnvironment, type EnvironmentSources } from "./environment.ts";
import { runHandler } from "./handler.ts";
import { ImageError, type ImageManager } from "./image-manager.ts";
import {
  latestContainer,
  nothingObserved,
  type ObservedContainer,
  type ObservedPod,
  observePod,
} from "./observed-pod.ts";
import { type Action, plan, supersededContainers } from "./plan.ts";
import { type AnyContainer, allContainers, type ContainerKind, fieldPathOf, isSidecar, uidOf } from "./pod-facts.ts";
import { podStatus, type Waiting } from "./pod-status.ts";
import { PodVolumes, podDirectory, VolumeError } from "./pod-volumes.ts";
import type { ReferencedObjects } from "./referenced-objects.ts";
import { containerConfig, podLogDirectory, sandboxConfig, verifyNonRoot } from "./runtime-config.ts";
import type { StatusWriter } from "./status-writer.ts";

/** What all workers share. */
export interface WorkerContext {
  readonly client: Client;
  readonly cri: Cri;
  readonly images: ImageManager;
  readonly objects: ReferencedObjects;
  readonly statuses: StatusWriter;
  readonly events: EventRecorder;
  readonly nodeName: string;
  readonly hostIps: readonly string[];
  readonly rootDir: string;
  readonly logRoot: string;
  readonly dns: () => Promise<DnsSettings>;
  readonly memoryCapacityBytes: number;
  readonly allocatable: () => Readonly<Record<string, string>>;
  /** Back-off and times in statuses. */
  readonly clusterClock: Clock;
  /** Probes and hooks. */
  readonly ioClock: Clock;
  readonly logger: Logger;
  /** Why the node does not take this pod, though it was bound to it. */
  admit(pod: Pod): { reason: string; message: string } | undefined;
  /** The worker is done: nothing of the pod is left. */
  onFinished(uid: string): void;
}

const firstBackoffMs = 10_000;
const largestBackoffMs = 300_000;
const backoffResetMs = 600_000;
/** Least time that a container gets after its preStop hook. */
const leastGraceSeconds = 2;
const longestMessageBytes = 4096;

/** One pod on this node, from its first sight to the removal of its last trace. Everything about it happens in order here. */
export class PodWorker {
  readonly uid: string;
  readonly #context: WorkerContext;
  readonly #volumes: PodVolumes;
  readonly #waiting = new Map<string, Waiting>();
  readonly #retryAtMs = new Map<string, number>();
  readonly #crash = new Map<string, { delayMs: number; reportedFor?: string }>();
  readonly #probers = new Map<string, ContainerProber>();
  readonly #messages = new Map<string, string>();
  readonly #key: string;
  #pod: Pod;
  /** The API has no such pod any more. */
  #gone = false;
  #failure: { reason: string; message: string } | undefined;
  #ended = false;
  #tornDown = false;
  #finished = false;
  #observed: ObservedPod = nothingObserved;
  #dirty = false;
  #wake: (() => void) | undefined;
  /** Aborts what takes long and is in the way of an end: pulls, hooks, waits. */
  #interrupt = new AbortController();
  readonly #watchers = new Set<() => void>();
  #syncFailures = 0;
  #admitted = false;

  constructor(pod: Pod, context: WorkerContext) {
    this.uid = uidOf(pod);
    this.#pod = pod;
    this.#context = context;
    this.#key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    this.#volumes = new PodVolumes(this.uid, {
      rootDir: context.rootDir,
      objects: context.objects,
      clock: context.ioClock,
    });
    void this.#run();
  }

  get pod(): Pod {
    return this.#pod;
  }

  get observed(): ObservedPod {
    return this.#observed;
  }

  /** All that was the pod's has ended (it may still stand in the API). */
  get ended(): boolean {
    return this.#ended;
  }

  /** The API's newest word on the pod. */
  update(pod: Pod): void {
    const before = this.#pod;
    this.#pod = pod;
    const grace = pod.metadata.deletionGracePeriodSeconds ?? Number.POSITIVE_INFINITY;
    const graceBefore = before.metadata.deletionGracePeriodSeconds ?? Number.POSITIVE_INFINITY;
    if ((pod.metadata.deletionTimestamp && !before.metadata.deletionTimestamp) || grace < graceBefore)
      this.#interruptWork();
    this.wake();
  }

  /** The pod was removed from the API. */
  remove(): void {
    if (this.#gone) return;
    this.#gone = true;
    if (!this.#pod.metadata.deletionTimestamp || this.#pod.metadata.deletionGracePeriodSeconds === 0)
      this.#interruptWork();
    this.wake();
  }

  /** Ends the pod from the node's side (eviction): its phase becomes Failed. */
  fail(reason: string, message: string): void {
    if (this.#failure || this.#ended) return;
    this.#failure = { reason, message };
    this.#interruptWork();
    this.wake();
  }

  /** Something happened to the pod's containers, or may have. */
  wake(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  /** Resolves when this container is seen not to run, or the signal aborts. */
  containerEnded(id: string, signal: AbortSignal): Promise<void> {
    const runs = () =>
      !this.#finished &&
      this.#observed.containers.some((container) => container.id === id && container.state === "running");
    return new Promise((resolve) => {
      const check = () => {
        if (runs() && !signal.aborted) return;
        this.#watchers.delete(check);
        signal.removeEventListener("abort", check);
        resolve();
      };
      this.#watchers.add(check);
      signal.addEventListener("abort", check, { once: true });
      check();
    });
  }

  /** Stops working on the pod; its containers stay. */
  stop(): void {
    this.#finished = true;
    for (const prober of this.#probers.values()) prober.stop();
    this.#interruptWork();
    this.#wake?.();
  }

  #interruptWork(): void {
    this.#interrupt.abort();
    this.#interrupt = new AbortController();
  }

  async #run(): Promise<void> {
    const { clusterClock, logger } = this.#context;
    while (!this.#finished) {
      this.#dirty = false;
      const { signal } = this.#interrupt;
      let nextAtMs: number;
      try {
        nextAtMs = await this.#sync();
        this.#syncFailures = 0;
        for (const check of this.#watchers) check();
      } catch (error) {
        if (this.#finished) return;
        // What was broken off makes room for something more urgent.
        if (signal.aborted) continue;
        const delayMs = Math.min(120_000, 500 * 2 ** this.#syncFailures++);
        nextAtMs = clusterClock.now() + delayMs;
        const fields = { pod: this.#key, error: (error as Error).message, retryInMs: delayMs };
        logger.warn(fields, "Pod could not be brought forward");
      }
      if (!this.#finished && !this.#dirty) await this.#idle(nextAtMs);
    }
  }

  #idle(untilMs: number): Promise<void> {
    const { clusterClock } = this.#context;
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      this.#wake = () => {
        timer?.cancel();
        this.#wake = undefined;
        resolve();
      };
      if (Number.isFinite(untilMs)) timer = clusterClock.after(Math.max(1, untilMs - clusterClock.now()), this.#wake);
    });
  }

  /** Brings the pod as far as it can get now. Returns when to come back though nothing happens. */
  async #sync(): Promise<number> {
    const { cri, clusterClock, statuses } = this.#context;
    const signal = this.#interrupt.signal;
    this.#observed = await observePod(cri, this.uid);
    await this.#readMessages();
    this.#updateProbers();
    const pod = statuses.latest(this.#pod);
    const spec = pod.spec!;
    const phase = pod.status?.phase;
    if (this.#gone || pod.metadata.deletionTimestamp || this.#failure || phase === "Succeeded" || phase === "Failed")
      return this.#end();

    if (!this.#admitted) {
      const refused = this.#observed.sandboxes.length === 0 ? this.#context.admit(pod) : undefined;
      if (refused) {
        this.#event("Warning", refused.reason, refused.message);
        this.#failure = refused;
        return this.#end();
      }
      this.#admitted = true;
    }

    let nextAtMs = Number.POSITIVE_INFINITY;
    const startedMs = Date.parse(pod.status?.startTime ?? "");
    if (spec.activeDeadlineSeconds && Number.isFinite(startedMs)) {
      const deadlineMs = startedMs + spec.activeDeadlineSeconds * 1000;
      if (clusterClock.now() >= deadlineMs) {
        this.#failure = {
          reason: "DeadlineExceeded",
          message: "Pod was active on the node longer than the specified deadline",
        };
        this.#event("Normal", "DeadlineExceeded", this.#failure.message);
        return this.#end();
      }
      nextAtMs = deadlineMs;
    }
    this.#writeStatus(false);

    try {
      await this.#volumes.prepare(pod, this.#sources(pod));
    } catch (error) {
      if (error instanceof VolumeError) this.#event("Warning", "FailedMount", error.message);
      throw error;
    }
    nextAtMs = Math.min(nextAtMs, this.#volumes.refreshAtMs);

    // Each round acts on what was observed and looks again; every action makes progress or fails.
    for (let round = 0; round < 100; round++) {
      const next = plan(pod, this.#observed, {
        nowMs: clusterClock.now(),
        started: (container) => this.#probers.get(container.id)?.started ?? true,
        unhealthy: (container) => this.#probers.get(container.id)?.unhealthy,
        restartAtMs: (name, finishedAtMs) => this.#restartAtMs(name, finishedAtMs),
      });
      this.#noteBackoff(next.backingOff);
      if (next.ended) return this.#end();
      if (next.nextAtMs !== undefined) nextAtMs = Math.min(nextAtMs, next.nextAtMs);
      let acted = false;
      for (const action of next.actions) {
        if (signal.aborted) break;
        acted = (await this.#act(pod, action, signal)) || acted;
        if (this.#dirtyEnd()) break;
      }
      if (!acted || signal.aborted) break;
      this.#observed = await observePod(cri, this.uid);
      await this.#readMessages();
      this.#updateProbers();
      this.#writeStatus(false);
    }
    for (const atMs of this.#retryAtMs.values()) nextAtMs = Math.min(nextAtMs, atMs);
    this.#writeStatus(false);
    for (const container of supersededContainers(this.#observed)) await this.#removeContainer(container);
    return nextAtMs;
  }

  #dirtyEnd(): boolean {
    return this.#gone || this.#failure !== undefined || this.#pod.metadata.deletionTimestamp !== undefined;
  }

  // Deciding helpers

  #restartAtMs(name: string, finishedAtMs: number): number {
    const crash = this.#crash.get(name);
    if (!crash) return 0;
    const last = latestContainer(this.#observed, name);
    if (last && last.finishedAtMs - last.startedAtMs > backoffResetMs) return 0;
    return finishedAtMs + crash.delayMs;
  }

  #noteBackoff(backingOff: ReadonlyMap<string, number>): void {
    for (const [name, waiting] of this.#waiting)
      if (waiting.reason === "CrashLoopBackOff" && !backingOff.has(name)) this.#waiting.delete(name);
    for (const name of backingOff.keys()) {
      const crash = this.#crash.get(name)!;
      const subject = `${this.#pod.metadata.name}_${this.#pod.metadata.namespace}(${this.uid})`;
      const wait =
        crash.delayMs >= 60_000
          ? `${Math.floor(crash.delayMs / 60_000)}m${(crash.delayMs % 60_000) / 1000}s`
          : `${crash.delayMs / 1000}s`;
      const message = `back-off ${wait} restarting failed container=${name} pod=${subject}`;
      this.#waiting.set(name, { reason: "CrashLoopBackOff", message });
      const last = latestContainer(this.#observed, name);
      if (last && crash.reportedFor !== last.id) {
        crash.reportedFor = last.id;
        this.#event("Warning", "BackOff", `Back-off restarting failed container ${name} in pod ${subject}`, name);
      }
    }
  }

  #updateProbers(): void {
    const running = new Map<string, { container: AnyContainer; observed: ObservedContainer }>();
    if (!this.#dirtyEnd() && !this.#ended)
      for (const { kind, container } of allContainers(this.#pod)) {
        if (kind === "ephemeral" || (kind === "init" && !isSidecar(container))) continue;
        const observed = latestContainer(this.#observed, container.name);
        const probed = container.startupProbe || container.livenessProbe || container.readinessProbe;
        if (probed && observed?.state === "running") running.set(observed.id, { container, observed });
      }
    for (const [id, prober] of this.#probers)
      if (!running.has(id)) {
        prober.stop();
        this.#probers.delete(id);
      }
    for (const [id, { container, observed }] of running) {
      if (this.#probers.has(id)) continue;
      const all = [...(this.#pod.status?.containerStatuses ?? []), ...(this.#pod.status?.initContainerStatuses ?? [])];
      const before = all.find(({ containerID }) => containerID === `containerd://${id}`);
      this.#probers.set(
        id,
        new ContainerProber({
          target: { containerId: id, container, podIp: this.#podIps()[0] ?? "" },
          startedAtMs: observed.startedAtMs,
          before: before && { started: before.started === true, ready: before.ready },
          cri: this.#context.cri,
          clock: this.#context.ioClock,
          onChange: () => this.wake(),
          onFailure: (kind, output) =>
            this.#event("Warning", "Unhealthy", probeFailureText(kind, output), container.name),
        }),
      );
    }
  }

  #podIps(): readonly string[] {
    return this.#pod.spec!.hostNetwork ? this.#context.hostIps : (this.#observed.sandboxes[0]?.ips ?? []);
  }

  #sources(pod: Pod): EnvironmentSources {
    const { objects, hostIps, nodeName } = this.#context;
    const namespace = pod.metadata.namespace ?? "";
    return {
      nodeName,
      hostIp: hostIps[0] ?? "",
      hostIps,
      podIps: this.#podIps(),
      allocatable: this.#context.allocatable(),
      configMap: (name) => objects.configMap(namespace, name),
      secret: (name) => objects.secret(namespace, name),
      services: () => objects.serviceLinks(namespace, pod.spec!.enableServiceLinks !== false),
      fileKey: async (volume, path, key) => {
        const text = await readFile(join(this.#volumes.path(volume), path), "utf8");
        const line = text.split("\n").find((entry) => entry.startsWith(`${key}=`));
        return line?.slice(key.length + 1).replace(/^(['"])(.*)\1$/, "$2");
      },
    };
  }

  // Acting

  /** Does one thing; false when it was left for later. */
  async #act(pod: Pod, action: Action, signal: AbortSignal): Promise<boolean> {
    const { cri } = this.#context;
    switch (action.type) {
      case "stopSandbox":
        await cri.stopPodSandbox(action.id);
        return true;
      case "createSandbox":
        await this.#createSandbox(pod, action.attempt);
        return true;
      case "removeContainer":
        await cri.removeContainer(action.id);
        return true;
      case "killContainer":
        this.#probers.get(action.observed.id)?.stop();
        this.#event("Normal", "Killing", action.message, action.container.name);
        await this.#killContainer(
          action.observed,
          action.container,
          action.graceSeconds ?? this.#graceSeconds(),
          signal,
        );
        return true;
      case "startContainer":
        return this.#startContainer(pod, action, signal);
    }
  }

  async #createSandbox(pod: Pod, attempt: number): Promise<void> {
    const { cri, dns } = this.#context;
    const settings = await dns();
    const config = sandboxConfig(pod, attempt, {
      dns: podDnsConfig(pod, settings),
      clusterDomain: settings.clusterDomain,
    });
    await mkdir(podLogDirectory(pod, this.#context.logRoot), { recursive: true, mode: 0o755 });
    try {
      await cri.runPodSandbox(
        { ...config, logDirectory: podLogDirectory(pod, this.#context.logRoot) },
        await this.#runtimeHandler(pod),
      );
    } catch (error) {
      this.#event("Warning", "FailedCreatePodSandBox", `Failed to create pod sandbox: ${(error as Error).message}`);
      throw error;
    }
  }

  async #runtimeHandler(pod: Pod): Promise<string> {
    const name = pod.spec!.runtimeClassName;
    if (!name) return "";
    const { runtimeClasses } = await import("../../api/generated/node-v1.ts");
    return (await this.#context.client.get(runtimeClasses, name)).handler;
  }

  async #startContainer(
    pod: Pod,
    { kind, container, attempt, sandboxId }: Extract<Action, { type: "startContainer" }>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { cri, images, clusterClock } = this.#context;
    const nowMs = clusterClock.now();
    const { name } = container;
    if ((this.#retryAtMs.get(name) ?? 0) > nowMs) return false;
    const report = (severity: "Normal" | "Warning", reason: string, message: string) =>
      this.#event(severity, reason, message, name, kind);
    const refuse = (reason: string, error: Error, retryAtMs: number) => {
      this.#waiting.set(name, { reason, message: error.message });
      this.#retryAtMs.set(name, retryAtMs);
      return false;
    };
    const settings = await this.#context.dns();
    const sandbox = {
      ...sandboxConfig(pod, this.#observed.sandboxes[0]?.attempt ?? 0, {
        dns: podDnsConfig(pod, settings),
        clusterDomain: settings.clusterDomain,
      }),
      logDirectory: podLogDirectory(pod, this.#context.logRoot),
    };
    let containerId: string;
    try {
      if (!this.#waiting.has(name)) this.#writeStatus(false);
      const image = await images.ensure(pod, container, sandbox, report, signal);
      verifyNonRoot(pod, container, { uid: image.uid?.value, username: image.username });
      const environment = await containerEnvironment(pod, container, this.#sources(pod));
      const mounts = [
        ...(await this.#volumes.mounts(pod, container, environment)),
        ...(await this.#ownMounts(pod, container, attempt, settings.clusterDomain)),
      ];
      await mkdir(join(sandbox.logDirectory, name), { recursive: true, mode: 0o755 });
      const target = "targetContainerName" in container ? container.targetContainerName : undefined;
      const config = containerConfig(pod, container, {
        attempt,
        imageRef: image.id,
        environment,
        mounts,
        memoryCapacityBytes: this.#context.memoryCapacityBytes,
        targetContainerId: target ? latestContainer(this.#observed, target)?.id : undefined,
      });
      containerId = await cri.createContainer(sandboxId, config, sandbox);
    } catch (error) {
      if (signal.aborted) throw error;
      if (await this.#sandboxDied(sandboxId)) return true;
      if (error instanceof ImageError) return refuse(error.reason, error, error.retryAtMs);
      const isConfig = error instanceof ContainerConfigError || error instanceof VolumeError;
      report("Warning", "Failed", `Error: ${(error as Error).message}`);
      return refuse(
        isConfig ? "CreateContainerConfigError" : "CreateContainerError",
        error as Error,
        nowMs + firstBackoffMs,
      );
    }
    report("Normal", "Created", `Created container: ${name}`);
    if (attempt > 0) this.#raiseBackoff(name);
    try {
      await cri.startContainer(containerId);
    } catch (error) {
      if (await this.#sandboxDied(sandboxId)) {
        await cri.removeContainer(containerId);
        return true;
      }
      report("Warning", "Failed", `Error: ${(error as Error).message}`);
      // The runtime marks it as exited; the next look decides on its restart.
      if (!this.#crash.has(name)) this.#raiseBackoff(name);
      this.#waiting.set(name, { reason: "RunContainerError", message: (error as Error).message });
      return true;
    }
    this.#waiting.delete(name);
    this.#retryAtMs.delete(name);
    report("Normal", "Started", `Started container ${name}`);
    void this.#linkLog(pod, container, containerId, attempt).catch(() => {});

    const hook = container.lifecycle?.postStart;
    if (hook) {
      const target = { containerId, container, podIp: this.#podIps()[0] ?? "" };
      const { ioClock } = this.#context;
      const { ok, output } = await runHandler(hook, target, {
        cri,
        clock: ioClock,
        timeoutMs: Number.POSITIVE_INFINITY,
        signal,
      });
      if (!ok && !signal.aborted) {
        report("Warning", "FailedPostStartHook", `PostStartHook failed: ${output}`);
        report("Normal", "Killing", "FailedPostStartHook");
        await cri.stopContainer(containerId, this.#graceSeconds(), signal);
      }
    }
    return true;
  }

  /** The sandbox went away while a container was made in it: no fault of the container, a new sandbox comes next. */
  async #sandboxDied(id: string): Promise<boolean> {
    try {
      return (await this.#context.cri.podSandboxStatus(id)).status?.state !== "SANDBOX_READY";
    } catch {
      return false;
    }
  }

  #raiseBackoff(name: string): void {
    const last = latestContainer(this.#observed, name);
    const before = last && last.finishedAtMs - last.startedAtMs > backoffResetMs ? undefined : this.#crash.get(name);
    this.#crash.set(name, { delayMs: before ? Math.min(largestBackoffMs, before.delayMs * 2) : firstBackoffMs });
  }

  /** Files that every container gets from the kubelet. */
  async #ownMounts(pod: Pod, container: AnyContainer, attempt: number, clusterDomain: string): Promise<Mount[]> {
    const directory = podDirectory(this.#context.rootDir, this.uid);
    const result: Mount[] = [];
    const taken = new Set((container.volumeMounts ?? []).map(({ mountPath }) => mountPath.replace(/\/+$/, "")));
    await mkdir(directory, { recursive: true, mode: 0o750 });
    if (!taken.has("/etc/hosts")) {
      const path = join(directory, "etc-hosts");
      const hostText = pod.spec!.hostNetwork ? await readFile("/etc/hosts", "utf8").catch(() => "") : undefined;
      // Written in place: running containers have this very file mounted.
      await writeFile(path, podHosts(pod, this.#podIps(), clusterDomain, hostText), { mode: 0o644 });
      result.push({ containerPath: "/etc/hosts", hostPath: path });
    }
    const messagePath = container.terminationMessagePath ?? "/dev/termination-log";
    if (messagePath) {
      const folder = join(directory, "containers", container.name);
      await mkdir(folder, { recursive: true, mode: 0o755 });
      const path = join(folder, String(attempt));
      await writeFile(path, "");
      // Any user of the container may write it, whatever our umask.
      await chmod(path, 0o666);
      result.push({ containerPath: messagePath, hostPath: path });
    }
    return result;
  }

  /** The name under which log collectors look: /var/log/containers/<pod>_<namespace>_<container>-<id>.log */
  async #linkLog(pod: Pod, container: AnyContainer, id: string, attempt: number): Promise<void> {
    const { name, namespace } = pod.metadata;
    const folder = join(this.#context.logRoot, "../containers");
    await mkdir(folder, { recursive: true });
    const target = join(podLogDirectory(pod, this.#context.logRoot), container.name, `${attempt}.log`);
    await symlink(target, join(folder, `${name}_${namespace}_${container.name}-${id}.log`));
  }

  async #removeContainer(container: ObservedContainer): Promise<void> {
    const { name, namespace } = this.#pod.metadata;
    await this.#context.cri.removeContainer(container.id);
    this.#messages.delete(container.id);
    await rm(
      join(podDirectory(this.#context.rootDir, this.uid), "containers", container.name, String(container.attempt)),
      { force: true },
    );
    const log = join(podLogDirectory(this.#pod, this.#context.logRoot), container.name, `${container.attempt}.log`);
    await rm(log, { force: true });
    await unlink(
      join(this.#context.logRoot, "../containers", `${name}_${namespace}_${container.name}-${container.id}.log`),
    ).catch(() => {});
  }

  // Ending

  #graceSeconds(): number {
    const { deletionGracePeriodSeconds: asked } = this.#pod.metadata;
    if (asked !== undefined) return Math.max(1, asked);
    return Math.max(1, this.#pod.spec!.terminationGracePeriodSeconds ?? 30);
  }

  async #killContainer(
    observed: ObservedContainer,
    container: AnyContainer | undefined,
    graceSeconds: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { cri, ioClock } = this.#context;
    const startedMs = ioClock.now();
    const hook = container?.lifecycle?.preStop;
    let leftSeconds = graceSeconds;
    if (hook && container && graceSeconds > 0) {
      const overdue = new AbortController();
      const timer = ioClock.after(graceSeconds * 1000, () => overdue.abort());
      const limit = AbortSignal.any([signal, overdue.signal]);
      const target = { containerId: observed.id, container, podIp: this.#podIps()[0] ?? "" };
      const { ok, output } = await runHandler(hook, target, {
        cri,
        clock: ioClock,
        timeoutMs: Number.POSITIVE_INFINITY,
        signal: limit,
      });
      timer.cancel();
      if (!ok && !signal.aborted)
        this.#event("Warning", "FailedPreStopHook", `PreStopHook failed: ${output}`, container.name);
      leftSeconds = Math.max(leastGraceSeconds, Math.ceil(graceSeconds - (ioClock.now() - startedMs) / 1000));
    }
    try {
      await cri.stopContainer(observed.id, leftSeconds, signal);
    } catch (error) {
      if ((error as { code?: string }).code !== "NOT_FOUND") throw error;
    }
  }

  /** Stops what runs, says so, takes down what was set up, and removes the pod from the API if it is being deleted. */
  async #end(): Promise<number> {
    const { cri, client, statuses, images } = this.#context;
    const signal = this.#interrupt.signal;
    for (const prober of this.#probers.values()) prober.stop();
    this.#probers.clear();
    if (!this.#ended) {
      const specs = new Map(
        allContainers(this.#pod).map(({ kind, container }) => [container.name, { kind, container }]),
      );
      const running = this.#observed.containers.filter(({ state }) => state === "running" || state === "unknown");
      const kill = async (observed: ObservedContainer) => {
        this.#event("Normal", "Killing", `Stopping container ${observed.name}`, observed.name);
        await this.#killContainer(observed, specs.get(observed.name)?.container, this.#graceSeconds(), signal);
      };
      const isLate = ({ name }: ObservedContainer) => {
        const spec = specs.get(name);
        return spec?.kind === "init" && isSidecar(spec.container);
      };
      await Promise.all(running.filter((container) => !isLate(container)).map(kill));
      // Sidecars serve the others to the end, and end in the reverse of the order in which they started.
      const order = (this.#pod.spec!.initContainers ?? []).map(({ name }) => name);
      const late = running.filter(isLate).sort((a, b) => order.indexOf(b.name) - order.indexOf(a.name));
      for (const container of late) await kill(container);
      if (running.length > 0) this.#observed = await observePod(cri, this.uid);
      await this.#readMessages();
      this.#ended = true;
    }
    if (!this.#gone) {
      this.#writeStatus(true);
      await statuses.flush(this.uid);
    }
    if (!this.#tornDown) {
      for (const sandbox of this.#observed.sandboxes) if (sandbox.ready) await cri.stopPodSandbox(sandbox.id);
      await this.#volumes.tearDown();
      images.forget(this.uid);
      this.#tornDown = true;
    }
    if (!this.#gone && !this.#pod.metadata.deletionTimestamp) return Number.POSITIVE_INFINITY;

    if (!this.#gone) {
      const { name = "", namespace = "" } = this.#pod.metadata;
      try {
        await client.delete(pods, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid: this.uid } });
      } catch (error) {
        // Gone, or another pod of that name by now.
        if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
      }
    }
    for (const container of this.#observed.containers) {
      await cri.removeContainer(container.id);
      const { name, namespace } = this.#pod.metadata;
      await unlink(
        join(this.#context.logRoot, "../containers", `${name}_${namespace}_${container.name}-${container.id}.log`),
      ).catch(() => {});
    }
    for (const sandbox of this.#observed.sandboxes) await cri.removePodSandbox(sandbox.id);
    await rm(podLogDirectory(this.#pod, this.#context.logRoot), { recursive: true, force: true });
    statuses.forget(this.uid);
    this.#finished = true;
    this.#context.onFinished(this.uid);
    return Number.POSITIVE_INFINITY;
  }

  // Reporting

  #writeStatus(terminating: boolean): void {
    const { statuses, clusterClock, hostIps } = this.#context;
    if (this.#gone) return;
    const pod = statuses.latest(this.#pod);
    const status = podStatus(pod, this.#observed, {
      nowMs: clusterClock.now(),
      hostIps,
      waiting: this.#waiting,
      ready: (container) => this.#probers.get(container.id)?.ready ?? !this.#hasReadiness(container.name),
      started: (container) => this.#probers.get(container.id)?.started ?? true,
      terminationMessage: (container) => this.#messages.get(container.id),
      failure: this.#failure,
      terminating: terminating || this.#dirtyEnd(),
    });
    statuses.set(pod, status);
  }

  #hasReadiness(name: string): boolean {
    return allContainers(this.#pod).some(
      ({ container }) => container.name === name && container.readinessProbe !== undefined,
    );
  }

  async #readMessages(): Promise<void> {
    for (const { container } of allContainers(this.#pod)) {
      for (const observed of this.#observed.containers) {
        if (observed.name !== container.name || observed.state !== "exited" || this.#messages.has(observed.id))
          continue;
        const path = join(
          podDirectory(this.#context.rootDir, this.uid),
          "containers",
          container.name,
          String(observed.attempt),
        );
        let text = await readStart(path, longestMessageBytes);
        if (text === "" && container.terminationMessagePolicy === "FallbackToLogsOnError" && observed.exitCode !== 0)
          text = await logTail(
            join(podLogDirectory(this.#pod, this.#context.logRoot), container.name, `${observed.attempt}.log`),
          );
        const lists = this.#pod.status;
        const all = [...(lists?.containerStatuses ?? []), ...(lists?.initContainerStatuses ?? [])];
        const known = all.flatMap(({ state, lastState }) => [state?.terminated, lastState?.terminated]);
        text ||= known.find((ended) => ended?.containerID === `containerd://${observed.id}`)?.message ?? "";
        this.#messages.set(observed.id, text);
      }
    }
  }

  #event(
    severity: "Normal" | "Warning",
    reason: string,
    message: string,
    container?: string,
    kind?: ContainerKind,
  ): void {
    const { name = "", namespace, resourceVersion } = this.#pod.metadata;
    const found =
      container === undefined
        ? undefined
        : allContainers(this.#pod).find((entry) => entry.container.name === container);
    const target = {
      name,
      namespace,
      uid: this.uid,
      resourceVersion,
      ...(found ? { fieldPath: fieldPathOf(kind ?? found.kind, found.container.name) } : {}),
    };
    this.#context.events.event(pods, target, severity, reason, message);
  }
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

/** The end of a container's log: at most 2,048 bytes and 80 lines. */
async function logTail(path: string): Promise<string> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      const length = Math.min(size, 16 * 1024);
      const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
      const lines = buffer
        .toString()
        .split("\n")
        .filter((line) => line !== "")
        .slice(-80)
        .map((line) => line.replace(/^\S+ (stdout|stderr) [FP] /, ""));
      return Buffer.from(`${lines.join("\n")}\n`)
        .subarray(-2048)
        .toString();
    } finally {
      await file.close();
    }
  } catch {
    return "";
  }
}
