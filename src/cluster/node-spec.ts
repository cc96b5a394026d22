import type { ContainerCreateOptions } from "dockerode";
import { labels, networkName, nodeName, type Role } from "./cluster-names.ts";

/** A node that is to be made. */
export interface NodeSpec {
  readonly cluster: string;
  readonly role: Role;
  readonly index: number;
  readonly image: string;
  readonly token: string;
  /** Where the API appears on this machine; on the first server only. */
  readonly api?: { readonly host: string; readonly port: number };
  /** Names and addresses that clients use for the API. */
  readonly apiNames?: readonly string[];
  /** "name=value" for the container. */
  readonly environment?: readonly string[];
  /** "host:container[:options]" */
  readonly volumes?: readonly string[];
  /** Published ports: "[address:]host:container[/protocol]". */
  readonly ports?: readonly string[];
  /** Arguments behind `server` or `agent`. */
  readonly args?: readonly string[];
  readonly memoryBytes?: number;
  /** Default: the cluster's naming. */
  readonly name?: string;
}

export const apiPort = 6443;

/**
 * The container that a node is: privileged, because it runs containers itself, with a fresh /run, so that nothing of
 * a container's last life is taken for running.
 */
export function containerOptions(spec: NodeSpec): ContainerCreateOptions & { name: string } {
  const name = spec.name ?? nodeName(spec.cluster, spec.role, spec.index);
  const first = nodeName(spec.cluster, "server", 0);
  const ports = (spec.ports ?? []).map(parsePort);
  if (spec.api) ports.push({ address: spec.api.host, host: String(spec.api.port), container: `${apiPort}/tcp` });
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { address, host, container } of ports) {
    bindings[container] = [...(bindings[container] ?? []), { HostIp: address, HostPort: host }];
  }
  const args = spec.role === "server" ? (spec.apiNames ?? []).map((san) => `--tls-san=${san}`) : [];
  return {
    name,
    Hostname: name,
    Image: spec.image,
    Cmd: [spec.role, ...args, ...(spec.args ?? [])],
    Env: [
      `K3S_TOKEN=${spec.token}`,
      ...(spec.role === "agent" ? [`K3S_URL=https://${first}:${apiPort}`] : []),
      ...(spec.environment ?? []),
    ],
    Labels: {
      [labels.cluster]: spec.cluster,
      [labels.role]: spec.role,
      ...(spec.api ? { [labels.token]: spec.token, [labels.apiPort]: `${spec.api.host}:${spec.api.port}` } : {}),
    },
    ExposedPorts: Object.fromEntries(Object.keys(bindings).map((port) => [port, {}])),
    HostConfig: {
      Privileged: true,
      RestartPolicy: { Name: "unless-stopped" },
      Tmpfs: { "/run": "", "/var/run": "" },
      NetworkMode: networkName(spec.cluster),
      PortBindings: bindings,
      Binds: [...(spec.volumes ?? [])],
      ...(spec.memoryBytes ? { Memory: spec.memoryBytes } : {}),
    },
  };
}

/** @throws when the text is not "[address:]host:container[/protocol]" */
export function parsePort(text: string): { address: string; host: string; container: string } {
  const match = /^(?:(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]):)?(\d+):(\d+)(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (!match)
    throw new Error(`invalid port "${text}": write it as host:container, such as 8080:80 or 127.0.0.1:8080:80/tcp`);
  return { address: match[1] ?? "0.0.0.0", host: match[2]!, container: `${match[3]}/${match[4] ?? "tcp"}` };
}
