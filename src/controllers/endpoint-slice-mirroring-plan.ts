import type { EndpointAddress, EndpointPort, Endpoints } from "../api/generated/core-v1.ts";
import type { Endpoint, EndpointSlice } from "../api/generated/discovery-v1.ts";
import { parseIp } from "../machinery/cidr.ts";
import { deepEqual } from "../machinery/equality.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { sortedJson } from "./shared/template-hash.ts";

export type EndpointsView = DeepReadonly<Endpoints>;
type SliceView = DeepReadonly<EndpointSlice>;
type Address = DeepReadonly<EndpointAddress>;

export const mirroringManager = "endpointslicemirroring-controller.k8s.io";
export const managedByLabel = "endpointslice.kubernetes.io/managed-by";
export const serviceNameLabel = "kubernetes.io/service-name";
const skipLabel = "endpointslice.kubernetes.io/skip-mirror";
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader";
/** Annotations that are about the Endpoints themselves. */
const ownAnnotations = new Set([
  "endpoints.kubernetes.io/last-change-trigger-time",
  "kubectl.kubernetes.io/last-applied-configuration",
]);
/** Addresses of one subset that are mirrored at most. */
const maxPerSubset = 1000;

/** What a mirrored slice holds. */
export interface Mirror {
  readonly addressType: "IPv4" | "IPv6";
  readonly ports: NonNullable<EndpointSlice["ports"]>;
  readonly endpoints: readonly Endpoint[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface MirrorPlan {
  readonly create: readonly Mirror[];
  readonly update: readonly { readonly slice: SliceView; readonly mirror: Mirror }[];
  readonly remove: readonly SliceView[];
  /** Addresses that are no IP addresses. */
  readonly invalid: number;
  /** Addresses beyond what is mirrored, with the invalid ones. */
  readonly skipped: number;
}

/** Are these Endpoints to be mirrored, as far as they say themselves? */
export function isMirrored({ metadata }: EndpointsView): boolean {
  return metadata.labels?.[skipLabel] !== "true" && metadata.annotations?.[leaderAnnotation] === undefined;
}

/** How the slices that mirror Endpoints have to change: one for each set of ports and address family. */
export function planMirrors(endpoints: EndpointsView, slices: readonly SliceView[]): MirrorPlan {
  const wanted = new Map<string, Mirror & { readonly byAddress: Map<string, Endpoint> }>();
  let invalid = 0;
  let skipped = 0;
  const labels = {
    ...(endpoints.metadata.labels as Record<string, string> | undefined),
    [serviceNameLabel]: endpoints.metadata.name ?? "",
    [managedByLabel]: mirroringManager,
  };
  const annotations = Object.fromEntries(
    Object.entries(endpoints.metadata.annotations ?? {}).filter(([key]) => !ownAnnotations.has(key)),
  );
  for (const { ports: from, addresses = [], notReadyAddresses = [] } of endpoints.subsets ?? []) {
    const ports = (from ?? []).map(portOf);
    let taken = 0;
    const all = [
      ...addresses.map((address) => [address, true] as const),
      ...notReadyAddresses.map((address) => [address, false] as const),
    ];
    for (const [address, ready] of all) {
      if (taken >= maxPerSubset) break;
      const family = parseIp(address.ip)?.family;
      if (!family) {
        invalid++;
        continue;
      }
      taken++;
      const addressType = family === 4 ? "IPv4" : "IPv6";
      const key = keyOf(addressType, ports);
      const mirror = wanted.get(key) ?? {
        addressType,
        ports,
        endpoints: [],
        labels,
        annotations,
        byAddress: new Map<string, Endpoint>(),
      };
      mirror.byAddress.set(
        sortedJson([address.ip, address.targetRef?.uid, address.nodeName]),
        endpointOf(address, ready),
      );
      wanted.set(key, mirror);
    }
    skipped += all.length - taken;
  }
  const plan = { create: [] as Mirror[], update: [] as MirrorPlan["update"][number][], remove: [] as SliceView[] };
  const existing = new Map<string, SliceView>();
  for (const slice of slices) {
    const key = keyOf(slice.addressType, slice.ports ?? []);
    if (wanted.has(key) && !existing.has(key)) existing.set(key, slice);
    else plan.remove.push(slice);
  }
  for (const [key, { byAddress, ...rest }] of wanted) {
    const mirror: Mirror = { ...rest, endpoints: [...byAddress.values()].slice(0, maxPerSubset) };
    const slice = existing.get(key);
    if (!slice) plan.create.push(mirror);
    else if (!isSame(slice, mirror, endpoints)) plan.update.push({ slice, mirror });
  }
  return { ...plan, invalid, skipped };
}

function isSame(slice: SliceView, mirror: Mirror, { metadata }: EndpointsView): boolean {
  const sorted = (list: DeepReadonly<Endpoint[]>) => list.map(sortedJson).sort().join();
  return (
    sorted(slice.endpoints ?? []) === sorted(mirror.endpoints as DeepReadonly<Endpoint[]>) &&
    deepEqual(slice.metadata.labels ?? {}, mirror.labels) &&
    deepEqual(slice.metadata.annotations ?? {}, mirror.annotations) &&
    (slice.metadata.ownerReferences ?? []).every(({ kind, uid }) => kind !== "Endpoints" || uid === metadata.uid)
  );
}

function portOf({ name = "", port, protocol = "TCP", appProtocol }: DeepReadonly<EndpointPort>) {
  return { name, port, protocol, ...(appProtocol ? { appProtocol } : {}) };
}

function keyOf(addressType: string, ports: DeepReadonly<NonNullable<EndpointSlice["ports"]>>): string {
  const plain = ports.map(({ name = "", port = 0, protocol = "TCP", appProtocol }) =>
    portOf({ name, port, protocol, ...(appProtocol ? { appProtocol } : {}) }),
  );
  return `${addressType} ${plain.map(sortedJson).sort().join()}`;
}

function endpointOf({ ip, hostname, nodeName, targetRef }: Address, ready: boolean): Endpoint {
  return {
    addresses: [ip],
    conditions: { ready },
    ...(hostname ? { hostname } : {}),
    ...(nodeName ? { nodeName } : {}),
    ...(targetRef ? { targetRef: { ...targetRef } } : {}),
  };
}
