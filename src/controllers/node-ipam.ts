import { nodes } from "../api/generated/core-v1.ts";
import { type Cidr, parseCidr } from "../machinery/cidr.ts";
import { type ControllerFactory, watch } from "./controller.ts";

/** The first subnet of `range` with the given prefix that is not used; undefined when all are. */
export function freeSubnet(range: Cidr, prefix: number, used: readonly Cidr[]): Cidr | undefined {
  const taken = new Set<bigint>();
  const size = 1n << BigInt(range.bits - prefix);
  for (const cidr of used) {
    if (!range.overlaps(cidr)) continue;
    // A foreign, wider range takes all the subnets in it.
    const first = cidr.base > range.base ? (cidr.base - range.base) / size : 0n;
    const end = cidr.base + cidr.size;
    const count = range.subnetCount(prefix);
    for (let index = first; index < count && range.base + index * size < end; index++) taken.add(index);
  }
  for (let index = 0n; index < range.subnetCount(prefix); index++) {
    if (!taken.has(index)) return range.subnet(prefix, index);
  }
  return undefined;
}

/** Cuts each node's pod range from the cluster's. What is used is read from the nodes, so nothing is kept. */
export const nodeIpamController: ControllerFactory = {
  name: "node-controller",
  create({ client, informers, events, config }) {
    const informer = informers.of(nodes);
    const ranges = config.clusterCidrs.map(parseCidr);
    /** Given out, but not yet to be seen in the informer. */
    const pending = new Map<string, { readonly uid: string | undefined; readonly subnets: readonly Cidr[] }>();
    return {
      // One at a time: two nodes must not be given the same range.
      workers: 1,
      watches: [watch(informer, (node) => [node.metadata.name ?? ""])],
      async reconcile(name, signal) {
        const node = informer.get(name);
        if (!node || node.spec?.podCIDR || node.spec?.podCIDRs?.length) {
          pending.delete(name);
          return undefined;
        }
        const { uid } = node.metadata;
        // A node of the same name that was made anew is another one.
        if (node.metadata.deletionTimestamp || (pending.has(name) && pending.get(name)?.uid === uid)) return undefined;
        const used: Cidr[] = [...pending.values()].flatMap(({ subnets }) => subnets);
        for (const { spec } of informer.list()) {
          for (const text of spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : [])) used.push(parseCidr(text));
        }
        const subnets: Cidr[] = [];
        for (const range of ranges) {
          const prefix = range.family === 4 ? config.nodeCidrMaskSizeIpv4 : config.nodeCidrMaskSizeIpv6;
          const subnet = freeSubnet(range, prefix, used);
          if (!subnet) {
            events.event(nodes, node, "Warning", "CIDRNotAvailable", `Node ${name} status is now: CIDRNotAvailable`);
            throw new Error(`no range of ${range} is left for node ${JSON.stringify(name)}`);
          }
          subnets.push(subnet);
        }
        const podCIDRs = subnets.map(String);
        pending.set(name, { uid, subnets });
        try {
          const body = { metadata: { uid }, spec: { podCIDR: podCIDRs[0], podCIDRs } };
          await client.patch(nodes, name, { type: "strategic", body }, { signal });
        } catch (error) {
          pending.delete(name);
          throw error;
        }
        return undefined;
      },
    };
  },
};
