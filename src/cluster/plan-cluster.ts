import { loadBalancerName, networkName, nodeName, type Role } from "./cluster-names.ts";
import { type DatastoreSettings, datastoreOf } from "./datastore-kind.ts";
import type { LoadBalancerSpec } from "./load-balancer-spec.ts";
import type { ApiAddress, NodeSpec } from "./node-spec.ts";
import { parseTargetedPort, type TargetedPort, wantsLoadBalancer } from "./published-port.ts";

/** What is asked of a cluster's containers. */
export interface ClusterSettings extends DatastoreSettings {
  readonly name: string;
  readonly agents: number;
  readonly serverImage: string;
  readonly agentImage: string;
  readonly loadBalancerImage: string;
  /** A load balancer in front of the servers; default: when there are several, or embedded etcd for more of them. */
  readonly loadBalancer?: boolean;
  /** A network that is there already; default: one of the cluster's own. */
  readonly network?: string;
  readonly volumes?: readonly string[];
  /** Published ports, as {@link parseTargetedPort} reads them. */
  readonly ports?: readonly string[];
  readonly agentArgs?: readonly string[];
  readonly memoryBytes?: { readonly server?: number; readonly agent?: number };
}

/** What is not the user's to say, or has been found out. */
export interface ClusterCircumstances {
  readonly token: string;
  /** Where the API is published. */
  readonly api: ApiAddress;
  /** The address of this machine, or of the engine's. */
  readonly publishedHost: string;
}

/** The containers of a cluster that is to be made. */
export interface ClusterPlan {
  /** Servers first. */
  readonly nodes: readonly NodeSpec[];
  readonly loadBalancer?: LoadBalancerSpec;
}

/** Decides which containers a cluster has. @throws when settings contradict each other */
export function planCluster(settings: ClusterSettings, circumstances: ClusterCircumstances): ClusterPlan {
  const { name, servers, agents } = settings;
  if (servers < 1) throw new Error(`--servers=${servers}: a cluster has at least one server`);
  const { token, api, publishedHost } = circumstances;
  const datastore = datastoreOf(settings);
  const balanced =
    settings.loadBalancer ?? (servers > 1 || datastore === "etcd" || settings.ports?.some(wantsLoadBalancer) === true);
  const ports = (settings.ports ?? []).map((text) => parseTargetedPort(text, balanced));
  checkTargets(ports, settings, balanced);
  const first = nodeName(name, "server", 0);
  const front = balanced ? loadBalancerName(name) : undefined;
  const node = (role: Role, index: number) => {
    const memoryBytes = settings.memoryBytes?.[role];
    return {
      cluster: name,
      network: settings.network ?? networkName(name),
      role,
      index,
      token,
      volumes: settings.volumes ?? [],
      ports: ports.filter(({ target }) => target !== "loadbalancer" && target.role === role && target.index === index),
      ...(memoryBytes ? { memoryBytes } : {}),
    };
  };
  const endpoint = settings.datastoreEndpoint;
  const server = (index: number): NodeSpec => ({
    ...node("server", index),
    image: settings.serverImage,
    datastore,
    // A database is joined by its address alone; etcd is begun by the first server.
    ...(datastore === "etcd" && index > 0 ? { join: first } : {}),
    ...(index === 0 && !front ? { api } : {}),
    apiNames: [...new Set(["0.0.0.0", api.host, publishedHost, ...(front ? [front] : [])])],
    // Not as an argument: it may hold a password.
    environment: [...(settings.environment ?? []), ...(endpoint ? [`K3S_DATASTORE_ENDPOINT=${endpoint}`] : [])],
    args: [
      ...(datastore === "etcd" && index === 0 ? ["--cluster-init"] : []),
      ...(settings.serverArgs ?? []).filter((argument) => argument !== "--cluster-init"),
    ],
  });
  const agent = (index: number): NodeSpec => ({
    ...node("agent", index),
    image: settings.agentImage,
    join: front ?? first,
    environment: settings.environment ?? [],
    args: settings.agentArgs ?? [],
  });
  return {
    nodes: [...range(servers).map(server), ...range(agents).map(agent)],
    ...(front
      ? {
          loadBalancer: {
            cluster: name,
            network: settings.network ?? networkName(name),
            image: settings.loadBalancerImage,
            token,
            api,
            ports: ports.filter(({ target }) => target === "loadbalancer"),
          },
        }
      : {}),
  };
}

/** @throws when a port is to be published by a container that there will not be */
function checkTargets(ports: readonly TargetedPort[], settings: ClusterSettings, balanced: boolean): void {
  for (const { target, host } of ports) {
    if (target === "loadbalancer") {
      if (!balanced) throw new Error(`--port ${host}:…@loadbalancer and --no-lb exclude each other`);
      continue;
    }
    const count = target.role === "server" ? settings.servers : settings.agents;
    if (target.index < count) continue;
    throw new Error(
      `--port ${host}:…@${target.role}:${target.index}: there will be ${count} ${target.role}s, counted from 0`,
    );
  }
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
