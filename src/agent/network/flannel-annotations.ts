import type { Node } from "../../api/generated/core-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";

export type Backend = "vxlan" | "host-gw";

const prefix = "flannel.alpha.coreos.com";

/** What a node tells the others through its annotations. */
export interface NetworkPeer {
  readonly name: string;
  readonly podCidr: string;
  /** Address under which the others reach it. */
  readonly publicIp: string;
  readonly backend: string;
  /** Hardware address of its vxlan device. */
  readonly vtepMac?: string;
}

/** The annotations that flannel would put on this node. */
export function networkAnnotations(options: {
  backend: Backend;
  publicIp: string;
  vtepMac?: string;
}): Record<string, string> {
  const { backend, publicIp, vtepMac } = options;
  return {
    [`${prefix}/backend-type`]: backend,
    [`${prefix}/backend-data`]: backend === "vxlan" ? JSON.stringify({ VNI: 1, VtepMAC: vtepMac }) : "null",
    [`${prefix}/public-ip`]: publicIp,
    [`${prefix}/kube-subnet-manager`]: "true",
  };
}

/** Reads what a node said; `undefined` while it has no pod range or has said nothing yet. */
export function peerOf(node: DeepReadonly<Node>): NetworkPeer | undefined {
  const annotations = node.metadata.annotations ?? {};
  const publicIp = annotations[`${prefix}/public-ip-overwrite`] || annotations[`${prefix}/public-ip`];
  const backend = annotations[`${prefix}/backend-type`];
  const podCidr = podCidrOf(node);
  if (!node.metadata.name || !podCidr || !publicIp || !backend) return undefined;
  const vtepMac = vtepMacOf(annotations[`${prefix}/backend-data`]);
  return { name: node.metadata.name, podCidr, publicIp, backend, ...(vtepMac ? { vtepMac } : {}) };
}

/** The node's IPv4 pod range. */
export function podCidrOf(node: DeepReadonly<Node>): string | undefined {
  const ranges = node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []);
  return ranges.find((range) => !range.includes(":"));
}

function vtepMacOf(data: string | undefined): string | undefined {
  try {
    const mac = JSON.parse(data ?? "null")?.VtepMAC;
    // It becomes an argument of a program, so it has to be an address and nothing else.
    return typeof mac === "string" && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac) ? mac.toLowerCase() : undefined;
  } catch {
    return undefined;
  }
}
