import type { Pod, Volume } from "../../api/generated/core-v1.ts";
import type { ContainerFiles } from "./container-files.ts";
import { firstBackoffMs } from "./crash-backoff.ts";
import { ContainerConfigError, containerEnvironment, type EnvironmentSources } from "./environment.ts";
import { runHandler } from "./handler.ts";
import { ImageError, type ReportEvent } from "./image-manager.ts";
import { latestContainer, type ObservedPod } from "./observed-pod.ts";
import type { Action } from "./plan.ts";
import type { AnyContainer } from "./pod-facts.ts";
import { describeSandbox, sandboxEnded } from "./pod-sandbox.ts";
import { type PodVolumes, VolumeError } from "./pod-volumes.ts";
import { containerConfig, verifyNonRoot } from "./runtime-config.ts";
import type { WorkerContext } from "./worker-context.ts";

export type StartAction = Extract<Action, { type: "startContainer" }>;

/** How the start of a container went. */
export type StartOutcome =
  | { readonly type: "started" }
  /** It cannot start now; `reason` and `message` are for its status. */
  | { readonly type: "refused"; readonly reason: string; readonly message: string; readonly retryAtMs: number }
  /** The runtime has it, and could not start it: it counts as one that ended. */
  | { readonly type: "failed"; readonly message: string }
  /** Its sandbox went away meanwhile: no fault of the container, a new sandbox comes next. */
  | { readonly type: "sandboxGone" };

export interface StartSettings {
  readonly context: WorkerContext;
  readonly observed: ObservedPod;
  readonly podIps: readonly string[];
  readonly volumes: PodVolumes;
  readonly files: ContainerFiles;
  readonly sources: EnvironmentSources;
  readonly graceSeconds: number;
  readonly report: ReportEvent;
  /** Breaks off pulls and hooks. */
  readonly signal: AbortSignal;
  /** The runtime has the container now: from here on its start counts. */
  onCreated(): void;
}

/** Gets the image, makes and starts a container, and runs its postStart hook. Throws only when the signal aborts. */
export async function startContainer(pod: Pod, action: StartAction, settings: StartSettings): Promise<StartOutcome> {
  const { context, files, report, signal } = settings;
  const { cri } = context;
  const { container, attempt, sandboxId } = action;
  let containerId: string;
  try {
    containerId = await createContainer(pod, action, settings);
  } catch (error) {
    if (signal.aborted) throw error;
    if (await sandboxEnded(cri, sandboxId)) return { type: "sandboxGone" };
    const message = (error as Error).message;
    if (error instanceof ImageError)
      return { type: "refused", reason: error.reason, message, retryAtMs: error.retryAtMs };
    const isConfig = error instanceof ContainerConfigError || error instanceof VolumeError;
    const reason = isConfig ? "CreateContainerConfigError" : "CreateContainerError";
    report("Warning", "Failed", `Error: ${message}`);
    return { type: "refused", reason, message, retryAtMs: context.clusterClock.now() + firstBackoffMs };
  }
  report("Normal", "Created", `Created container: ${container.name}`);
  settings.onCreated();
  try {
    await cri.startContainer(containerId);
  } catch (error) {
    if (await sandboxEnded(cri, sandboxId)) {
      await cri.removeContainer(containerId);
      return { type: "sandboxGone" };
    }
    report("Warning", "Failed", `Error: ${(error as Error).message}`);
    return { type: "failed", message: (error as Error).message };
  }
  report("Normal", "Started", `Started container ${container.name}`);
  void files.linkLog(pod, { name: container.name, attempt }, containerId).catch(() => {});
  await afterStart(containerId, action, settings);
  return { type: "started" };
}

/** The volumes of a container that are the files of an image. */
function imageVolumesOf(pod: Pod, container: AnyContainer): Volume[] {
  const mounted = new Set((container.volumeMounts ?? []).map(({ name }) => name));
  return (pod.spec!.volumes ?? []).filter((volume) => volume.image && mounted.has(volume.name));
}

async function createContainer(pod: Pod, action: StartAction, settings: StartSettings): Promise<string> {
  const { context, observed, volumes, files, podIps, sources, report, signal } = settings;
  const { container, attempt, sandboxId } = action;
  const dns = await context.dns();
  const sandbox = describeSandbox(pod, observed.sandboxes[0]?.attempt ?? 0, dns, context.logRoot);
  const image = await context.images.ensure(pod, container, sandbox, report, signal);
  verifyNonRoot(pod, container, { uid: image.uid?.value, username: image.username });
  const volumeImages = new Map<string, string>();
  for (const volume of imageVolumesOf(pod, container)) {
    const { reference, pullPolicy } = volume.image!;
    const wanted = { image: reference ?? "", ...(pullPolicy ? { imagePullPolicy: pullPolicy } : {}) };
    volumeImages.set(volume.name, (await context.images.ensure(pod, wanted, sandbox, report, signal)).id);
  }
  const environment = await containerEnvironment(pod, container, sources);
  const mounts = [
    ...(await volumes.mounts(pod, container, environment, volumeImages)),
    ...(await files.mounts(pod, container, attempt, { podIps, clusterDomain: dns.clusterDomain })),
  ];
  await files.prepareLog(pod, container);
  const target = "targetContainerName" in container ? container.targetContainerName : undefined;
  const config = containerConfig(pod, container, {
    attempt,
    imageRef: image.id,
    environment,
    mounts,
    memoryCapacityBytes: context.memoryCapacityBytes,
    targetContainerId: target ? latestContainer(observed, target)?.id : undefined,
  });
  return context.cri.createContainer(sandboxId, config, sandbox);
}

/** A container whose postStart hook fails is ended. */
async function afterStart(containerId: string, { container }: StartAction, settings: StartSettings): Promise<void> {
  const hook = container.lifecycle?.postStart;
  if (!hook) return;
  const { context, podIps, report, signal, graceSeconds } = settings;
  const { cri, ioClock: clock } = context;
  const target = { containerId, container, podIp: podIps[0] ?? "" };
  const options = { cri, clock, timeoutMs: Number.POSITIVE_INFINITY, signal, anyStatus: true };
  const { ok, output } = await runHandler(hook, target, options);
  if (ok || signal.aborted) return;
  report("Warning", "FailedPostStartHook", `PostStartHook failed: ${output}`);
  report("Normal", "Killing", "FailedPostStartHook");
  await cri.stopContainer(containerId, graceSeconds, signal);
}
