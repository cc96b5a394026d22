import type { Clock } from "../../machinery/clock.ts";
import type { Message, MessageInput, MessageOutput } from "../../machinery/protobuf.ts";
import { type CallOptions, GrpcClient } from "../../rpc/grpc-client.ts";
import * as m from "./cri-messages.ts";

/** How long an ordinary call may take (the kubelet's runtime request timeout). */
const callTimeoutMs = 120_000;

/**
 * The container runtime interface as typed calls. Every call rejects with a GrpcError: NOT_FOUND for an unknown id,
 * UNAVAILABLE while containerd is away (the next call connects again).
 */
export interface Cri {
  version(): Promise<MessageOutput<typeof m.versionResponse>>;
  status(verbose?: boolean): Promise<m.RuntimeStatus>;
  runPodSandbox(config: m.PodSandboxConfig, runtimeHandler?: string): Promise<string>;
  stopPodSandbox(id: string): Promise<void>;
  removePodSandbox(id: string): Promise<void>;
  podSandboxStatus(id: string, verbose?: boolean): Promise<m.PodSandboxStatusReply>;
  listPodSandboxes(labelSelector?: Readonly<Record<string, string>>): Promise<m.PodSandbox[]>;
  createContainer(sandboxId: string, config: m.ContainerConfig, sandboxConfig: m.PodSandboxConfig): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** Sends the stop signal and, after `timeoutSeconds`, SIGKILL. Returns when the container has ended. */
  stopContainer(id: string, timeoutSeconds: number, signal?: AbortSignal): Promise<void>;
  removeContainer(id: string): Promise<void>;
  listContainers(labelSelector?: Readonly<Record<string, string>>): Promise<m.Container[]>;
  containerStatus(id: string): Promise<m.ContainerStatus>;
  /** With the runtime's own details (process id, OCI spec) in `info`. */
  inspectContainer(id: string): Promise<MessageOutput<typeof m.containerStatusResponse>>;
  updateContainerResources(id: string, linux: m.ContainerResources): Promise<void>;
  reopenContainerLog(id: string): Promise<void>;
  /** Runs a command to its end. DEADLINE_EXCEEDED when it takes longer than `timeoutSeconds` (0: no limit). */
  execSync(
    id: string,
    command: readonly string[],
    timeoutSeconds: number,
    signal?: AbortSignal,
  ): Promise<MessageOutput<typeof m.execSyncResponse>>;
  /** URL on the runtime's streaming server. */
  exec(request: MessageInput<typeof m.execRequest>): Promise<string>;
  attach(request: MessageInput<typeof m.attachRequest>): Promise<string>;
  portForward(request: MessageInput<typeof m.portForwardRequest>): Promise<string>;
  listContainerStats(): Promise<m.ContainerStats[]>;
  listPodSandboxStats(): Promise<m.PodSandboxStats[]>;
  /** What happens to containers from now on; ends with an error when the connection breaks or `signal` aborts. */
  containerEvents(signal: AbortSignal): AsyncIterable<m.ContainerEvent>;
  listImages(): Promise<m.Image[]>;
  /** `undefined` when the image is not there. */
  imageStatus(image: string): Promise<m.Image | undefined>;
  imageInfo(image: string): Promise<MessageOutput<typeof m.imageStatusResponse>>;
  /** Returns the image's reference (its id). No deadline: pulls take what they take. */
  pullImage(request: MessageInput<typeof m.pullImageRequest>, signal?: AbortSignal): Promise<string>;
  removeImage(image: string): Promise<void>;
  imageFsInfo(): Promise<MessageOutput<typeof m.imageFsInfoResponse>>;
  close(): void;
}

