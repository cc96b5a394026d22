import { parseJson } from "../../machinery/json.ts";
import type { Supervisor } from "./supervisor-client.ts";

/** What a node has to know of its cluster, as `/v1-k3s/config` tells it (K3s' field names). */
export interface ClusterConfig {
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  readonly clusterDns: string;
  readonly clusterDomain: string;
  readonly flannelBackend: "vxlan" | "host-gw" | "none";
  readonly disableProxy: boolean;
  /** Nodes answer no DNS: `--disable coredns`, so the cluster brings its own. */
  readonly disableDns: boolean;
}

/** Go's encoding of a network: the address, and the mask's bytes in base64. */
interface GoNetwork {
  readonly IP: string;
  readonly Mask: string;
}

/** The reply's form, from the settings of a server. */
export function encodeClusterConfig(
  config: ClusterConfig & {
    httpsPort: number;
    /** Only other servers ask for these. */
    disableCloudController?: boolean;
    disableHelmController?: boolean;
    disableNetworkPolicy?: boolean;
    disableServiceLb?: boolean;
  },
): Record<string, unknown> {
  return {
    ClusterDNS: config.clusterDns,
    ClusterDNSs: [config.clusterDns],
    ClusterDomain: config.clusterDomain,
    ClusterIPRange: encodeNetwork(config.clusterCidr),
    ClusterIPRanges: [encodeNetwork(config.clusterCidr)],
    ServiceIPRange: encodeNetwork(config.serviceCidr),
    ServiceIPRanges: [encodeNetwork(config.serviceCidr)],
    FlannelBackend: config.flannelBackend,
    EgressSelectorMode: "agent",
    HTTPSPort: config.httpsPort,
    SupervisorPort: config.httpsPort,
    DisableKubeProxy: config.disableProxy,
    DisableCCM: config.disableCloudController === true,
    DisableHelmController: config.disableHelmController === true,
    DisableNPC: config.disableNetworkPolicy === true,
    DisableServiceLB: config.disableServiceLb === true,
    // Not K3s': there the DNS is a pod, which only the server has to leave out.
    DisableDNS: config.disableDns,
  };
}

/** Asks the server. */
export async function fetchClusterConfig(supervisor: Supervisor): Promise<ClusterConfig> {
  return decodeClusterConfig(await supervisor.get("/v1-k3s/config"));
}

/** Reads the reply. */
export function decodeClusterConfig(body: Buffer): ClusterConfig {
  const reply = parseJson(body) as Record<string, unknown>;
  return {
    clusterCidr: decodeNetwork(reply["ClusterIPRange"] as GoNetwork),
    serviceCidr: decodeNetwork(reply["ServiceIPRange"] as GoNetwork),
    clusterDns: reply["ClusterDNS"] as string,
    clusterDomain: reply["ClusterDomain"] as string,
    flannelBackend: reply["FlannelBackend"] as ClusterConfig["flannelBackend"],
    disableProxy: reply["DisableKubeProxy"] === true,
    disableDns: reply["DisableDNS"] === true,
  };
}

function encodeNetwork(cidr: string): GoNetwork {
  const [address = "", prefix = "0"] = cidr.split("/");
  const bits = BigInt.asUintN(32, (0xffffffffn << BigInt(32 - Number(prefix))) & 0xffffffffn);
  const mask = Buffer.alloc(4);
  mask.writeUInt32BE(Number(bits));
  return { IP: address, Mask: mask.toString("base64") };
}

function decodeNetwork(network: GoNetwork): string {
  let prefix = 0;
  for (const byte of Buffer.from(network.Mask, "base64")) prefix += byte.toString(2).replaceAll("0", "").length;
  return `${network.IP}/${prefix}`;
}
