import type { EndpointAddress, EndpointSubset } from "../api/generated/core-v1.ts";
import { isReady, isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";
import { hostnameFor, podAddresses, resolvePorts, type ServiceView } from "./shared/service-endpoints.ts";
import { sortedJson } from "./shared/template-hash.ts";

/** Addresses that one Endpoints object holds; the rest is cut and the object says so. */
export const maxAddresses = 1000;

export interface EndpointsContent {
  readonly subsets: readonly EndpointSubset[];
  readonly truncated: boolean;
}

/** The subsets of a service: one for each set of ports that pods offer, ready addresses apart from the others. */
export function planEndpoints(service: ServiceView, pods: readonly PodView[]): EndpointsContent {
  const family = service.spec?.ipFamilies?.[0] === "IPv6" ? 6 : 4;
  const notReadyToo = service.spec?.publishNotReadyAddresses === true;
  const groups = new Map<string, { subset: EndpointSubset; ready: EndpointAddress[]; notReady: EndpointAddress[] }>();
  let candidates = pods.filter((pod) => !isTerminated(pod) && (notReadyToo || !isTerminating(pod))).sort(byAddress);
  // Where not all have room, those that serve go first.
  if (candidates.length > maxAddresses) candidates = candidates.sort((a, b) => Number(isReady(b)) - Number(isReady(a)));
  let count = 0;
  let truncated = false;
  for (const pod of candidates) {
    const ip = podAddresses(pod, family)[0];
    if (!ip) continue;
    if (count++ >= maxAddresses) {
      truncated = true;
      continue;
    }
    const ports = resolvePorts(service, pod);
    // A service with ports has nothing to say about a pod that offers none of them.
    if (ports.length === 0 && (service.spec?.ports?.length ?? 0) > 0) continue;
    const key = sortedJson(ports);
    const group = groups.get(key) ?? {
      subset: ports.length > 0 ? { ports: ports.map(({ name, ...rest }) => (name ? { name, ...rest } : rest)) } : {},
      ready: [],
      notReady: [],
    };
    (notReadyToo || isReady(pod) ? group.ready : group.notReady).push(addressOf(service, pod, ip));
    groups.set(key, group);
  }
  const subsets = [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { subset, ready, notReady }]) => ({
      ...(ready.length > 0 ? { addresses: ready } : {}),
      ...(notReady.length > 0 ? { notReadyAddresses: notReady } : {}),
      ...subset,
    }));
  return { subsets, truncated };
}

function addressOf(service: ServiceView, pod: PodView, ip: string): EndpointAddress {
  const hostname = hostnameFor(service, pod);
  const { name, namespace, uid } = pod.metadata;
  return {
    ip,
    ...(hostname ? { hostname } : {}),
    ...(pod.spec?.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: {
      kind: "Pod",
      ...(namespace ? { namespace } : {}),
      ...(name ? { name } : {}),
      ...(uid ? { uid } : {}),
    },
  };
}

function byAddress(a: PodView, b: PodView): number {
  const [x, y] = [a.status?.podIP ?? "", b.status?.podIP ?? ""];
  return x < y ? -1 : x > y ? 1 : 0;
}
