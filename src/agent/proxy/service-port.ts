import type { Service, ServicePort as WirePort } from "../../api/generated/core-v1.ts";
import type { Endpoint, EndpointSlice } from "../../api/generated/discovery-v1.ts";
import { parseIp } from "../../machinery/cidr.ts";
import type { DeepReadonly } from "../../machinery/object.ts";

export type Protocol = "tcp" | "udp" | "sctp";

/** Where a Service's traffic ends. */
export interface Target {
  readonly address: string;
  readonly port: number;
  /** On this node. */
  readonly local: boolean;
}

/** One port of one Service, with all that the rules depend on. IPv4 only. */
export interface ServicePort {
  /** "namespace/service/tcp/port-name": part of chain names, so only letters, digits, "-", "." and "/". */
  readonly id: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly clusterIp: string;
  readonly nodePort: number | undefined;
  readonly externalIps: readonly string[];
  readonly loadBalancerIps: readonly string[];
  /** Who may use the load balancer's addresses; empty: everybody. */
  readonly sourceRanges: readonly string[];
  /** Seconds for which a client stays with its endpoint; 0: no affinity. */
  readonly affinitySeconds: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  /** All usable endpoints of the cluster, sorted. */
  readonly targets: readonly Target[];
}

const defaultAffinitySeconds = 10_800;

/** The ports of a Service that the proxy serves; none for headless, ExternalName and foreign-proxied ones. */
export function servicePortsOf(
  service: DeepReadonly<Service>,
  slices: readonly DeepReadonly<EndpointSlice>[],
  nodeName: string,
): ServicePort[] {
  const { spec, status, metadata } = service;
  const clusterIp = (spec?.clusterIPs ?? [spec?.clusterIP ?? ""]).find(isIpv4);
  if (!spec || spec.type === "ExternalName" || !clusterIp || isForeign(service)) return [];
  const external = spec.type === "NodePort" || spec.type === "LoadBalancer";
  const ingress = spec.type === "LoadBalancer" ? (status?.loadBalancer?.ingress ?? []) : [];
  const affinity = spec.sessionAffinity === "ClientIP";
  const shared = {
    clusterIp,
    externalIps: (spec.externalIPs ?? []).filter(isIpv4),
    // Traffic for "Proxy" mode addresses has to take the way through the load balancer.
    loadBalancerIps: ingress.flatMap(({ ip, ipMode }) => (ip && isIpv4(ip) && ipMode !== "Proxy" ? [ip] : [])),
    sourceRanges:
      spec.type === "LoadBalancer" ? (spec.loadBalancerSourceRanges ?? []).map(trim).filter(isIpv4Range) : [],
    affinitySeconds: affinity ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds) : 0,
    internalLocal: spec.internalTrafficPolicy === "Local",
    externalLocal: (external || Boolean(spec.externalIPs?.length)) && spec.externalTrafficPolicy === "Local",
  };
  return (spec.ports ?? []).flatMap((port) => {
    const protocol = protocolOf(port.protocol);
    if (!protocol) return [];
    const id = `${metadata.namespace}/${metadata.name}/${protocol}/${port.name || port.port}`;
    const nodePort = external && port.nodePort ? port.nodePort : undefined;
    return [{ ...shared, id, protocol, port: port.port, nodePort, targets: targetsOf(port, slices, nodeName) }];
  });
}

/** Services that say that another proxy serves them. */
function isForeign({ metadata }: DeepReadonly<Service>): boolean {
  return metadata.labels?.["service.kubernetes.io/service-proxy-name"] !== undefined;
}

/** The ready endpoints; when there are none, those that still serve while they end. */
function targetsOf(
  port: DeepReadonly<WirePort>,
  slices: readonly DeepReadonly<EndpointSlice>[],
  nodeName: string,
): Target[] {
  const ready = new Map<string, Target>();
  const serving = new Map<string, Target>();
  for (const slice of slices) {
    if (slice.addressType !== "IPv4") continue;
    const match = slice.ports?.find(
      (candidate) =>
        (candidate.name ?? "") === (port.name ?? "") && (candidate.protocol ?? "TCP") === (port.protocol ?? "TCP"),
    );
    if (!match?.port) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const address = endpoint.addresses[0];
      if (!address || !isIpv4(address)) continue;
      const target = { address, port: match.port, local: endpoint.nodeName === nodeName };
      const key = `${address}:${match.port}`;
      if (isReady(endpoint)) ready.set(key, target);
      else if (endpoint.conditions?.serving && endpoint.conditions.terminating) serving.set(key, target);
    }
  }
  const chosen = ready.size ? ready : serving;
  return [...chosen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, target]) => target);
}

function isReady({ conditions }: DeepReadonly<Endpoint>): boolean {
  return conditions?.ready !== false;
}

export function protocolOf(text = "TCP"): Protocol | undefined {
  const lower = text.toLowerCase();
  return lower === "tcp" || lower === "udp" || lower === "sctp" ? lower : undefined;
}

export function isIpv4(text: string): boolean {
  return parseIp(text)?.family === 4;
}

function isIpv4Range(text: string): boolean {
  const [address, prefix, ...rest] = text.split("/");
  return isIpv4(address ?? "") && /^(3[0-2]|[12]?\d)$/.test(prefix ?? "") && rest.length === 0;
}

const trim = (text: string) => text.trim();
