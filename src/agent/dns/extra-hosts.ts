import { type ConfigMap, configMaps } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer, type Informer } from "../../client/informer.ts";
import { parseIp } from "../../machinery/cidr.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";

const namespace = "kube-system";
const name = "coredns";

/** Lines of "address name…" as in a hosts file: the addresses of each name. Lines that are none are passed over. */
export function parseHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const hosts = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (!parseIp(address)) continue;
    for (const each of names) hosts.set(each.toLowerCase(), [...(hosts.get(each.toLowerCase()) ?? []), address]);
  }
  return hosts;
}

export interface ExtraHosts {
  readonly informer: Informer<ConfigMap>;
  addressesOf(name: string): readonly string[];
}

/**
 * Names that tools add to the cluster's DNS: the key NodeHosts of K3s' ConfigMap kube-system/coredns (k3d writes
 * host.k3d.internal there).
 */
export function followExtraHosts(options: {
  client: Client;
  clock: Clock;
  logger: Logger;
  signal: AbortSignal;
}): ExtraHosts {
  const { client, clock, logger, signal } = options;
  const informer = createInformer(client, configMaps, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    clock,
    logger,
  });
  let hosts: ReadonlyMap<string, readonly string[]> = new Map();
  const read = (configMap?: { readonly data?: Readonly<Record<string, string>> }) => {
    hosts = parseHosts(configMap?.data?.["NodeHosts"] ?? "");
  };
  informer.on({ add: read, update: read, delete: () => read() });
  void informer.start(signal);
  return { informer, addressesOf: (host) => hosts.get(host) ?? [] };
}
