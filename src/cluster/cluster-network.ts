import type Docker from "dockerode";
import { parseCidr } from "../machinery/cidr.ts";
import { labels, networkName } from "./cluster-names.ts";

/** How often another network may take the range that was just found to be free. */
const attempts = 5;

/**
 * Makes a cluster's own network.
 * @param fixed whether containers will have addresses of their own choice; the engine allows that only where it was told
 * the range, so one that it found free is given to it again
 */
export async function createClusterNetwork(docker: Docker, cluster: string, fixed: boolean): Promise<void> {
  const options = { Name: networkName(cluster), Driver: "bridge", Labels: { [labels.cluster]: cluster } };
  const network = await docker.createNetwork(options);
  if (!fixed) return;
  let subnet = await subnetOf(docker, networkName(cluster));
  await network.remove();
  for (let attempt = 1; ; attempt++) {
    try {
      // What the engine hands out by itself is the lower half.
      await docker.createNetwork({ ...options, IPAM: { Config: [{ Subnet: subnet, IPRange: lowerHalf(subnet) }] } });
      return;
    } catch (error) {
      if (attempt === attempts || !/overlap/.test((error as Error).message)) throw error;
      const other = await docker.createNetwork(options);
      subnet = await subnetOf(docker, networkName(cluster));
      await other.remove();
    }
  }
}

/** The IPv4 range of a network. */
export async function subnetOf(docker: Docker, network: string): Promise<string> {
  const { IPAM } = await docker.getNetwork(network).inspect();
  const subnet = IPAM?.Config?.map(({ Subnet = "" }) => Subnet).find((range) => range.includes("."));
  if (!subnet) throw new Error(`network "${network}" has no IPv4 range; make the cluster in another one`);
  return subnet;
}

/** The address of the `index`th container that has one of its own: in the upper half. */
export function fixedAddress(subnet: string, index: number): string {
  const half = 2 ** (31 - prefixOf(subnet));
  if (index + 1 >= half) throw new Error(`network ${subnet} has no address left for another server`);
  return parseCidr(subnet).nth(half + index);
}

function lowerHalf(subnet: string): string {
  return `${subnet.split("/")[0]}/${prefixOf(subnet) + 1}`;
}

function prefixOf(subnet: string): number {
  return Number(subnet.split("/")[1]);
}
