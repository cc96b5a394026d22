import type { Endpoint, EndpointSlice } from "../api/generated/discovery-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { isReady, isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";
import {
  headlessLabel,
  hostnameFor,
  isHeadless,
  podAddresses,
  type ResolvedPort,
  resolvePorts,
  type ServiceView,
} from "./shared/service-endpoints.ts";
import { sortedJson } from "./shared/template-hash.ts";

export type SliceView = DeepReadonly<EndpointSlice>;

export const serviceNameLabel = "kubernetes.io/service-name";
export const managedByLabel = "endpointslice.kubernetes.io/managed-by";
export const sliceManager = "endpointslice-controller.k8s.io";
/** Endpoints in one slice; more would make every change of one pod expensive for all who watch. */
export const maxEndpoints = 100;

/** What a slice shall hold. */
export interface SliceContent {
  readonly addressType: "IPv4" | "IPv6";
  readonly ports: readonly ResolvedPort[];
  readonly endpoints: readonly Endpoint[];
  readonly labels: Readonly<Record<string, string>>;
}

export interface SlicePlan {
  readonly create: readonly SliceContent[];
  readonly update: readonly { readonly slice: SliceView; readonly content: SliceContent }[];
  readonly remove: readonly SliceView[];
}

/** The endpoint that a pod is for a service. */
export function endpointOf(service: ServiceView, pod: PodView, address: string, zone: string | undefined): Endpoint {
  const serving = isReady(pod);
  const terminating = isTerminating(pod);
  const hostname = hostnameFor(service, pod);
  const { name, namespace, uid } = pod.metadata;
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
  const hints = ready ? hintsFor(service, zone, pod.spec?.nodeName) : undefined;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(hints ? { hints } : {}),
    ...(hostname ? { hostname } : {}),
    ...(pod.spec?.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    ...(zone ? { zone } : {}),
    targetRef: {
      kind: "Pod",
      ...(namespace ? { namespace } : {}),
      ...(name ? { name } : {}),
      ...(uid ? { uid } : {}),
    },
  };
}

const topologyModes = ["service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"];

/** Where from the traffic to an endpoint shall come, by spec.trafficDistribution. */
function hintsFor(service: ServiceView, zone: string | undefined, node: string | undefined): Endpoint["hints"] {
  const wish = service.spec?.trafficDistribution;
  if (wish !== "PreferClose" && wish !== "PreferSameZone" && wish !== "PreferSameNode") return undefined;
  const mode = topologyModes.map((key) => service.metadata.annotations?.[key]).find((value) => value !== undefined);
  // The older annotation goes before the field.
  if (mode === "Auto" || mode === "auto") return undefined;
  const hints = {
    ...(zone ? { forZones: [{ name: zone }] } : {}),
    ...(node && wish === "PreferSameNode" ? { forNodes: [{ name: node }] } : {}),
  };
  return Object.keys(hints).length > 0 ? hints : undefined;
}

export function sliceLabels(service: ServiceView): Record<string, string> {
  const labels = { ...service.metadata.labels } as Record<string, string>;
  delete labels[headlessLabel];
  return {
    ...labels,
    [serviceNameLabel]: service.metadata.name ?? "",
    [managedByLabel]: sliceManager,
    ...(isHeadless(service) ? { [headlessLabel]: "" } : {}),
  };
}

function families(service: ServiceView): readonly ("IPv4" | "IPv6")[] {
  const wanted = service.spec?.ipFamilies;
  return wanted && wanted.length > 0 ? (wanted as readonly ("IPv4" | "IPv6")[]) : ["IPv4"];
}

/**
 * How the slices of a service have to change. Endpoints stay in the slice that holds them; new ones fill slices with
 * room before others are made; a service without any pods keeps one empty slice, so that proxies know it.
 */
