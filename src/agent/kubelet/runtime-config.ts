import { createHash } from "node:crypto";
import { isIP } from "node:net";
import type { Pod } from "../../api/generated/core-v1.ts";
import type { ContainerConfig, Mount, PodSandboxConfig } from "../containerd/cri-messages.ts";
import { type DnsConfig, podHostname } from "./dns-config.ts";
import { ContainerConfigError, expand } from "./environment.ts";
import { type AnyContainer, isSidecar, uidOf } from "./pod-facts.ts";
import { linuxResources } from "./resources.ts";

/** Labels by which sandboxes and containers are found again (also by other tools on the node). */
export const runtimeLabels = {
  podName: "io.kubernetes.pod.name",
  podNamespace: "io.kubernetes.pod.namespace",
  podUid: "io.kubernetes.pod.uid",
  containerName: "io.kubernetes.container.name",
} as const;

export const runtimeAnnotations = {
  hash: "io.kubernetes.container.hash",
  restartCount: "io.kubernetes.container.restartCount",
  terminationMessagePath: "io.kubernetes.container.terminationMessagePath",
  terminationMessagePolicy: "io.kubernetes.container.terminationMessagePolicy",
  gracePeriod: "io.kubernetes.pod.terminationGracePeriod",
  preStop: "io.kubernetes.container.preStopHandler",
  configSource: "kubernetes.io/config.source",
} as const;

/** Parts of /proc and /sys that a container that is not privileged must not see, and must not write. */
const maskedPaths = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Changes when a container has to be made anew: with its name and image. */
export function containerHash(container: AnyContainer): string {
  return createHash("sha256")
    .update(JSON.stringify([container.name, container.image]))
    .digest("hex")
    .slice(0, 8);
}

/** Where a pod's logs are. */
export function podLogDirectory(pod: Pod, logRoot = "/var/log/pods"): string {
  return `${logRoot}/${pod.metadata.namespace}_${pod.metadata.name}_${uidOf(pod)}`;
}

function namespaceOptions(pod: Pod, targetId?: string) {
  const spec = pod.spec!;
  return {
    network: spec.hostNetwork ? ("NODE" as const) : ("POD" as const),
    ipc: spec.hostIPC ? ("NODE" as const) : ("POD" as const),
    pid: spec.hostPID
      ? ("NODE" as const)
      : spec.shareProcessNamespace
        ? ("POD" as const)
        : targetId
          ? ("TARGET" as const)
          : ("CONTAINER" as const),
    ...(targetId && !spec.hostPID && !spec.shareProcessNamespace ? { targetId } : {}),
  };
}

function seccomp(pod: Pod, container?: AnyContainer) {
  const profile = container?.securityContext?.seccompProfile ?? pod.spec!.securityContext?.seccompProfile;
  if (container?.securityContext?.privileged || !profile || profile.type === "Unconfined")
    return { profileType: "Unconfined" as const };
  if (profile.type === "RuntimeDefault") return { profileType: "RuntimeDefault" as const };
  return {
    profileType: "Localhost" as const,
    localhostRef: `/var/lib/kubelet/seccomp/${profile.localhostProfile ?? ""}`,
  };
}

/** The sandbox of a pod. `attempt` counts the sandboxes that the pod has had. */
export function sandboxConfig(
  pod: Pod,
  attempt: number,
  settings: { readonly dns: DnsConfig; readonly clusterDomain: string },
): PodSandboxConfig {
  const spec = pod.spec!;
  const security = spec.securityContext ?? {};
  const { hostname, domain } = podHostname(pod, settings.clusterDomain);
  const fullName = spec.setHostnameAsFQDN && domain ? `${hostname}.${domain}` : hostname;
  return {
    metadata: { name: pod.metadata.name, namespace: pod.metadata.namespace, uid: uidOf(pod), attempt },
    hostname: spec.hostNetwork ? "" : fullName,
    logDirectory: podLogDirectory(pod),
    dnsConfig: settings.dns,
    portMappings: spec.hostNetwork
      ? []
      : [...spec.containers, ...(spec.initContainers ?? []).filter(isSidecar)].flatMap((container) =>
          (container.ports ?? [])
            .filter((port) => port.hostPort)
            .map((port) => ({
              protocol: (port.protocol ?? "TCP") as "TCP",
              containerPort: port.containerPort,
              hostPort: port.hostPort,
              hostIp: port.hostIP ?? "",
            })),
        ),
    labels: {
      ...pod.metadata.labels,
      [runtimeLabels.podName]: pod.metadata.name ?? "",
      [runtimeLabels.podNamespace]: pod.metadata.namespace ?? "",
      [runtimeLabels.podUid]: uidOf(pod),
    },
    annotations: { ...pod.metadata.annotations },
    linux: {
      sysctls: Object.fromEntries((security.sysctls ?? []).map(({ name, value }) => [name, value])),
      securityContext: {
        namespaceOptions: namespaceOptions(pod),
        privileged: [...spec.containers, ...(spec.initContainers ?? [])].some(
          (container) => container.securityContext?.privileged === true,
        ),
        supplementalGroups: [
          ...(security.fsGroup === undefined ? [] : [security.fsGroup]),
          ...(security.supplementalGroups ?? []),
        ],
        seccomp: { profileType: "RuntimeDefault" },
      },
    },
  };
}

