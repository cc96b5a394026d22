import { type Pod, pods } from "../../api/generated/core-v1.ts";
import { StatusError } from "../../machinery/status.ts";
import { ContainerFiles } from "./container-files.ts";
import { type StartAction, startContainer } from "./container-start.ts";
import { stopContainer } from "./container-stop.ts";
import { CrashBackoff } from "./crash-backoff.ts";
import type { EnvironmentSources } from "./environment.ts";
import { environmentSources } from "./environment-sources.ts";
import { latestContainer, nothingObserved, type ObservedPod, observePod } from "./observed-pod.ts";
import { type Action, plan, supersededContainers } from "./plan.ts";
import { deadlineMsOf, endingOf, graceLeftSeconds, graceSecondsOf, type Killing } from "./plan-ending.ts";
import { allContainers, type ContainerKind, fieldPathOf, uidOf } from "./pod-facts.ts";
import { PodProbers } from "./pod-probers.ts";
import { PodResize } from "./pod-resize.ts";
import { createSandbox } from "./pod-sandbox.ts";
import { podStatus, type Waiting } from "./pod-status.ts";
import { PodVolumes, VolumeError } from "./pod-volumes.ts";
import { containerHash } from "./runtime-config.ts";
import { TerminationMessages } from "./termination-messages.ts";
import { WorkLoop } from "./work-loop.ts";
import type { WorkerContext } from "./worker-context.ts";

/** A resize that waits for room, or failed, is tried again. */
const resizeRetryMs = 10_000;

/** One pod on this node, from its first sight to the removal of its last trace. Everything about it happens in order here. */
export class PodWorker {
  readonly uid: string;
  readonly #context: WorkerContext;
  readonly #loop: WorkLoop;
  readonly #volumes: PodVolumes;
  readonly #waiting = new Map<string, Waiting>();
  readonly #retryAtMs = new Map<string, number>();
  readonly #crashes = new CrashBackoff();
  readonly #probers: PodProbers;
  readonly #files: ContainerFiles;
  readonly #messages: TerminationMessages;
  readonly #resize: PodResize;
  readonly #key: string;
  #pod: Pod;
  /** The pod as the present step takes it: a newer one may have come since, on which nothing was done yet. */
  #taken: Pod;
  /** The API has no such pod any more. */
  #gone = false;
  #failure: { reason: string; message: string } | undefined;
  #ended = false;
  #tornDown = false;
  #observed: ObservedPod = nothingObserved;
  /** When the runtime was asked for it. */
  #observedAtMs = 0;
  readonly #watchers = new Set<() => void>();
  #admitted = false;

