/** Checks of what reaches from a pod to its node: namespaces, ports, processes, probes of other hosts, sysctls, /proc. */
import type { Container, Probe } from "../../../api/generated/core-v1.ts";
import {
  badContainers,
  containersOf,
  inUserNamespace,
  named,
  type PodCheck,
  plural,
  quoted,
  setters,
  sortedSet,
} from "./check.ts";

export const hostNamespaces: PodCheck = ({ spec }) => {
  const shared = (["hostNetwork", "hostPID", "hostIPC"] as const).filter((field) => spec[field]);
  if (shared.length === 0) return undefined;
  return { reason: "host namespaces", detail: shared.map((field) => `${field}=true`).join(", ") };
};

export const hostPorts: PodCheck = ({ spec }) => {
  const portsOf = ({ ports = [] }: Container) => ports.flatMap(({ hostPort }) => (hostPort ? [String(hostPort)] : []));
  const bad = badContainers(spec, (container) => portsOf(container).length > 0);
  if (bad.length === 0) return undefined;
  const ports = sortedSet(containersOf(spec).flatMap(portsOf));
  const uses = bad.length === 1 ? "uses" : "use";
  return {
    reason: "hostPort",
    detail: `${named("container", bad)} ${uses} ${plural("hostPort", ports.length)} ${ports.join(", ")}`,
  };
};

type Handler = Pick<Probe, "httpGet" | "tcpSocket">;

function hostsOf(container: Container): string[] {
  const { livenessProbe, readinessProbe, startupProbe, lifecycle } = container;
  const handlers: (Handler | undefined)[] = [
    livenessProbe,
    readinessProbe,
    startupProbe,
    lifecycle?.postStart,
    lifecycle?.preStop,
  ];
  return handlers
    .flatMap((one) => [one?.httpGet?.host ?? "", one?.tcpSocket?.host ?? ""])
    .filter((host) => host !== "");
}

/** The kubelet would send requests for the pod to any host that it reaches. */
export const hostProbes: PodCheck = ({ spec }) => {
  const bad = sortedSet(badContainers(spec, (container) => hostsOf(container).length > 0));
  if (bad.length === 0) return undefined;
  const hosts = sortedSet(containersOf(spec).flatMap(hostsOf));
  const uses = bad.length === 1 ? "uses" : "use";
  return {
    reason: "probe or lifecycle host",
    detail: `${named("container", bad)} ${uses} ${named("probe or lifecycle host", hosts)}`,
  };
};

export const windowsHostProcess: PodCheck = ({ spec }) => {
  const pod = spec.securityContext?.windowsOptions?.hostProcess === true;
  const containers = badContainers(spec, (one) => one.securityContext?.windowsOptions?.hostProcess === true);
  const who = setters(pod, containers);
  if (!who) return undefined;
  return { reason: "hostProcess", detail: `${who} must not set securityContext.windowsOptions.hostProcess=true` };
};

export const procMount: PodCheck = ({ spec }) => {
  const bad = containersOf(spec).filter(
    ({ securityContext }) => (securityContext?.procMount ?? "Default") !== "Default",
  );
  if (bad.length === 0) return undefined;
  const types = sortedSet(bad.map((one) => one.securityContext!.procMount!));
  const who = named(
    "container",
    bad.map(({ name }) => name),
  );
  return { reason: "procMount", detail: `${who} must not set securityContext.procMount to ${quoted(types)}` };
};

export const procMountOnHost: PodCheck = (pod) => (inUserNamespace(pod.spec) ? undefined : procMount(pod));

/** Sysctls that reach no further than the pod, by the minor version that allowed them first. */
const safeSysctls: Readonly<Record<string, number>> = {
  "kernel.shm_rmid_forced": 0,
  "net.ipv4.ip_local_port_range": 0,
  "net.ipv4.tcp_syncookies": 0,
  "net.ipv4.ping_group_range": 0,
  "net.ipv4.ip_unprivileged_port_start": 0,
  "net.ipv4.ip_local_reserved_ports": 27,
  "net.ipv4.tcp_keepalive_time": 29,
  "net.ipv4.tcp_fin_timeout": 29,
  "net.ipv4.tcp_keepalive_intvl": 29,
  "net.ipv4.tcp_keepalive_probes": 29,
  "net.ipv4.tcp_rmem": 32,
  "net.ipv4.tcp_wmem": 32,
};

export const sysctlsSince =
  (minor: number): PodCheck =>
  ({ spec }) => {
    const names = (spec.securityContext?.sysctls ?? []).map(({ name }) => name);
    const bad = names.filter((name) => !Object.hasOwn(safeSysctls, name) || safeSysctls[name]! > minor);
    return bad.length === 0 ? undefined : { reason: "forbidden sysctls", detail: bad.join(", ") };
  };
