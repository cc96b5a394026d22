/**
 * The messages of the container runtime interface (runtime.v1) that the kubelet uses, as tables: field numbers are those
 * of k8s.io/cri-api 0.36. Windows' messages and the calls that containerd 2.1 does not answer are left out.
 */
import {
  bool,
  bytes,
  double,
  enumeration,
  int32,
  int64,
  type MessageInput,
  type MessageOutput,
  message,
  nested,
  repeated,
  string,
  stringMap,
  uint32,
  uint64,
} from "../../machinery/protobuf.ts";

const int64Value = message("Int64Value", { value: int64(1) });
const uint64Value = message("UInt64Value", { value: uint64(1) });

export const versionRequest = message("VersionRequest", { version: string(1) });
export const versionResponse = message("VersionResponse", {
  version: string(1),
  runtimeName: string(2),
  runtimeVersion: string(3),
  runtimeApiVersion: string(4),
});

const namespaceModes = ["POD", "CONTAINER", "NODE", "TARGET"] as const;
const idMapping = message("IDMapping", { hostId: uint32(1), containerId: uint32(2), length: uint32(3) });
const userNamespace = message("UserNamespace", {
  mode: enumeration(1, namespaceModes),
  uids: repeated(nested(2, idMapping)),
  gids: repeated(nested(3, idMapping)),
});
const namespaceOption = message("NamespaceOption", {
  network: enumeration(1, namespaceModes),
  pid: enumeration(2, namespaceModes),
  ipc: enumeration(3, namespaceModes),
  targetId: string(4),
  usernsOptions: nested(5, userNamespace),
});
const seLinuxOption = message("SELinuxOption", { user: string(1), role: string(2), type: string(3), level: string(4) });
const securityProfile = message("SecurityProfile", {
  profileType: enumeration(1, ["RuntimeDefault", "Unconfined", "Localhost"]),
  localhostRef: string(2),
});
const supplementalGroupsPolicies = ["Merge", "Strict"] as const;

const linuxContainerResources = message("LinuxContainerResources", {
  cpuPeriod: int64(1),
  cpuQuota: int64(2),
  cpuShares: int64(3),
  memoryLimitInBytes: int64(4),
  oomScoreAdj: int64(5),
  cpusetCpus: string(6),
  cpusetMems: string(7),
  hugepageLimits: repeated(nested(8, message("HugepageLimit", { pageSize: string(1), limit: uint64(2) }))),
  unified: stringMap(9),
  memorySwapLimitInBytes: int64(10),
});

const podSandboxMetadata = message("PodSandboxMetadata", {
  name: string(1),
  uid: string(2),
  namespace: string(3),
  attempt: uint32(4),
});
const linuxPodSandboxConfig = message("LinuxPodSandboxConfig", {
  cgroupParent: string(1),
  securityContext: nested(
    2,
    message("LinuxSandboxSecurityContext", {
      namespaceOptions: nested(1, namespaceOption),
      selinuxOptions: nested(2, seLinuxOption),
      runAsUser: nested(3, int64Value),
      readonlyRootfs: bool(4),
      supplementalGroups: repeated(int64(5)),
      privileged: bool(6),
      seccompProfilePath: string(7),
      runAsGroup: nested(8, int64Value),
      seccomp: nested(9, securityProfile),
      apparmor: nested(10, securityProfile),
      supplementalGroupsPolicy: enumeration(11, supplementalGroupsPolicies),
    }),
  ),
  sysctls: stringMap(3),
  overhead: nested(4, linuxContainerResources),
  resources: nested(5, linuxContainerResources),
});
export const podSandboxConfig = message("PodSandboxConfig", {
  metadata: nested(1, podSandboxMetadata),
  hostname: string(2),
  logDirectory: string(3),
  dnsConfig: nested(
    4,
    message("DNSConfig", { servers: repeated(string(1)), searches: repeated(string(2)), options: repeated(string(3)) }),
  ),
  portMappings: repeated(
    nested(
      5,
      message("PortMapping", {
        protocol: enumeration(1, ["TCP", "UDP", "SCTP"]),
        containerPort: int32(2),
        hostPort: int32(3),
        hostIp: string(4),
      }),
    ),
  ),
  labels: stringMap(6),
  annotations: stringMap(7),
  linux: nested(8, linuxPodSandboxConfig),
});
export const runPodSandboxRequest = message("RunPodSandboxRequest", {
  config: nested(1, podSandboxConfig),
  runtimeHandler: string(2),
});
export const runPodSandboxResponse = message("RunPodSandboxResponse", { podSandboxId: string(1) });
export const podSandboxIdRequest = message("PodSandboxIdRequest", { podSandboxId: string(1) });
export const podSandboxStatusRequest = message("PodSandboxStatusRequest", {
  podSandboxId: string(1),
  verbose: bool(2),
});
export const empty = message("Empty", {});

