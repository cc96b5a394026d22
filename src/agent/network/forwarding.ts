import { readFile } from "node:fs/promises";
import { run } from "../host/command.ts";
import { listNftTable } from "../host/nft.ts";

/** The chain that K3s' own network has for this: tools that tidy up after K3s know its name. */
export const forwardChain = "FLANNEL-FWD";

/**
 * Lets packets of pods through an iptables firewall of the network namespace that this node lives in. Containers have
 * none; on a machine's own network (`--network host`), Docker or an administrator may drop what is forwarded.
 * Does nothing without a filter table. Throws `CommandError` when the rules cannot be read or written.
 */
export async function allowForwarding(clusterCidr: string): Promise<void> {
  if (!(await hasFilterTable())) return;
  const { stdout } = await run("iptables", ["-w", "-S"]);
  const rules = missingForwardRules(stdout, clusterCidr);
  if (rules) await run("iptables-restore", ["-w", "--noflush"], { input: rules });
}

/**
 * What `iptables-restore --noflush` has to add, or `undefined` when all is there.
 * @param listing what `iptables -S` prints
 */
export function missingForwardRules(listing: string, clusterCidr: string): string | undefined {
  const present = new Set(listing.split("\n").map((line) => line.trim()));
  const jump = `-A FORWARD -j ${forwardChain}`;
  const rules = ["-s", "-d"].map((end) => `-A ${forwardChain} ${end} ${clusterCidr} -j ACCEPT`);
  if ([jump, ...rules].every((rule) => present.has(rule))) return undefined;
  const lines = [
    "*filter",
    // Naming a chain empties it.
    `:${forwardChain} - [0:0]`,
    ...rules,
    // Before what others drop or reject.
    ...(present.has(jump) ? [] : [jump.replace("-A FORWARD", "-I FORWARD 1")]),
    "COMMIT",
  ];
  return `${lines.join("\n")}\n`;
}

/** Both kinds of iptables: the kernel lists tables of the older one, nftables has the others. */
async function hasFilterTable(): Promise<boolean> {
  const legacy = await readFile("/proc/net/ip_tables_names", "utf8").catch(() => "");
  return legacy.split("\n").includes("filter") || (await listNftTable("ip", "filter")) !== undefined;
}
