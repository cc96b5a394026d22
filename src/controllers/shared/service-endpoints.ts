import type { Container, Pod, Service } from "../../api/generated/core-v1.ts";
import { parseIp } from "../../machinery/cidr.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { isReady, isTerminated, isTerminating, type PodView } from "./pod-facts.ts";

export type ServiceView = DeepReadonly<Service>;

/** A port of a service as one pod offers it. */
export interface ResolvedPort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly appProtocol?: string;
}

export const headlessLabel = "service.kubernetes.io/headless";

export function isHeadless(service: ServiceView): boolean {
  return service.spec?.clusterIP === "None";
}

/** Services whose pods this cluster keeps track of: those with a selector, other than ExternalName. */
export function hasPods(service: ServiceView): boolean {
  return service.spec?.type !== "ExternalName" && Object.keys(service.spec?.selector ?? {}).length > 0;
}

export function selects(service: ServiceView, pod: PodView): boolean {
  const labels = pod.metadata.labels;
  return (
    hasPods(service) && Object.entries(service.spec?.selector ?? {}).every(([key, value]) => labels?.[key] === value)
  );
}

/** The pod's addresses of one family. */
export function podAddresses(pod: PodView, family: 4 | 6): string[] {
  const all = pod.status?.podIPs?.map(({ ip }) => ip ?? "") ?? (pod.status?.podIP ? [pod.status.podIP] : []);
  return all.filter((ip) => parseIp(ip)?.family === family);
}

/** The service's ports that the pod has; a port that it names otherwise or not at all is left out. */
export function resolvePorts(service: ServiceView, pod: PodView): ResolvedPort[] {
  const resolved: ResolvedPort[] = [];
  for (const { name = "", protocol = "TCP", port, targetPort, appProtocol } of service.spec?.ports ?? []) {
    const target = targetPort === undefined || targetPort === 0 || targetPort === "" ? port : targetPort;
    const number = typeof target === "number" ? target : namedPort(pod, target, protocol);
    if (number !== undefined) resolved.push({ name, protocol, port: number, ...(appProtocol ? { appProtocol } : {}) });
  }
  return resolved;
}

function namedPort(pod: PodView, name: string, protocol: string): number | undefined {
  // Init containers that keep running (sidecars) serve as well.
  const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always");
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars] as DeepReadonly<Container>[]) {
    const port = container.ports?.find(
      (candidate) => candidate.name === name && (candidate.protocol ?? "TCP") === protocol,
    );
    if (port) return port.containerPort;
  }
  return undefined;
}

/** Does the pod's own DNS name stand under this service? */
export function hostnameFor(service: ServiceView, pod: PodView): string | undefined {
  const { hostname, subdomain } = pod.spec ?? {};
  return hostname && subdomain === service.metadata.name && pod.metadata.namespace === service.metadata.namespace
    ? hostname
    : undefined;
}

/** The part of a pod that endpoints are made from; two states with the same one need no new endpoints. */
export function endpointFacts(pod: DeepReadonly<Pod>): string {
  return JSON.stringify([
    pod.status?.podIPs ?? pod.status?.podIP,
    isReady(pod),
    isTerminating(pod),
    isTerminated(pod),
    pod.spec?.nodeName,
    pod.spec?.hostname,
    pod.spec?.subdomain,
    pod.metadata.labels,
  ]);
}