const sandboxStates = ["SANDBOX_READY", "SANDBOX_NOTREADY"] as const;
const podSandboxStatus = message("PodSandboxStatus", {
  id: string(1),
  metadata: nested(2, podSandboxMetadata),
  state: enumeration(3, sandboxStates),
  createdAt: int64(4),
  network: nested(
    5,
    message("PodSandboxNetworkStatus", {
      ip: string(1),
      additionalIps: repeated(nested(2, message("PodIP", { ip: string(1) }))),
    }),
  ),
  linux: nested(
    6,
    message("LinuxPodSandboxStatus", {
      namespaces: nested(1, message("Namespace", { options: nested(2, namespaceOption) })),
    }),
  ),
  labels: stringMap(7),
  annotations: stringMap(8),
  runtimeHandler: string(9),
});
const podSandbox = message("PodSandbox", {
  id: string(1),
  metadata: nested(2, podSandboxMetadata),
  state: enumeration(3, sandboxStates),
  createdAt: int64(4),
  labels: stringMap(5),
  annotations: stringMap(6),
  runtimeHandler: string(7),
});
export const listPodSandboxRequest = message("ListPodSandboxRequest", {
  filter: nested(
    1,
    message("PodSandboxFilter", {
      id: string(1),
      state: nested(2, message("PodSandboxStateValue", { state: enumeration(1, sandboxStates) })),
      labelSelector: stringMap(3),
    }),
  ),
});
export const listPodSandboxResponse = message("ListPodSandboxResponse", { items: repeated(nested(1, podSandbox)) });

const imageSpec = message("ImageSpec", {
  image: string(1),
  annotations: stringMap(2),
  userSpecifiedImage: string(18),
  runtimeHandler: string(19),
  imageRef: string(20),
});
const mount = message("Mount", {
  containerPath: string(1),
  hostPath: string(2),
  readonly: bool(3),
  selinuxRelabel: bool(4),
  propagation: enumeration(5, ["PROPAGATION_PRIVATE", "PROPAGATION_HOST_TO_CONTAINER", "PROPAGATION_BIDIRECTIONAL"]),
  uidMappings: repeated(nested(6, idMapping)),
  gidMappings: repeated(nested(7, idMapping)),
  recursiveReadOnly: bool(8),
  image: nested(9, imageSpec),
  imageSubPath: string(10),
});
const containerMetadata = message("ContainerMetadata", { name: string(1), attempt: uint32(2) });
const linuxContainerSecurityContext = message("LinuxContainerSecurityContext", {
  capabilities: nested(
    1,
    message("Capability", {
      addCapabilities: repeated(string(1)),
      dropCapabilities: repeated(string(2)),
      addAmbientCapabilities: repeated(string(3)),
    }),
  ),
  privileged: bool(2),
  namespaceOptions: nested(3, namespaceOption),
  selinuxOptions: nested(4, seLinuxOption),
  runAsUser: nested(5, int64Value),
  runAsUsername: string(6),
  readonlyRootfs: bool(7),
  supplementalGroups: repeated(int64(8)),
  apparmorProfile: string(9),
  seccompProfilePath: string(10),
  noNewPrivs: bool(11),
  runAsGroup: nested(12, int64Value),
  maskedPaths: repeated(string(13)),
  readonlyPaths: repeated(string(14)),
  seccomp: nested(15, securityProfile),
  apparmor: nested(16, securityProfile),
  supplementalGroupsPolicy: enumeration(17, supplementalGroupsPolicies),
});
export const containerConfig = message("ContainerConfig", {
  metadata: nested(1, containerMetadata),
  image: nested(2, imageSpec),
  command: repeated(string(3)),
  args: repeated(string(4)),
  workingDir: string(5),
  envs: repeated(nested(6, message("KeyValue", { key: string(1), value: bytes(2) }))),
  mounts: repeated(nested(7, mount)),
  devices: repeated(
    nested(8, message("Device", { containerPath: string(1), hostPath: string(2), permissions: string(3) })),
  ),
  labels: stringMap(9),
  annotations: stringMap(10),
  logPath: string(11),
  stdin: bool(12),
  stdinOnce: bool(13),
  tty: bool(14),
  linux: nested(
    15,
    message("LinuxContainerConfig", {
      resources: nested(1, linuxContainerResources),
      securityContext: nested(2, linuxContainerSecurityContext),
    }),
  ),
  stopSignal: int32(18),
});
export const createContainerRequest = message("CreateContainerRequest", {
  podSandboxId: string(1),
  config: nested(2, containerConfig),
  sandboxConfig: nested(3, podSandboxConfig),
});
export const createContainerResponse = message("CreateContainerResponse", { containerId: string(1) });
export const containerIdRequest = message("ContainerIdRequest", { containerId: string(1) });
export const stopContainerRequest = message("StopContainerRequest", { containerId: string(1), timeout: int64(2) });

