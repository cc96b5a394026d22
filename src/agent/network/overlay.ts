import { createHash } from "node:crypto";
import { parseCidr, parseIp } from "../../machinery/cidr.ts";
import type { FdbEntry, Neighbour, Route } from "../host/ip.ts";
import type { Backend, NetworkPeer } from "./flannel-annotations.ts";

export const vxlanDevice = "flannel.1";
export const vxlanPort = 8472;
export const vxlanId = 1;
/** Bytes that vxlan over IPv4 adds to a packet. */
export const vxlanOverhead = 50;
/** A device that leads nowhere; see {@link planOverlay}. */
export const serviceDevice = "k3ts-svc";
/** Marks routes as ours (a number that nobody else registered), so that stale ones are told from a user's. */
export const routeProtocol = 107;

export interface OverlayInput {
  readonly backend: Backend;
  readonly nodeName: string;
  readonly nodeIp: string;
  /** Interface that carries traffic between nodes. */
  readonly device: string;
  readonly podCidr: string;
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  readonly peers: readonly NetworkPeer[];
}

/** What the kernel holds, or should hold, for the pod network. */
export interface Overlay {
  readonly routes: readonly Route[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
}

/**
 * The routes and vxlan entries that lead to every other node's pods.
 *
 * The whole pod range is unreachable where no node's range says otherwise, so that packets for pods of nodes that are
 * gone die here instead of wandering off through the default route. The service range leads to a device without an
 * exit: the kernel looks for a route before the node's own packets get their endpoint as the destination, so there has
 * to be one, and one that ends here.
 */
export function planOverlay(input: OverlayInput): Overlay {
  const routes: Route[] = [
    { destination: input.clusterCidr, type: "unreachable", protocol: routeProtocol },
    {
      destination: input.serviceCidr,
      type: "unicast",
      device: serviceDevice,
      source: input.nodeIp,
      protocol: routeProtocol,
    },
  ];
  const neighbours: Neighbour[] = [];
  const fdb: FdbEntry[] = [];
  for (const peer of input.peers) {
    if (peer.name === input.nodeName || !isUsable(peer, input)) continue;
    const range = parseCidr(peer.podCidr);
    if (input.backend === "host-gw") {
      const route = { destination: `${range}`, type: "unicast", gateway: peer.publicIp, device: input.device };
      routes.push({ ...route, protocol: routeProtocol });
    } else if (peer.vtepMac) {
      const gateway = range.nth(0);
      const route = { destination: `${range}`, type: "unicast", gateway, device: vxlanDevice };
      routes.push({ ...route, protocol: routeProtocol });
      neighbours.push({ address: gateway, mac: peer.vtepMac, permanent: true });
      fdb.push({ mac: peer.vtepMac, destination: peer.publicIp });
    }
  }
  return { routes, neighbours, fdb };
}

/** What a peer says reaches programs and routes of this node: only well-formed and plausible values count. */
function isUsable(peer: NetworkPeer, input: OverlayInput): boolean {
  if (peer.backend !== input.backend || parseIp(peer.publicIp)?.family !== 4) return false;
  const cluster = parseCidr(input.clusterCidr);
  const range = parseCidr(peer.podCidr);
  return range.prefix > cluster.prefix && range.overlaps(cluster) && !range.overlaps(parseCidr(input.podCidr));
}

/** Commands that turn what is observed into what is wanted; empty when nothing has to change. */
export interface OverlayCommands {
  readonly ip: readonly string[];
  readonly bridge: readonly string[];
}

/** Compares; what is missing is set before what is stale goes, so that no address is without a way in between. */
export function diffOverlay(wanted: Overlay, observed: Overlay): OverlayCommands {
  const wantedRoutes = new Map(wanted.routes.map((route) => [route.destination, routeText(route)]));
  const observedRoutes = new Map(observed.routes.map((route) => [route.destination, routeText(route)]));
  const wantedMacs = new Map(wanted.neighbours.map(({ address, mac }) => [address, mac]));
  const observedMacs = new Map(
    observed.neighbours.filter((entry) => entry.permanent).map(({ address, mac }) => [address, mac]),
  );
  const wantedFdb = new Map(wanted.fdb.map(({ mac, destination }) => [mac, destination]));
  const observedFdb = new Map(observed.fdb.map(({ mac, destination }) => [mac, destination]));

  const ip: string[] = [];
  const bridge: string[] = [];
  for (const [mac, destination] of wantedFdb) {
    if (observedFdb.get(mac) === destination) continue;
    bridge.push(`fdb replace ${mac} dev ${vxlanDevice} dst ${destination} self permanent`);
  }
  for (const [address, mac] of wantedMacs) {
    if (observedMacs.get(address) === mac) continue;
    ip.push(`neigh replace ${address} lladdr ${mac} dev ${vxlanDevice} nud permanent`);
  }
  for (const [destination, text] of wantedRoutes) {
    if (observedRoutes.get(destination) === text) continue;
    ip.push(`route replace ${text}`);
  }
  for (const [destination, text] of observedRoutes) {
    if (!wantedRoutes.has(destination)) ip.push(`route delete ${text}`);
  }
  for (const address of observedMacs.keys()) {
    if (!wantedMacs.has(address)) ip.push(`neigh delete ${address} dev ${vxlanDevice}`);
  }
  for (const mac of observedFdb.keys()) {
    if (!wantedFdb.has(mac)) bridge.push(`fdb delete ${mac} dev ${vxlanDevice} self`);
  }
  return { ip, bridge };
}

/** A route as `ip` takes it. vxlan's gateways stand on no interface's network, hence onlink. */
function routeText(route: Route): string {
  const parts = route.type === "unicast" ? [route.destination] : [route.type, route.destination];
  if (route.gateway) parts.push("via", route.gateway);
  if (route.device && route.type === "unicast") parts.push("dev", route.device);
  if (route.gateway && route.device === vxlanDevice) parts.push("onlink");
  if (route.source) parts.push("src", route.source);
  parts.push("proto", `${routeProtocol}`);
  return parts.join(" ");
}

/** A hardware address that belongs to a name: the same after every restart, locally administered, unicast. */
export function macOf(name: string): string {
  const bytes = [...createHash("sha256").update(name).digest().subarray(0, 6)];
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