/** What of an image decides how a container runs. */
export interface ImageUser {
  readonly uid?: number | undefined;
  readonly username?: string | undefined;
}

/** Checks runAsNonRoot; throws what users see. */
export function verifyNonRoot(pod: Pod, container: AnyContainer, image: ImageUser): void {
  const wanted = container.securityContext?.runAsNonRoot ?? pod.spec!.securityContext?.runAsNonRoot;
  if (!wanted) return;
  const user = container.securityContext?.runAsUser ?? pod.spec!.securityContext?.runAsUser;
  const subject = `(pod: "${pod.metadata.name}_${pod.metadata.namespace}(${uidOf(pod)})", container: ${container.name})`;
  if (user !== undefined) {
    if (user === 0) throw new ContainerConfigError(`container's runAsUser breaks non-root policy ${subject}`);
    return;
  }
  if (image.uid === undefined && image.username)
    throw new ContainerConfigError(
      `container has runAsNonRoot and image has non-numeric user (${image.username}), cannot verify user is non-root ${subject}`,
    );
  if (!image.uid) throw new ContainerConfigError(`container has runAsNonRoot and image will run as root ${subject}`);
}

function capability(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, "");
}

/** A container as the runtime takes it. */
export function containerConfig(
  pod: Pod,
  container: AnyContainer,
  facts: {
    readonly attempt: number;
    readonly imageRef: string;
    readonly environment: ReadonlyMap<string, string>;
    readonly mounts: readonly Mount[];
    readonly memoryCapacityBytes: number;
    readonly targetContainerId?: string | undefined;
    /** Character and block devices of the host for privileged containers come from the runtime. */
  },
): ContainerConfig {
  const security = container.securityContext ?? {};
  const podSecurity = pod.spec!.securityContext ?? {};
  const privileged = security.privileged === true;
  const runAsUser = security.runAsUser ?? podSecurity.runAsUser;
  const runAsGroup = security.runAsGroup ?? podSecurity.runAsGroup;
  const noNewPrivs = security.allowPrivilegeEscalation === false;
  const unmasked = privileged || security.procMount === "Unmasked";
  return {
    metadata: { name: container.name, attempt: facts.attempt },
    image: { image: facts.imageRef, userSpecifiedImage: container.image },
    command: (container.command ?? []).map((part) => expand(part, facts.environment)),
    args: (container.args ?? []).map((part) => expand(part, facts.environment)),
    workingDir: container.workingDir,
    envs: [...facts.environment].map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts: facts.mounts,
    labels: {
      [runtimeLabels.podName]: pod.metadata.name ?? "",
      [runtimeLabels.podNamespace]: pod.metadata.namespace ?? "",
      [runtimeLabels.podUid]: uidOf(pod),
      [runtimeLabels.containerName]: container.name,
    },
    annotations: {
      [runtimeAnnotations.hash]: containerHash(container),
      [runtimeAnnotations.restartCount]: String(facts.attempt),
      [runtimeAnnotations.terminationMessagePath]: container.terminationMessagePath ?? "/dev/termination-log",
      [runtimeAnnotations.terminationMessagePolicy]: container.terminationMessagePolicy ?? "File",
      [runtimeAnnotations.gracePeriod]: String(pod.spec!.terminationGracePeriodSeconds ?? 30),
    },
    logPath: `${container.name}/${facts.attempt}.log`,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    linux: {
      resources: linuxResources(pod, container, facts.memoryCapacityBytes),
      securityContext: {
        capabilities: {
          addCapabilities: (security.capabilities?.add ?? []).map(capability),
          dropCapabilities: (security.capabilities?.drop ?? []).map(capability),
        },
        privileged,
        namespaceOptions: namespaceOptions(pod, facts.targetContainerId),
        ...(runAsUser === undefined ? {} : { runAsUser: { value: runAsUser } }),
        ...(runAsGroup === undefined ? {} : { runAsGroup: { value: runAsGroup } }),
        readonlyRootfs: security.readOnlyRootFilesystem ?? false,
        supplementalGroups: [
          ...(podSecurity.fsGroup === undefined ? [] : [podSecurity.fsGroup]),
          ...(podSecurity.supplementalGroups ?? []),
        ],
        supplementalGroupsPolicy: podSecurity.supplementalGroupsPolicy === "Strict" ? "Strict" : "Merge",
        noNewPrivs,
        maskedPaths: unmasked ? [] : maskedPaths,
        readonlyPaths: unmasked ? [] : readonlyPaths,
        seccomp: seccomp(pod, container),
      },
    },
  };
}

/** Host for URLs and dials: IPv6 addresses stand in brackets. */
export function hostInUrl(address: string): string {
  return isIP(address) === 6 ? `[${address}]` : address;
}