const containerStates = ["CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED", "CONTAINER_UNKNOWN"] as const;
const container = message("Container", {
  id: string(1),
  podSandboxId: string(2),
  metadata: nested(3, containerMetadata),
  image: nested(4, imageSpec),
  imageRef: string(5),
  state: enumeration(6, containerStates),
  createdAt: int64(7),
  labels: stringMap(8),
  annotations: stringMap(9),
  imageId: string(10),
});
export const listContainersRequest = message("ListContainersRequest", {
  filter: nested(
    1,
    message("ContainerFilter", {
      id: string(1),
      state: nested(2, message("ContainerStateValue", { state: enumeration(1, containerStates) })),
      podSandboxId: string(3),
      labelSelector: stringMap(4),
    }),
  ),
});
export const listContainersResponse = message("ListContainersResponse", {
  containers: repeated(nested(1, container)),
});
export const containerStatusRequest = message("ContainerStatusRequest", { containerId: string(1), verbose: bool(2) });
const containerStatus = message("ContainerStatus", {
  id: string(1),
  metadata: nested(2, containerMetadata),
  state: enumeration(3, containerStates),
  createdAt: int64(4),
  startedAt: int64(5),
  finishedAt: int64(6),
  exitCode: int32(7),
  image: nested(8, imageSpec),
  imageRef: string(9),
  reason: string(10),
  message: string(11),
  labels: stringMap(12),
  annotations: stringMap(13),
  mounts: repeated(nested(14, mount)),
  logPath: string(15),
  resources: nested(16, message("ContainerResources", { linux: nested(1, linuxContainerResources) })),
  imageId: string(17),
  user: nested(
    18,
    message("ContainerUser", {
      linux: nested(
        1,
        message("LinuxContainerUser", { uid: int64(1), gid: int64(2), supplementalGroups: repeated(int64(3)) }),
      ),
    }),
  ),
  stopSignal: int32(19),
});
export const containerStatusResponse = message("ContainerStatusResponse", {
  status: nested(1, containerStatus),
  info: stringMap(2),
});
export const podSandboxStatusResponse = message("PodSandboxStatusResponse", {
  status: nested(1, podSandboxStatus),
  info: stringMap(2),
  containersStatuses: repeated(nested(3, containerStatus)),
  timestamp: int64(4),
});
export const updateContainerResourcesRequest = message("UpdateContainerResourcesRequest", {
  containerId: string(1),
  linux: nested(2, linuxContainerResources),
  annotations: stringMap(4),
});