/** Connects to a runtime's socket at the first call. */
export function createCri(socketPath: string, options: { clock?: Clock } = {}): Cri {
  const grpc = new GrpcClient({ socketPath }, options);
  const ordinary: CallOptions = { timeoutMs: callTimeoutMs };
  const method =
    (service: string) =>
    <Req extends Message, Res extends Message>(name: string, request: Req, response: Res) => {
      const descriptor = { path: `/runtime.v1.${service}/${name}`, request, response };
      return (body: MessageInput<Req>, callOptions: CallOptions = ordinary) =>
        grpc.unary(descriptor, body, callOptions);
    };
  const runtime = method("RuntimeService");
  const images = method("ImageService");

  const version = runtime("Version", m.versionRequest, m.versionResponse);
  const status = runtime("Status", m.statusRequest, m.statusResponse);
  const runPodSandbox = runtime("RunPodSandbox", m.runPodSandboxRequest, m.runPodSandboxResponse);
  const stopPodSandbox = runtime("StopPodSandbox", m.podSandboxIdRequest, m.empty);
  const removePodSandbox = runtime("RemovePodSandbox", m.podSandboxIdRequest, m.empty);
  const podSandboxStatus = runtime("PodSandboxStatus", m.podSandboxStatusRequest, m.podSandboxStatusResponse);
  const listPodSandbox = runtime("ListPodSandbox", m.listPodSandboxRequest, m.listPodSandboxResponse);
  const createContainer = runtime("CreateContainer", m.createContainerRequest, m.createContainerResponse);
  const startContainer = runtime("StartContainer", m.containerIdRequest, m.empty);
  const stopContainer = runtime("StopContainer", m.stopContainerRequest, m.empty);
  const removeContainer = runtime("RemoveContainer", m.containerIdRequest, m.empty);
  const listContainers = runtime("ListContainers", m.listContainersRequest, m.listContainersResponse);
  const containerStatus = runtime("ContainerStatus", m.containerStatusRequest, m.containerStatusResponse);
  const updateResources = runtime("UpdateContainerResources", m.updateContainerResourcesRequest, m.empty);
  const reopenContainerLog = runtime("ReopenContainerLog", m.containerIdRequest, m.empty);
  const execSync = runtime("ExecSync", m.execSyncRequest, m.execSyncResponse);
  const exec = runtime("Exec", m.execRequest, m.streamingUrlResponse);
  const attach = runtime("Attach", m.attachRequest, m.streamingUrlResponse);
  const portForward = runtime("PortForward", m.portForwardRequest, m.streamingUrlResponse);
  const listContainerStats = runtime("ListContainerStats", m.listContainerStatsRequest, m.listContainerStatsResponse);
  const listPodSandboxStats = runtime("ListPodSandboxStats", m.empty, m.listPodSandboxStatsResponse);
  const listImages = images("ListImages", m.listImagesRequest, m.listImagesResponse);
  const imageStatus = images("ImageStatus", m.imageStatusRequest, m.imageStatusResponse);
  const pullImage = images("PullImage", m.pullImageRequest, m.pullImageResponse);
  const removeImage = images("RemoveImage", m.removeImageRequest, m.empty);
  const imageFsInfo = images("ImageFsInfo", m.empty, m.imageFsInfoResponse);

  return {
    version: () => version({ version: "v1" }),
    status: (verbose = false) => status({ verbose }),
    runPodSandbox: async (config, runtimeHandler = "") =>
      (await runPodSandbox({ config, runtimeHandler }, { timeoutMs: 2 * callTimeoutMs })).podSandboxId,
    stopPodSandbox: async (podSandboxId) => void (await stopPodSandbox({ podSandboxId })),
    removePodSandbox: async (podSandboxId) => void (await removePodSandbox({ podSandboxId })),
    podSandboxStatus: (podSandboxId, verbose = false) => podSandboxStatus({ podSandboxId, verbose }),
    listPodSandboxes: async (labelSelector) => (await listPodSandbox({ filter: { labelSelector } })).items,
    createContainer: async (podSandboxId, config, sandboxConfig) =>
      (await createContainer({ podSandboxId, config, sandboxConfig })).containerId,
    startContainer: async (containerId) => void (await startContainer({ containerId })),
    stopContainer: async (containerId, timeoutSeconds, signal) => {
      const timeoutMs = callTimeoutMs + timeoutSeconds * 1000;
      await stopContainer({ containerId, timeout: timeoutSeconds }, { timeoutMs, ...(signal ? { signal } : {}) });
    },
    removeContainer: async (containerId) => void (await removeContainer({ containerId })),
    listContainers: async (labelSelector) => (await listContainers({ filter: { labelSelector } })).containers,
    containerStatus: async (containerId) => {
      const reply = await containerStatus({ containerId });
      if (!reply.status) throw new Error(`container ${containerId}: the runtime sent no status`);
      return reply.status;
    },
    inspectContainer: (containerId) => containerStatus({ containerId, verbose: true }),
    updateContainerResources: async (containerId, linux) => void (await updateResources({ containerId, linux })),
    reopenContainerLog: async (containerId) => void (await reopenContainerLog({ containerId })),
    execSync: (containerId, cmd, timeout, signal) =>
      execSync(
        { containerId, cmd, timeout },
        { ...(timeout > 0 ? { timeoutMs: timeout * 1000 + 10_000 } : {}), ...(signal ? { signal } : {}) },
      ),
    exec: async (request) => (await exec(request)).url,
    attach: async (request) => (await attach(request)).url,
    portForward: async (request) => (await portForward(request)).url,
    listContainerStats: async () => (await listContainerStats({})).stats,
    listPodSandboxStats: async () => (await listPodSandboxStats({})).stats,
    containerEvents: (signal) =>
      grpc.stream(
        { path: "/runtime.v1.RuntimeService/GetContainerEvents", request: m.empty, response: m.containerEventResponse },
        {},
        { signal },
      ),
    listImages: async () => (await listImages({})).images,
    imageStatus: async (image) => (await imageStatus({ image: { image } })).image,
    imageInfo: (image) => imageStatus({ image: { image }, verbose: true }),
    pullImage: async (request, signal) => (await pullImage(request, signal ? { signal } : {})).imageRef,
    removeImage: async (image) => void (await removeImage({ image: { image } })),
    imageFsInfo: () => imageFsInfo({}),
    close: () => grpc.close(),
  };
}
