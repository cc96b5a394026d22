import type { Logger } from "../../machinery/log.ts";
import { run } from "../host/command.ts";
import { readSysctl, writeSysctl } from "../host/sysctl.ts";

const bridgeFilter = "net/bridge/bridge-nf-call-iptables";

/**
 * Sets what the kernel needs to forward between pods, Services and nodes.
 * Gives whether packets between pods of one bridge pass the node's nftables rules (br_netfilter is there). Throws when
 * forwarding cannot be turned on.
 */
export async function setKernelParameters(logger: Logger): Promise<boolean> {
  await writeSysctl("net/ipv4/ip_forward", "1");
  await loosenReversePath();
  // Node and host ports on 127.0.0.1 lead from a loopback address to a pod, which the kernel drops unless told otherwise.
  await writeSysctl("net/ipv4/conf/all/route_localnet", "1");
  return filterBridge(logger);
}

/** A strict check drops Service traffic that comes in one way and is answered another. The larger of both values counts. */
async function loosenReversePath(): Promise<void> {
  const paths = ["net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter"];
  const values = await Promise.all(paths.map(readSysctl));
  if (values.includes("1")) await writeSysctl(paths[0]!, "2");
}

/** Lets packets between pods of one bridge pass the node's rules; false when the kernel cannot. Safe to call again. */
export async function filterBridge(logger: Logger): Promise<boolean> {
  try {
    // Loading works only where the machine's modules are visible; often somebody else has done it.
    if ((await readSysctl(bridgeFilter)) === undefined) await run("modprobe", ["--", "br_netfilter"]);
    await writeSysctl(bridgeFilter, "1");
    return true;
  } catch (error) {
    const fields = { error: error instanceof Error ? error.message : String(error) };
    logger.warn(fields, "No br_netfilter: pods see the node's address on Service traffic from pods of the same node");
    return false;
  }
}
