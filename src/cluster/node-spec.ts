import type { ContainerCreateOptions } from "dockerode";
import { labels, nodeName, type Role } from "./cluster-names.ts";
import type { Datastore } from "./datastore-kind.ts";

/** A node that is to be made. */
export interface NodeSpec {
  readonly cluster: string;
  readonly network: string;
  readonly role: Role;
  readonly index: number;
  readonly image: string;
  readonly token: string;
  /** The container whose API the node joins; absent for a server that joins none. */
  readonly join?: string;
  /** The address that it has at each start; default: any. */
  readonly address?: string;
  /** Of servers. */
  readonly datastore?: Datastore;
  /** Where the API appears on this machine; on one container of a cluster only. */
  readonly api?: ApiAddress;
  /** Names and addresses that clients use for the API. */
  readonly apiNames?: readonly string[];
  /** "name=value" for the container. */
  readonly environment?: readonly string[];
  /** "host:container[:options]" */
  readonly volumes?: readonly string[];
  readonly ports?: readonly PublishedPort[];
  /** Arguments behind `server` or `agent`. */
  readonly args?: readonly string[];
  readonly memoryBytes?: number;
  /** Default: the cluster's naming. */
  readonly name?: string;
}

/** An address of this machine. */
export interface ApiAddress {
  readonly host: string;
  readonly port: number;
}

export interface PublishedPort {
  readonly address: string;
  readonly host: string;
  /** With the protocol, such as "80/tcp". */
  readonly container: string;
}

export const apiPort = 6443;

/** The name of a node's container, which is the node's own. */
export function nameOf(spec: NodeSpec): string {
  return spec.name ?? nodeName(spec.cluster, spec.role, spec.index);
}

/**
 * The container that a node is: privileged, because it runs containers itself, with a fresh /run, so that nothing of
 * a container's last life is taken for running.
 */
export function containerOptions(spec: NodeSpec): ContainerCreateOptions & { name: string } {
  const name = nameOf(spec);
  const args = spec.role === "server" ? (spec.apiNames ?? []).map((san) => `--tls-san=${san}`) : [];
  const { exposed, bindings } = publish(spec.ports ?? [], spec.api);
  return {
    name,
    Hostname: name,
    Image: spec.image,
    Cmd: [spec.role, ...args, ...(spec.args ?? [])],
    Env: [
      `K3S_TOKEN=${spec.token}`,
      ...(spec.join ? [`K3S_URL=https://${spec.join}:${apiPort}`] : []),
      ...(spec.environment ?? []),
    ],
    Labels: {
      [labels.cluster]: spec.cluster,
      [labels.role]: spec.role,
      ...(spec.role === "server" ? { [labels.token]: spec.token } : {}),
      ...(spec.datastore ? { [labels.datastore]: spec.datastore } : {}),
      ...(spec.address ? { [labels.address]: spec.address } : {}),
      ...(spec.api ? { [labels.apiPort]: `${spec.api.host}:${spec.api.port}` } : {}),
    },
    ExposedPorts: exposed,
    ...(spec.address
      ? {
          NetworkingConfig: {
            EndpointsConfig: { [spec.network]: { IPAMConfig: { IPv4Address: spec.address } } },
          },
        }
      : {}),
    HostConfig: {
      Privileged: true,
      RestartPolicy: { Name: "unless-stopped" },
      Tmpfs: { "/run": "", "/var/run": "" },
      NetworkMode: spec.network,
      PortBindings: bindings,
      Binds: [...(spec.volumes ?? [])],
      ...(spec.memoryBytes ? { Memory: spec.memoryBytes } : {}),
    },
  };
}

/** Published ports, and the API's where it is published, as the engine takes them. */
export function publish(ports: readonly PublishedPort[], api?: ApiAddress) {
  const own = api ? [{ address: api.host, host: String(api.port), container: `${apiPort}/tcp` }] : [];
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { address, host, container } of [...ports, ...own]) {
    bindings[container] = [...(bindings[container] ?? []), { HostIp: address, HostPort: host }];
  }
  return { bindings, exposed: Object.fromEntries(Object.keys(bindings).map((port) => [port, {}])) };
}

/** @throws when the text is not "[address:]host:container[/protocol]" */
export function parsePort(text: string): PublishedPort {
  const match = /^(?:(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]):)?(\d+):(\d+)(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (!match)
    throw new Error(`invalid port "${text}": write it as host:container, such as 8080:80 or 127.0.0.1:8080:80/tcp`);
  return { address: match[1] ?? "0.0.0.0", host: match[2]!, container: `${match[3]}/${match[4] ?? "tcp"}` };
}
