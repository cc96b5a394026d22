import { join } from "node:path";
import { createHttpsClient } from "../client/https-client.ts";
import { clusterClock, ioClock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import { addressChange } from "./address-change.ts";
import type { AgentOptions, NodeOptions } from "./agent-options.ts";
import { fetchClusterConfig } from "./bootstrap/cluster-config.ts";
import { obtainNodeCertificates } from "./bootstrap/node-certificates.ts";
import { identityDirectory, loadNodeIdentity } from "./bootstrap/node-identity.ts";
import { checkServerIdentity, serverName } from "./bootstrap/server-identity.ts";
import { joinThrough } from "./bootstrap/supervisor-client.ts";
import { ClusterServers } from "./cluster-servers.ts";
import { startContainerd } from "./containerd/containerd.ts";
import { startDns } from "./dns/dns.ts";
import { prepareCgroupRoot } from "./host/cgroup.ts";
import { makeShared } from "./host/mount.ts";
import { startKubelet } from "./kubelet/kubelet.ts";
import { kubeletAddressPort, listenKubelet } from "./kubelet-listener.ts";
import { startNetwork } from "./network/network.ts";
import { followNodes } from "./network/node-informer.ts";
import { nodeAddress } from "./node-address.ts";
import { hostPortsOf } from "./proxy/host-port.ts";
import { type ServiceProxy, startProxy } from "./proxy/proxy.ts";
import { followApiEndpoints, followServices } from "./proxy/service-informers.ts";

export interface Agent {
  readonly nodeName: string;
  /** Resolves when the node has to start again, with the reason. */
  readonly failed: Promise<Error>;
  /** Ends the node's program in order; containers keep running. */
  stop(): Promise<void>;
}

/** A server, by its https URL, and the token that it takes. */
export interface JoinTarget extends Pick<AgentOptions, "server" | "token"> {
  /** "host:port" that the server advertises, where the node is part of it. */
  readonly own?: string;
}

/**
 * Joins a cluster and runs a node: containerd and the join go on at the same time, then the tunnel, the kubelet, the
 * network, the service proxy and DNS. Whether the machine can run a node at all (`host/preflight.ts`) is known before.
 * @param context.signal ends everything that was started
 */
export async function startAgent(
  options: NodeOptions,
  context: {
    readonly logger: Logger;
    readonly signal: AbortSignal;
    /** Resolves when there is a server to join; containerd starts without waiting for it. */
    readonly joinable: Promise<JoinTarget>;
    /** Awaited before the node says that pods can be created. */
    readonly usable?: (nodeName: string, signal: AbortSignal) => Promise<void>;
  },
): Promise<Agent> {
  const { logger } = context;
  const stopping = new AbortController();
  const signal = AbortSignal.any([context.signal, stopping.signal]);
  const directory = join(options.dataDir, "agent");
  await prepareCgroupRoot();
  await makeShared("/");

  const identity = loadNodeIdentity(identityDirectory, options.nodeName, options.withNodeId);
  const nodeIps = options.nodeIps.length > 0 ? options.nodeIps : [nodeAddress(options.networkInterface)];
  const cniConfDir = join(directory, "etc", "cni", "net.d");
  const cniBinDir = "/usr/lib/cni";

  const [containerd, joined] = await Promise.all([
    startContainerd({
      dataDir: directory,
      cniConfDir,
      cniBinDir,
      pauseImage: options.pauseImage,
      ...(options.snapshotter ? { snapshotter: options.snapshotter } : {}),
      registriesFile: options.registriesFile,
      imageDirs: ["/usr/share/k3ts/images"],
      disableDefaultRegistryEndpoint: options.disableDefaultRegistryEndpoint,
      clock: ioClock,
      logger,
      signal,
    }),
    joinCluster(),
  ]);
  const { servers, supervisor, certificates, config } = joined;

  async function joinCluster() {
    const { server, token, own } = await context.joinable;
    const servers = new ClusterServers({
      server,
      own,
      loadBalancerPort: options.loadBalancerPort,
      directory,
      clock: ioClock,
      logger,
      signal,
    });
    await servers.start();
    return joinThrough(servers.joinUrls, token, { clock: ioClock, logger, signal }, async (supervisor) => {
      const [config, certificates] = await Promise.all([
        fetchClusterConfig(supervisor),
        obtainNodeCertificates(directory, supervisor, identity, nodeIps, ioClock),
        servers.learn(supervisor),
      ]);
      return { servers, supervisor, certificates, config };
    });
  }

  const ofClient = { server: servers.url, serverName, ca: supervisor.ca, logger };
  const userAgent = `k3ts/${options.version}`;
  const kubeletClient = createHttpsClient({
    ...ofClient,
    cert: certificates.client.certificate,
    key: certificates.client.key,
    userAgent: `${userAgent} kubelet`,
  });
  // One identity for the node's network side; the kubelet's may not read services of other pods' secrets.
  const networkClient = createHttpsClient({
    ...ofClient,
    cert: certificates.controller.certificate,
    key: certificates.controller.key,
    userAgent: `${userAgent} network`,
  });

  servers.openTunnels({
    tls: {
      ca: supervisor.ca,
      cert: certificates.client.certificate,
      key: certificates.client.key,
      checkServerIdentity,
    },
    allow: (target) => target === `127.0.0.1:${kubeletAddressPort}` || target === `localhost:${kubeletAddressPort}`,
  });

  const hostPorts = new HostPorts();
  const kubelet = await startKubelet({
    client: kubeletClient,
    nodeName: identity.name,
    nodeIps,
    nodeExternalIps: options.nodeExternalIps,
    rootDir: "/var/lib/kubelet",
    staticPodDir: join(directory, "pod-manifests"),
    cri: containerd.cri,
    containerd,
    clusterDns: [config.clusterDns],
    clusterDomain: config.clusterDomain,
    resolvConf: options.resolvConf,
    labels: nodeLabels(options, identity.name),
    annotations: nodeAnnotations(options, identity.name, nodeIps),
    taints: options.taints,
    maxPods: options.maxPods,
    version: options.version,
    cniConfDir,
    onPods: (pods) => hostPorts.update(pods),
    clusterClock,
    ioClock,
    logger,
    signal,
  });
  const listener = await listenKubelet(kubelet, certificates, logger);

  const ofNetwork = {
    client: networkClient,
    clusterCidr: config.clusterCidr,
    serviceCidr: config.serviceCidr,
    clock: ioClock,
    logger,
    signal,
  };
  const nodes = followNodes(ofNetwork);
  const informers = config.disableProxy && config.disableDns ? undefined : followServices(ofNetwork);
  servers.follow(informers?.endpointSlices ?? followApiEndpoints(ofNetwork));
  const network = startNetwork({
    ...ofNetwork,
    nodeName: identity.name,
    nodeIp: nodeIps[0]!,
    // The kubelet may write its own Node and no other; the network's identity, which all nodes share, writes nothing.
    nodeClient: kubeletClient,
    backend: config.flannelBackend,
    ...(options.networkInterface ? { iface: options.networkInterface } : {}),
    cniConfDir,
    cniBinDir,
    nodes,
    ...(context.usable ? { usable: context.usable } : {}),
  });
  // The proxy needs nothing of the network, so it does not wait for it: what the host's own pods need works first.
  const proxy =
    !informers || config.disableProxy
      ? undefined
      : startProxy({ ...ofNetwork, nodeName: identity.name, informers }).then((started) => hostPorts.serve(started));
  const dns =
    !informers || config.disableDns
      ? undefined
      : startDns({
          ...ofNetwork,
          bindAddress: config.clusterDns,
          clusterDomain: config.clusterDomain,
          informers,
          nodes,
        });
  await Promise.all([network, proxy, dns]);

  return {
    nodeName: identity.name,
    failed: addressChange({
      current: nodeIps[0]!,
      find: () => options.nodeIps[0] ?? nodeAddress(options.networkInterface),
      clock: ioClock,
      signal,
    }),
    async stop() {
      stopping.abort(new Error("the node is stopping"));
      await kubelet.stop();
      listener.close();
      kubeletClient.close();
      networkClient.close();
    },
  };
}

/** Hands the host ports of this node's pods to the proxy, when they change. Pods may be known before the proxy is there. */
class HostPorts {
  #ports: ReturnType<typeof hostPortsOf> = [];
  #said = "[]";
  #proxy: ServiceProxy | undefined;

  update(pods: Parameters<typeof hostPortsOf>[0]): void {
    this.#ports = hostPortsOf(pods);
    // Pods report their state all the time; a round of the proxy is for those with a host port only.
    const text = JSON.stringify(this.#ports);
    if (text === this.#said) return;
    this.#said = text;
    this.#proxy?.setHostPorts(this.#ports);
  }

  serve(proxy: ServiceProxy): void {
    this.#proxy = proxy;
    if (this.#ports.length > 0) proxy.setHostPorts(this.#ports);
  }
}

/** Labels that every node carries (K3s' and Kubernetes' well-known ones) and those given with --node-label. */
function nodeLabels(options: NodeOptions, name: string): Record<string, string> {
  const arch = { x64: "amd64", arm64: "arm64", arm: "arm" }[process.arch as string] ?? process.arch;
  return {
    "beta.kubernetes.io/arch": arch,
    "beta.kubernetes.io/instance-type": "k3s",
    "beta.kubernetes.io/os": "linux",
    "kubernetes.io/arch": arch,
    "kubernetes.io/hostname": name,
    "kubernetes.io/os": "linux",
    "node.kubernetes.io/instance-type": "k3s",
    ...(options.controlPlane ? { "node-role.kubernetes.io/control-plane": "true" } : {}),
    ...options.labels,
  };
}

function nodeAnnotations(options: NodeOptions, name: string, nodeIps: readonly string[]): Record<string, string> {
  return {
    "k3s.io/hostname": name,
    "k3s.io/internal-ip": nodeIps.join(","),
    ...(options.nodeExternalIps.length > 0 ? { "k3s.io/external-ip": options.nodeExternalIps.join(",") } : {}),
    "k3s.io/node-args": JSON.stringify(options.nodeArgs),
    "k3s.io/node-env": JSON.stringify(options.nodeEnvironment),
  };
}