export function planSlices(
  service: ServiceView,
  pods: readonly PodView[],
  slices: readonly SliceView[],
  zoneOf: (nodeName: string) => string | undefined,
): SlicePlan {
  const labels = sliceLabels(service);
  const create: SliceContent[] = [];
  const update: { slice: SliceView; content: SliceContent }[] = [];
  const remove: SliceView[] = [];
  const wanted = families(service);
  for (const slice of slices) if (!wanted.some((family) => family === slice.addressType)) remove.push(slice);

  for (const addressType of wanted) {
    const groups = groupByPorts(service, pods, addressType, zoneOf);
    const existing = slices.filter((slice) => slice.addressType === addressType);
    const free = new Set(existing);
    const byPorts = new Map<string, SliceView[]>();
    for (const slice of existing) {
      const key = portsKey(slicePorts(slice));
      byPorts.set(key, [...(byPorts.get(key) ?? []), slice]);
    }
    for (const [key, { ports, endpoints }] of groups) {
      const own = byPorts.get(key) ?? [];
      for (const slice of own) free.delete(slice);
      fill({ addressType, ports, labels }, endpoints, own, { create, update, remove });
    }
    if (groups.size === 0) {
      const kept = existing[0];
      const content: SliceContent = { addressType, ports: [], endpoints: [], labels };
      if (!kept) create.push(content);
      else {
        free.delete(kept);
        if (!sameContent(kept, content)) update.push({ slice: kept, content });
      }
    }
    remove.push(...free);
  }
  return { create, update, remove };
}

function groupByPorts(
  service: ServiceView,
  pods: readonly PodView[],
  addressType: "IPv4" | "IPv6",
  zoneOf: (nodeName: string) => string | undefined,
) {
  const groups = new Map<string, { ports: readonly ResolvedPort[]; endpoints: Map<string, Endpoint> }>();
  for (const pod of pods) {
    const address = podAddresses(pod, addressType === "IPv4" ? 4 : 6)[0];
    if (!address || isTerminated(pod)) continue;
    const ports = resolvePorts(service, pod);
    const key = portsKey(ports);
    const group = groups.get(key) ?? { ports, endpoints: new Map() };
    const zone = pod.spec?.nodeName ? zoneOf(pod.spec.nodeName) : undefined;
    group.endpoints.set(pod.metadata.uid ?? "", endpointOf(service, pod, address, zone));
    groups.set(key, group);
  }
  return groups;
}

function fill(
  common: Omit<SliceContent, "endpoints">,
  endpoints: ReadonlyMap<string, Endpoint>,
  own: readonly SliceView[],
  plan: { create: SliceContent[]; update: { slice: SliceView; content: SliceContent }[]; remove: SliceView[] },
): void {
  const missing = new Map(endpoints);
  const kept = own.map((slice) => {
    const stay: Endpoint[] = [];
    for (const { targetRef } of slice.endpoints ?? []) {
      const uid = targetRef?.uid ?? "";
      const endpoint = missing.get(uid);
      if (endpoint) stay.push(endpoint);
      missing.delete(uid);
    }
    return { slice, stay };
  });
  const rest = [...missing.values()];
  // The fullest with room first, so that slices fill up and few are touched.
  for (const { stay } of [...kept].sort((a, b) => b.stay.length - a.stay.length)) {
    stay.push(...rest.splice(0, Math.max(0, maxEndpoints - stay.length)));
  }
  for (const { slice, stay } of kept) {
    const content = { ...common, endpoints: stay };
    if (stay.length === 0) plan.remove.push(slice);
    else if (!sameContent(slice, content)) plan.update.push({ slice, content });
  }
  while (rest.length > 0) plan.create.push({ ...common, endpoints: rest.splice(0, maxEndpoints) });
}

function slicePorts(slice: SliceView): ResolvedPort[] {
  return (slice.ports ?? []).map(({ name = "", protocol = "TCP", port = 0, appProtocol }) => ({
    name,
    protocol,
    port,
    ...(appProtocol ? { appProtocol } : {}),
  }));
}

function portsKey(ports: readonly ResolvedPort[]): string {
  return ports.map(sortedJson).sort().join();
}

function sameContent(slice: SliceView, content: SliceContent): boolean {
  return (
    deepEqual(slice.endpoints ?? [], content.endpoints) &&
    deepEqual(slice.metadata.labels ?? {}, content.labels) &&
    portsKey(slicePorts(slice)) === portsKey(content.ports)
  );
}
