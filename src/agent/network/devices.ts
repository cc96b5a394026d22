import { parseCidr } from "../../machinery/cidr.ts";
import { getLink, ipBatch, type Link, listLinks, listRoutes } from "../host/ip.ts";
import { podBridge } from "./cni-config.ts";
import type { Backend } from "./flannel-annotations.ts";
import { macOf, serviceDevice, vxlanDevice, vxlanId, vxlanOverhead, vxlanPort } from "./overlay.ts";

/** The interface that carries the traffic between nodes. */
export interface Uplink {
  readonly device: string;
  readonly address: string;
  readonly mtu: number;
}

/**
 * Finds the interface between nodes: the one named, else the one that has the node's address, else the default route's.
 * Throws an error that names what was looked for and which interfaces there are.
 */
export async function findUplink({ nodeIp, iface }: { nodeIp: string; iface?: string }): Promise<Uplink> {
  const links = await listLinks();
  const addressed = (link: Link | undefined, address?: string): Uplink | undefined => {
    const found = link?.addresses.find((entry) => entry.family === "inet" && (!address || entry.address === address));
    return link && found && { device: link.name, address: found.address, mtu: link.mtu };
  };
  const names = links.map((link) => `"${link.name}"`).join(", ");
  if (iface) {
    const link = links.find(({ name }) => name === iface);
    const uplink = addressed(link, nodeIp) ?? addressed(link);
    if (uplink) return uplink;
    const why = link ? "it has no IPv4 address" : `there are ${names}`;
    throw new Error(`use interface "${iface}" for the pod network (--flannel-iface): ${why}`);
  }
  for (const link of links) {
    const uplink = addressed(link, nodeIp);
    if (uplink) return uplink;
  }
  // The node's address may belong to something in front of this machine.
  const device = (await listRoutes()).find((route) => route.destination === "default")?.device;
  const uplink = addressed(links.find((link) => link.name === device));
  if (uplink) return uplink;
  throw new Error(
    `find the interface of node IP "${nodeIp}": no interface has it and there is no default route (${names})`,
  );
}

/** Bytes that a pod's packet may have. */
export function podMtu(backend: Backend, uplinkMtu: number): number {
  return backend === "vxlan" ? uplinkMtu - vxlanOverhead : uplinkMtu;
}

export interface DeviceOptions {
  readonly backend: Backend;
  readonly nodeName: string;
  readonly podCidr: string;
  readonly uplink: Uplink;
  readonly mtu: number;
}

/** Makes the node's devices what they should be; one of wrong make is replaced, a right one is left alone. */
export async function ensureDevices(options: DeviceOptions): Promise<void> {
  await ensureBridge(options);
  await ensureServiceDevice();
  if (options.backend === "vxlan") await ensureVxlan(options);
  else if (await getLink(vxlanDevice)) await ipBatch([`link delete ${vxlanDevice}`]);
}

/** The pods' bridge, made ahead of the first pod so that the first one starts as fast as all others. */
async function ensureBridge({ nodeName, podCidr, mtu }: DeviceOptions): Promise<void> {
  const range = parseCidr(podCidr);
  const gateway = range.nth(1);
  const link = await getLink(podBridge);
  const ipv4 = link?.addresses.filter((entry) => entry.family === "inet") ?? [];
  const lines: string[] = [];
  const wrong = link && (link.kind !== "bridge" || ipv4.some((entry) => entry.address !== gateway));
  // An address of an earlier pod range (the cluster was made anew) would make the plugin refuse every pod.
  if (wrong) lines.push(`link delete ${podBridge}`);
  if (!link || wrong)
    lines.push(`link add ${podBridge} mtu ${mtu} address ${macOf(`${podBridge} ${nodeName}`)} type bridge`);
  if (wrong || !ipv4.length) lines.push(`address replace ${gateway}/${range.prefix} brd + dev ${podBridge}`);
  if (wrong || !link?.up) lines.push(`link set ${podBridge} up`);
  await ipBatch(lines);
}

/** A bridge without ports: what is sent there is dropped. (Not every kernel has dummy devices.) */
async function ensureServiceDevice(): Promise<void> {
  const link = await getLink(serviceDevice);
  if (link?.up) return;
  await ipBatch([
    ...(link ? [] : [`link add ${serviceDevice} type bridge`]),
    `link set ${serviceDevice} arp off`,
    `link set ${serviceDevice} up`,
  ]);
}

async function ensureVxlan({ nodeName, podCidr, uplink, mtu }: DeviceOptions): Promise<void> {
  const address = parseCidr(podCidr).nth(0);
  const mac = macOf(`${vxlanDevice} ${nodeName}`);
  const link = await getLink(vxlanDevice);
  const right =
    link?.kind === "vxlan" &&
    link.mac === mac &&
    link.mtu === mtu &&
    link.data["id"] === vxlanId &&
    link.data["port"] === vxlanPort &&
    link.data["local"] === uplink.address &&
    link.data["link"] === uplink.device &&
    link.addresses.filter((entry) => entry.family === "inet").every((entry) => entry.address === address);
  const lines: string[] = [];
  if (link && !right) lines.push(`link delete ${vxlanDevice}`);
  if (!right) {
    const tunnel = `id ${vxlanId} dev ${uplink.device} local ${uplink.address} dstport ${vxlanPort} nolearning`;
    lines.push(`link add ${vxlanDevice} mtu ${mtu} address ${mac} type vxlan ${tunnel}`);
  }
  if (!right || !link?.up || !link.addresses.some((entry) => entry.address === address)) {
    lines.push(`address replace ${address}/32 dev ${vxlanDevice}`, `link set ${vxlanDevice} up`);
  }
  await ipBatch(lines);
}
