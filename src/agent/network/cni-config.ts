import { access, constants, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { parseCidr } from "../../machinery/cidr.ts";

/** The bridge that joins a node's pods, and K3s' names of the network and its file. */
export const podBridge = "cni0";
export const cniNetworkName = "cbr0";
export const cniConfigFile = "10-flannel.conflist";

/** The CNI configuration list of a node: pods on a bridge, addresses out of the node's pod range. */
export function renderCniConfig({ podCidr, mtu }: { podCidr: string; mtu: number }): string {
  const config = {
    name: cniNetworkName,
    cniVersion: "1.0.0",
    plugins: [
      {
        type: "bridge",
        bridge: podBridge,
        isDefaultGateway: true,
        // Masquerade and host ports are in the node's nftables tables, not in rules of plugins.
        ipMasq: false,
        // A pod that reaches itself through its Service comes back over the port it came from.
        hairpinMode: true,
        mtu,
        ipam: { type: "host-local", ranges: [[{ subnet: podCidr }]] },
      },
    ],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** What flannel leaves for others to read. */
export function renderSubnetFile(options: { clusterCidr: string; podCidr: string; mtu: number }): string {
  const { clusterCidr, podCidr, mtu } = options;
  const range = parseCidr(podCidr);
  return [
    `FLANNEL_NETWORK=${clusterCidr}`,
    `FLANNEL_SUBNET=${range.nth(1)}/${range.prefix}`,
    `FLANNEL_MTU=${mtu}`,
    "FLANNEL_IPMASQ=true",
    "",
  ].join("\n");
}

/**
 * Writes a file so that a reader sees the old or the new text, never a part. A file that has this text is left alone,
 * since the runtime reloads its network for every change.
 */
export async function writeWhole(folder: string, name: string, text: string): Promise<void> {
  const path = `${folder}/${name}`;
  const present = await readFile(path, "utf8").catch(() => undefined);
  if (present === text) return;
  await mkdir(folder, { recursive: true });
  // The runtime looks at files by their ending, so a part-written one must not have that ending.
  const draft = `${folder}/.${name}.new`;
  await writeFile(draft, text, { mode: 0o644 });
  await rename(draft, path);
}

/** Throws an error that names the plugins that the configuration uses and that are not in the folder. */
export async function requirePlugins(folder: string): Promise<void> {
  const missing: string[] = [];
  for (const plugin of ["bridge", "host-local", "loopback"]) {
    await access(`${folder}/${plugin}`, constants.X_OK).catch(() => missing.push(plugin));
  }
  if (!missing.length) return;
  const names = missing.map((plugin) => `"${plugin}"`).join(", ");
  throw new Error(`find CNI plugins ${names} in "${folder}": install Debian package containernetworking-plugins`);
}
