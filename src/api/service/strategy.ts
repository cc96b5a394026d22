import type { Service, ServiceSpec } from "../generated/core-v1.ts";
import type { KindStrategy } from "../kind-facts.ts";
import { sameJson } from "../strategy.ts";
import { serviceName } from "../validation/others.ts";
import { serviceWarnings, validateService, validateServiceUpdate } from "../validation/service.ts";

const affinitySeconds = 10_800;

function externallyAccessible(spec: ServiceSpec): boolean {
  return (
    spec.type === "LoadBalancer" ||
    spec.type === "NodePort" ||
    (spec.type === "ClusterIP" && (spec.externalIPs?.length ?? 0) > 0)
  );
}

function defaultService(service: Service): void {
  service.spec ??= {};
  const { spec } = service;
  spec.sessionAffinity ||= "None";
  if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === "ClientIP" && spec.sessionAffinityConfig?.clientIP?.timeoutSeconds === undefined) {
    spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: affinitySeconds } };
  }
  spec.type ||= "ClusterIP";
  for (const port of spec.ports ?? []) {
    port.protocol ||= "TCP";
    port.targetPort ||= port.port;
  }
  if (externallyAccessible(spec)) spec.externalTrafficPolicy ||= "Cluster";
  if (spec.type !== "ExternalName") spec.internalTrafficPolicy ??= "Cluster";
  if (spec.type === "LoadBalancer") {
    spec.allocateLoadBalancerNodePorts ??= true;
    for (const ingress of service.status?.loadBalancer?.ingress ?? []) if (ingress.ip) ingress.ipMode ??= "VIP";
  }
}

/** clusterIP and the first of clusterIPs are one value; older clients know only the one. */
function syncClusterIps(spec: ServiceSpec, old: ServiceSpec | undefined): void {
  if (!old) {
    if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
    return;
  }
  const changed = (spec.clusterIP ?? "") !== (old.clusterIP ?? "");
  const listChanged = !sameJson(spec.clusterIPs ?? [], old.clusterIPs ?? []);
  if (changed && !listChanged) {
    if (spec.clusterIP) spec.clusterIPs = [spec.clusterIP];
    else delete spec.clusterIPs;
  } else if (!changed && listChanged && !spec.clusterIPs?.length && spec.clusterIP) {
    spec.clusterIPs = [spec.clusterIP];
  }
}

const needsClusterIp = (spec: ServiceSpec) => spec.type !== "ExternalName";
const needsNodePort = (spec: ServiceSpec) =>
  spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
const needsHealthPort = (spec: ServiceSpec) => spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";

/** An update that leaves allocated values out means the ones that are there. */
function keepAllocated(spec: ServiceSpec, old: ServiceSpec): void {
  if (needsClusterIp(spec) && needsClusterIp(old)) {
    if (!spec.clusterIP && old.clusterIP) spec.clusterIP = old.clusterIP;
    if (!spec.clusterIPs?.length && old.clusterIPs && spec.clusterIP === old.clusterIP)
      spec.clusterIPs = [...old.clusterIPs];
  }
  if (needsNodePort(spec) && needsNodePort(old)) {
    const used = new Set((spec.ports ?? []).map((port) => port.nodePort).filter((port) => port));
    for (const port of spec.ports ?? []) {
      if (port.nodePort) continue;
      const before = old.ports?.find((other) => other.port === port.port && other.protocol === port.protocol);
      if (before?.nodePort && !used.has(before.nodePort)) port.nodePort = before.nodePort;
    }
  }
  if (needsHealthPort(spec) && needsHealthPort(old) && !spec.healthCheckNodePort && old.healthCheckNodePort) {
    spec.healthCheckNodePort = old.healthCheckNodePort;
  }
}

/** What only the old type needed goes, unless the update changed it too (then validation speaks). */
function dropUnneeded(service: Service, old: Service): void {
  const spec = service.spec!;
  const before = old.spec!;
  const same = (field: keyof ServiceSpec) => sameJson(spec[field] ?? null, before[field] ?? null);
  if (needsClusterIp(before) && !needsClusterIp(spec)) {
    if (same("clusterIP") && same("clusterIPs")) {
      delete spec.clusterIP;
      delete spec.clusterIPs;
    }
    if (same("ipFamilies")) delete spec.ipFamilies;
    if (same("ipFamilyPolicy")) delete spec.ipFamilyPolicy;
  }
  if (needsNodePort(before) && !needsNodePort(spec)) {
    const oldPorts = new Set((before.ports ?? []).map((port) => port.nodePort));
    const ports = spec.ports ?? [];
    if (ports.every((port) => !port.nodePort || oldPorts.has(port.nodePort))) {
      for (const port of ports) delete port.nodePort;
    }
  }
  if (needsHealthPort(before) && !needsHealthPort(spec) && same("healthCheckNodePort")) delete spec.healthCheckNodePort;
  if (before.type === "LoadBalancer" && spec.type !== "LoadBalancer") {
    if (same("allocateLoadBalancerNodePorts")) delete spec.allocateLoadBalancerNodePorts;
    if (same("loadBalancerClass")) delete spec.loadBalancerClass;
  }
  if (externallyAccessible(before) && !externallyAccessible(spec) && same("externalTrafficPolicy")) {
    delete spec.externalTrafficPolicy;
  }
  if (spec.type !== "LoadBalancer") service.status = { ...service.status, loadBalancer: {} };
}

export const serviceStrategy: KindStrategy<Service> = {
  validateName: serviceName,
  validate: validateService,
  validateUpdate: validateServiceUpdate,
  ratchets: true,
  warnings: serviceWarnings,
  applyDefaults: defaultService,
  allowCreateOnUpdate: true,
  prepareForCreate(service) {
    service.status = { loadBalancer: {} };
    syncClusterIps(service.spec!, undefined);
  },
  prepareForUpdate(service, old) {
    syncClusterIps(service.spec!, old.spec);
    keepAllocated(service.spec!, old.spec!);
    dropUnneeded(service, old);
  },
};