  constructor(pod: Pod, context: WorkerContext) {
    this.uid = uidOf(pod);
    this.#pod = pod;
    this.#taken = pod;
    this.#context = context;
    this.#key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    this.#volumes = new PodVolumes(this.uid, {
      rootDir: context.rootDir,
      objects: context.objects,
      clock: context.ioClock,
      onChange: () => this.wake(),
      onRefreshFailure: ({ message }) => this.#event("Warning", "FailedMount", message),
    });
    this.#files = new ContainerFiles(this.uid, context);
    this.#messages = new TerminationMessages(this.#files);
    this.#probers = new PodProbers({
      cri: context.cri,
      clock: context.ioClock,
      onChange: () => this.wake(),
      onFailure: (container, text) => this.#event("Warning", "Unhealthy", text, container),
    });
    this.#resize = new PodResize({
      memoryCapacityBytes: context.memoryCapacityBytes,
      fit: (wanted) => context.fit(wanted),
      report: (severity, reason, message) => this.#event(severity, reason, message),
      update: (id, resources) => context.cri.updateContainerResources(id, resources),
      memoryUsage: async (id) => {
        const stats = (await context.cri.listContainerStats()).find(({ attributes }) => attributes?.id === id);
        return stats?.memory?.usageBytes?.value ?? stats?.memory?.workingSetBytes?.value;
      },
    });
    this.#loop = new WorkLoop({
      step: (signal) => this.#step(signal),
      onFailure: (error, retryInMs) => {
        const fields = { pod: this.#key, error: error.message, retryInMs };
        context.logger.warn(fields, "Pod could not be brought forward");
      },
      clock: context.clusterClock,
    });
    void this.#loop.run();
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** The pod with the resources that this node has granted to it. */
  get granted(): Pod {
    return this.#resize.granted(this.#pod);
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
      this.#loop.interrupt();
    else this.wake();
  }

  /** The pod was removed from the API. */
  remove(): void {
    if (this.#gone) return;
    this.#gone = true;
    if (!this.#pod.metadata.deletionTimestamp || this.#pod.metadata.deletionGracePeriodSeconds === 0)
      this.#loop.interrupt();
    else this.wake();
  }

  /** Ends the pod from the node's side (eviction): its phase becomes Failed. */
  fail(reason: string, message: string): void {
    if (this.#failure || this.#ended) return;
    this.#failure = { reason, message };
    this.#loop.interrupt();
  }

  /** Something happened to the pod's containers, or may have. */
  wake(): void {
    this.#loop.wake();
  }

  /** Resolves when this container is seen not to run, or the signal aborts. */
  containerEnded(id: string, signal: AbortSignal): Promise<void> {
    const runs = () =>
      !this.#loop.stopped &&
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
    this.#probers.stopAll();
    this.#volumes.close();
    this.#loop.stop();
  }

  async #step(signal: AbortSignal): Promise<number> {
    const nextAtMs = await this.#sync(signal);
    for (const check of this.#watchers) check();
    return nextAtMs;
  }

  /** Brings the pod as far as it can get now. Returns when to come back though nothing happens. */
  async #sync(signal: AbortSignal): Promise<number> {
    const { clusterClock, statuses } = this.#context;
    await this.#look();
    this.#taken = this.#pod;
    const wanted = statuses.latest(this.#taken);
    const phase = wanted.status?.phase;
    if (this.#mustEnd || phase === "Succeeded" || phase === "Failed") return this.#end(signal);
    if (!this.#admitted) {
      const refused = this.#observed.sandboxes.length === 0 ? this.#context.admit(wanted) : undefined;
      if (refused) return this.#fail("Warning", refused, signal);
      this.#admitted = true;
    }
    this.#resize.settle(wanted, this.#observed);
    const pod = this.#resize.granted(wanted);
    const deadlineMs = deadlineMsOf(pod);
    if (clusterClock.now() >= deadlineMs) {
      const message = "Pod was active on the node longer than the specified deadline";
      return this.#fail("Normal", { reason: "DeadlineExceeded", message }, signal);
    }
    this.#writeStatus(false);
    try {
      await this.#volumes.prepare(pod, this.#sources(pod));
    } catch (error) {
      if (error instanceof VolumeError) this.#event("Warning", "FailedMount", error.message);
      throw error;
    }
    return Math.min(deadlineMs, await this.#advance(pod, signal), this.#volumes.refreshAtMs);
  }

  /** Follows the plan until nothing is left to do now. Returns when the plan wants to be made again. */
  async #advance(pod: Pod, signal: AbortSignal): Promise<number> {
    let nextAtMs = Number.POSITIVE_INFINITY;
    // Each round acts on what was observed and looks again; every action makes progress or fails.
    for (let round = 0; round < 100; round++) {
      const next = plan(pod, this.#observed, {
        // A plan is made for the moment that it knows: since then a sandbox may have followed its containers.
        nowMs: this.#observedAtMs,
        started: (container) => this.#probers.started(container),
        unhealthy: (container) => this.#probers.unhealthy(container),
        restartAtMs: (name, finishedAtMs) =>
          this.#crashes.restartAtMs(name, finishedAtMs, latestContainer(this.#observed, name)),
      });
      this.#noteBackoff(next.backingOff);
      if (next.ended) return this.#end(signal);
      nextAtMs = next.nextAtMs;
      let acted = false;
      const killed = new Set(next.actions.map((action) => action.type === "killContainer" && action.observed.id));
      const resized = this.#resize.restarts(pod, this.#observed).filter(({ observed }) => !killed.has(observed.id));
      for (const action of [...next.actions, ...resized]) {
        if (signal.aborted) break;
        acted = (await this.#act(pod, action, signal)) || acted;
        if (this.#mustEnd) break;
      }
      if (!acted || signal.aborted) break;
      await this.#look();
      this.#writeStatus(false);
    }
    for (const atMs of this.#retryAtMs.values()) nextAtMs = Math.min(nextAtMs, atMs);
    if (await this.#resize.apply(pod, this.#observed)) await this.#look();
    if (this.#resize.waiting) nextAtMs = Math.min(nextAtMs, this.#context.clusterClock.now() + resizeRetryMs);
    this.#writeStatus(false);
    for (const container of supersededContainers(this.#observed)) {
      await this.#context.cri.removeContainer(container.id);
      this.#messages.forget(container.id);
      await this.#files.remove(this.#pod, container);
    }
    return nextAtMs;
  }

  /** The pod is to go: what runs has to end, and nothing is started any more. */
  get #mustEnd(): boolean {
    return this.#gone || this.#failure !== undefined || this.#pod.metadata.deletionTimestamp !== undefined;
  }

  async #look(): Promise<void> {
    this.#observedAtMs = this.#context.clusterClock.now();
    this.#observed = await observePod(this.#context.cri, this.uid);
    this.#resize.see(this.#observed);
    await this.#messages.read(this.#pod, this.#observed);
    if (this.#mustEnd || this.#ended) this.#probers.stopAll();
    else this.#probers.follow(this.#pod, this.#observed, this.#podIps()[0] ?? "");
  }

  #podIps(): readonly string[] {
    return this.#pod.spec!.hostNetwork ? this.#context.hostIps : (this.#observed.sandboxes[0]?.ips ?? []);
  }

  #sources(pod: Pod): EnvironmentSources {
    return environmentSources(pod, this.#podIps(), this.#volumes, this.#context);
  }

  #noteBackoff(backingOff: ReadonlyMap<string, number>): void {
    for (const [name, waiting] of this.#waiting)
      if (waiting.reason === "CrashLoopBackOff" && !backingOff.has(name)) this.#waiting.delete(name);
    for (const name of backingOff.keys()) {
      const subject = `${this.#pod.metadata.name}_${this.#pod.metadata.namespace}(${this.uid})`;
      const message = `back-off ${this.#crashes.waitText(name)} restarting failed container=${name} pod=${subject}`;
      this.#waiting.set(name, { reason: "CrashLoopBackOff", message });
      if (this.#crashes.isNews(name, latestContainer(this.#observed, name)))
        this.#event("Warning", "BackOff", `Back-off restarting failed container ${name} in pod ${subject}`, name);
    }
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
        try {
          await createSandbox(pod, action.attempt, this.#context);
        } catch (error) {
          const message = `Failed to create pod sandbox: ${(error as Error).message}`;
          this.#event("Warning", "FailedCreatePodSandBox", message);
          throw error;
        }
        return true;
      case "removeContainer":
        await cri.removeContainer(action.id);
        return true;
      case "killContainer":
        this.#probers.stop(action.observed.id);
        this.#event("Normal", "Killing", action.message, action.container.name);
        await this.#stop(action, action.graceSeconds ?? graceSecondsOf(this.#pod), signal);
        return true;
      case "startContainer":
        return this.#start(pod, action, signal);
    }
  }

  async #start(pod: Pod, action: StartAction, signal: AbortSignal): Promise<boolean> {
    const { name } = action.container;
    if ((this.#retryAtMs.get(name) ?? 0) > this.#context.clusterClock.now()) return false;
    if (!this.#waiting.has(name)) this.#writeStatus(false);
    const outcome = await startContainer(pod, action, {
      context: this.#context,
      observed: this.#observed,
      podIps: this.#podIps(),
      volumes: this.#volumes,
      files: this.#files,
      sources: this.#sources(pod),
      graceSeconds: graceSecondsOf(this.#pod),
      report: (severity, reason, message) => this.#event(severity, reason, message, name, action.kind),
      signal,
      onCreated: () => {
        const last = latestContainer(this.#observed, name);
        if (last && last.hash !== containerHash(action.container)) this.#crashes.forget(name);
        // One that ran was ended for its new definition: that is no crash.
        if (action.attempt > 0 && last?.state !== "running") this.#crashes.raise(name, last);
      },
    });
    this.#retryAtMs.delete(name);
    switch (outcome.type) {
      case "refused":
        this.#waiting.set(name, { reason: outcome.reason, message: outcome.message });
        this.#retryAtMs.set(name, outcome.retryAtMs);
        return false;
      case "failed":
        // The runtime marks it as exited; the next look decides on its restart.
        if (!this.#crashes.has(name)) this.#crashes.raise(name, latestContainer(this.#observed, name));
        this.#waiting.set(name, { reason: "RunContainerError", message: outcome.message });
        return true;
      case "started":
        this.#waiting.delete(name);
        return true;
      case "sandboxGone":
        return true;
    }
  }

  #stop(killing: Killing, graceSeconds: number, signal: AbortSignal): Promise<void> {
    const { cri, ioClock } = this.#context;
    return stopContainer(killing, graceSeconds, {
      cri,
      clock: ioClock,
      podIp: this.#podIps()[0] ?? "",
      signal,
      onHookFailure: (output) =>
        this.#event("Warning", "FailedPreStopHook", `PreStopHook failed: ${output}`, killing.observed.name),
    });
  }

  // Ending

  #fail(
    severity: "Normal" | "Warning",
    failure: { reason: string; message: string },
    signal: AbortSignal,
  ): Promise<number> {
    this.#event(severity, failure.reason, failure.message);
    this.#failure = failure;
    return this.#end(signal);
  }

  /** Stops what runs, says so, takes down what was set up, and removes the pod from the API if it is being deleted. */
  async #end(signal: AbortSignal): Promise<number> {
    const { statuses, images, cri } = this.#context;
    this.#probers.stopAll();
    if (!this.#ended) {
      await this.#stopContainers(signal);
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
    // The pod of a worker that was stopped is another one's.
    if ((this.#gone || this.#pod.metadata.deletionTimestamp) && !this.#loop.stopped) await this.#finish();
    return Number.POSITIVE_INFINITY;
  }

  async #stopContainers(signal: AbortSignal): Promise<void> {
    const { cri, ioClock } = this.#context;
    const { together, inTurn } = endingOf(this.#pod, this.#observed);
    if (together.length + inTurn.length > 0) {
      const begunMs = ioClock.now();
      const kill = async (killing: Killing, graceSeconds: number) => {
        const { name } = killing.observed;
        this.#event("Normal", "Killing", `Stopping container ${name}`, name);
        await this.#stop(killing, graceSeconds, signal);
      };
      const graceSeconds = graceSecondsOf(this.#pod);
      await Promise.all(together.map((killing) => kill(killing, graceSeconds)));
      // The grace is the whole pod's: who ends later has what is left of it.
      for (const killing of inTurn) await kill(killing, graceLeftSeconds(graceSeconds, ioClock.now() - begunMs));
      this.#observed = await observePod(cri, this.uid);
    }
    await this.#messages.read(this.#pod, this.#observed);
  }

  /** Removes the last traces of a pod that is deleted, in the API and on the node. */
  async #finish(): Promise<void> {
    const { cri, client, statuses } = this.#context;
    if (!this.#gone) {
      const { name = "", namespace = "" } = this.#pod.metadata;
      try {
        await client.delete(pods, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid: this.uid } });
      } catch (error) {
        // Gone, or another pod of that name by now.
        if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
      }
    }
    for (const { id } of this.#observed.containers) await cri.removeContainer(id);
    for (const { id } of this.#observed.sandboxes) await cri.removePodSandbox(id);
    await this.#files.removeLogs(this.#pod, this.#observed.containers);
    statuses.forget(this.uid);
    this.#loop.stop();
    this.#context.onFinished(this.uid);
  }

  // Reporting

  #writeStatus(terminating: boolean): void {
    const { statuses, clusterClock, hostIps } = this.#context;
    if (this.#gone || this.#loop.stopped) return;
    const { spec, metadata } = this.#taken;
    const generation = metadata.generation === undefined ? {} : { generation: metadata.generation };
    const taken = { ...this.#pod, metadata: { ...this.#pod.metadata, ...generation }, spec: spec! };
    const pod = this.#resize.granted(statuses.latest(taken));
    const status = podStatus(pod, this.#observed, {
      nowMs: clusterClock.now(),
      hostIps,
      waiting: this.#waiting,
      ready: (container) => this.#probers.ready(this.#pod, container),
      started: (container) => this.#probers.started(container),
      terminationMessage: ({ id }) => this.#messages.of(id),
      failure: this.#failure,
      resize: this.#resize.conditions(),
      terminating: terminating || this.#mustEnd,
    });
    statuses.set(pod, status);
  }

  #event(
    severity: "Normal" | "Warning",
    reason: string,
    message: string,
    container?: string,
    kind?: ContainerKind,
  ): void {
    const { name = "", namespace, resourceVersion } = this.#pod.metadata;
    const found = allContainers(this.#pod).find((entry) => entry.container.name === container);
    const part = found ? { fieldPath: fieldPathOf(kind ?? found.kind, found.container.name) } : {};
    const target = { name, namespace, uid: this.uid, resourceVersion, ...part };
    this.#context.events.event(pods, target, severity, reason, message);
  }
}