export const execSyncRequest = message("ExecSyncRequest", {
  containerId: string(1),
  cmd: repeated(string(2)),
  timeout: int64(3),
});
export const execSyncResponse = message("ExecSyncResponse", { stdout: bytes(1), stderr: bytes(2), exitCode: int32(3) });
export const execRequest = message("ExecRequest", {
  containerId: string(1),
  cmd: repeated(string(2)),
  tty: bool(3),
  stdin: bool(4),
  stdout: bool(5),
  stderr: bool(6),
});
export const attachRequest = message("AttachRequest", {
  containerId: string(1),
  stdin: bool(2),
  tty: bool(3),
  stdout: bool(4),
  stderr: bool(5),
});
export const portForwardRequest = message("PortForwardRequest", { podSandboxId: string(1), port: repeated(int32(2)) });
export const streamingUrlResponse = message("StreamingUrlResponse", { url: string(1) });

const image = message("Image", {
  id: string(1),
  repoTags: repeated(string(2)),
  repoDigests: repeated(string(3)),
  size: uint64(4),
  uid: nested(5, int64Value),
  username: string(6),
  spec: nested(7, imageSpec),
  pinned: bool(8),
});
export const listImagesRequest = message("ListImagesRequest", {
  filter: nested(1, message("ImageFilter", { image: nested(1, imageSpec) })),
});
export const listImagesResponse = message("ListImagesResponse", { images: repeated(nested(1, image)) });
export const imageStatusRequest = message("ImageStatusRequest", { image: nested(1, imageSpec), verbose: bool(2) });
export const imageStatusResponse = message("ImageStatusResponse", { image: nested(1, image), info: stringMap(2) });
export const pullImageRequest = message("PullImageRequest", {
  image: nested(1, imageSpec),
  auth: nested(
    2,
    message("AuthConfig", {
      username: string(1),
      password: string(2),
      auth: string(3),
      serverAddress: string(4),
      identityToken: string(5),
      registryToken: string(6),
    }),
  ),
  sandboxConfig: nested(3, podSandboxConfig),
});
export const pullImageResponse = message("PullImageResponse", { imageRef: string(1) });
export const removeImageRequest = message("RemoveImageRequest", { image: nested(1, imageSpec) });

export const statusRequest = message("StatusRequest", { verbose: bool(1) });
export const statusResponse = message("StatusResponse", {
  status: nested(
    1,
    message("RuntimeStatus", {
      conditions: repeated(
        nested(
          1,
          message("RuntimeCondition", { type: string(1), status: bool(2), reason: string(3), message: string(4) }),
        ),
      ),
    }),
  ),
  info: stringMap(2),
  runtimeHandlers: repeated(
    nested(
      3,
      message("RuntimeHandler", {
        name: string(1),
        features: nested(
          2,
          message("RuntimeHandlerFeatures", { recursiveReadOnlyMounts: bool(1), userNamespaces: bool(2) }),
        ),
      }),
    ),
  ),
  features: nested(
    4,
    message("RuntimeFeatures", { supplementalGroupsPolicy: bool(1), userNamespacesHostNetwork: bool(2) }),
  ),
});

