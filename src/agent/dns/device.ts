import { getLink, ipBatch } from "../host/ip.ts";

export const dnsDevice = "k3ts-dns";

/**
 * Gives this node the address of the cluster's DNS, on a device of its own: a bridge without ports, since not every
 * kernel has dummy devices. Every node has the same address, so nobody may ask for its hardware address from outside.
 */
export async function ensureDnsDevice(address: string): Promise<void> {
  const link = await getLink(dnsDevice);
  const ipv4 = link?.addresses.filter((entry) => entry.family === "inet") ?? [];
  const lines: string[] = [];
  if (!link) lines.push(`link add ${dnsDevice} type bridge`);
  if (!link?.up) lines.push(`link set ${dnsDevice} arp off`, `link set ${dnsDevice} up`);
  // An address that the cluster had before (its service range was another one) would still swallow packets.
  for (const entry of ipv4) {
    if (entry.address !== address) lines.push(`address delete ${entry.address}/${entry.prefixLength} dev ${dnsDevice}`);
  }
  if (!ipv4.some((entry) => entry.address === address)) lines.push(`address add ${address}/32 dev ${dnsDevice}`);
  await ipBatch(lines);
}