const filesystemUsage = message("FilesystemUsage", {
  timestamp: int64(1),
  fsId: nested(2, message("FilesystemIdentifier", { mountpoint: string(1) })),
  usedBytes: nested(3, uint64Value),
  inodesUsed: nested(4, uint64Value),
});
export const imageFsInfoResponse = message("ImageFsInfoResponse", {
  imageFilesystems: repeated(nested(1, filesystemUsage)),
  containerFilesystems: repeated(nested(2, filesystemUsage)),
});
const psiData = message("PsiData", { total: uint64(1), avg10: double(2), avg60: double(3), avg300: double(4) });
const psiStats = message("PsiStats", { full: nested(1, psiData), some: nested(2, psiData) });
const cpuUsage = message("CpuUsage", {
  timestamp: int64(1),
  usageCoreNanoSeconds: nested(2, uint64Value),
  usageNanoCores: nested(3, uint64Value),
  psi: nested(4, psiStats),
});
const memoryUsage = message("MemoryUsage", {
  timestamp: int64(1),
  workingSetBytes: nested(2, uint64Value),
  availableBytes: nested(3, uint64Value),
  usageBytes: nested(4, uint64Value),
  rssBytes: nested(5, uint64Value),
  pageFaults: nested(6, uint64Value),
  majorPageFaults: nested(7, uint64Value),
  psi: nested(8, psiStats),
});
const containerStats = message("ContainerStats", {
  attributes: nested(
    1,
    message("ContainerAttributes", {
      id: string(1),
      metadata: nested(2, containerMetadata),
      labels: stringMap(3),
      annotations: stringMap(4),
    }),
  ),
  cpu: nested(2, cpuUsage),
  memory: nested(3, memoryUsage),
  writableLayer: nested(4, filesystemUsage),
});
export const listContainerStatsRequest = message("ListContainerStatsRequest", {
  filter: nested(
    1,
    message("ContainerStatsFilter", { id: string(1), podSandboxId: string(2), labelSelector: stringMap(3) }),
  ),
});
export const listContainerStatsResponse = message("ListContainerStatsResponse", {
  stats: repeated(nested(1, containerStats)),
});
const interfaceUsage = message("NetworkInterfaceUsage", {
  name: string(1),
  rxBytes: nested(2, uint64Value),
  rxErrors: nested(3, uint64Value),
  txBytes: nested(4, uint64Value),
  txErrors: nested(5, uint64Value),
});
const podSandboxStats = message("PodSandboxStats", {
  attributes: nested(
    1,
    message("PodSandboxAttributes", {
      id: string(1),
      metadata: nested(2, podSandboxMetadata),
      labels: stringMap(3),
      annotations: stringMap(4),
    }),
  ),
  linux: nested(
    2,
    message("LinuxPodSandboxStats", {
      cpu: nested(1, cpuUsage),
      memory: nested(2, memoryUsage),
      network: nested(
        3,
        message("NetworkUsage", {
          timestamp: int64(1),
          defaultInterface: nested(2, interfaceUsage),
          interfaces: repeated(nested(3, interfaceUsage)),
        }),
      ),
      process: nested(4, message("ProcessUsage", { timestamp: int64(1), processCount: nested(2, uint64Value) })),
      containers: repeated(nested(5, containerStats)),
    }),
  ),
});
export const listPodSandboxStatsResponse = message("ListPodSandboxStatsResponse", {
  stats: repeated(nested(1, podSandboxStats)),
});
export const containerEventResponse = message("ContainerEventResponse", {
  containerId: string(1),
  containerEventType: enumeration(2, [
    "CONTAINER_CREATED_EVENT",
    "CONTAINER_STARTED_EVENT",
    "CONTAINER_STOPPED_EVENT",
    "CONTAINER_DELETED_EVENT",
  ]),
  createdAt: int64(3),
  podSandboxStatus: nested(4, podSandboxStatus),
  containersStatuses: repeated(nested(5, containerStatus)),
});
export const runtimeConfigResponse = message("RuntimeConfigResponse", {
  linux: nested(1, message("LinuxRuntimeConfiguration", { cgroupDriver: enumeration(1, ["SYSTEMD", "CGROUPFS"]) })),
});

export type PodSandboxConfig = MessageInput<typeof podSandboxConfig>;
export type PodSandbox = MessageOutput<typeof podSandbox>;
export type PodSandboxStatus = MessageOutput<typeof podSandboxStatus>;
export type PodSandboxStatusReply = MessageOutput<typeof podSandboxStatusResponse>;
export type ContainerConfig = MessageInput<typeof containerConfig>;
export type Container = MessageOutput<typeof container>;
export type ContainerStatus = MessageOutput<typeof containerStatus>;
export type ContainerState = ContainerStatus["state"];
export type ContainerEvent = MessageOutput<typeof containerEventResponse>;
export type ContainerResources = MessageInput<typeof linuxContainerResources>;
export type Mount = MessageInput<typeof mount>;
export type Image = MessageOutput<typeof image>;
export type ContainerStats = MessageOutput<typeof containerStats>;
export type PodSandboxStats = MessageOutput<typeof podSandboxStats>;
export type RuntimeStatus = MessageOutput<typeof statusResponse>;
