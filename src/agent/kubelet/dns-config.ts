import type { Pod } from "../../api/generated/core-v1.ts";

export interface DnsConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

export interface DnsSettings {
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** The node's own resolv.conf, parsed. */
  readonly host: DnsConfig;
}

/** Limits of resolvers, as Kubernetes applies them. */
const mostServers = 3;
const mostSearches = 32;

/** Understands the text of a resolv.conf. */
export function parseResolvConf(text: string): DnsConfig {
  const servers: string[] = [];
  let searches: string[] = [];
  let options: string[] = [];
  for (const line of text.split("\n")) {
    const words = line.trim().split(/\s+/);
    if (words[0] === "nameserver" && words[1]) servers.push(words[1]);
    else if (words[0] === "search" || words[0] === "domain") searches = words.slice(1);
    else if (words[0] === "options") options = words.slice(1);
  }
  return { servers, searches, options };
}

function mergeOptions(base: readonly string[], over: readonly { name?: string; value?: string }[]): string[] {
  const result = new Map(base.map((option) => [option.split(":")[0]!, option]));
  for (const { name, value } of over) if (name) result.set(name, value ? `${name}:${value}` : name);
  return [...result.values()];
}

/** The resolver configuration of a pod, by its dnsPolicy and dnsConfig. */
export function podDnsConfig(pod: Pod, settings: DnsSettings): DnsConfig {
  const spec = pod.spec!;
  let policy = spec.dnsPolicy ?? "ClusterFirst";
  // On the node's network the cluster's DNS is used only when the pod says so.
  if (policy === "ClusterFirst" && spec.hostNetwork) policy = "Default";
  let base: DnsConfig;
  if (policy === "None") base = { servers: [], searches: [], options: [] };
  else if (policy === "Default" || settings.clusterDns.length === 0) base = settings.host;
  else {
    const { clusterDomain } = settings;
    base = {
      servers: settings.clusterDns,
      searches: [
        `${pod.metadata.namespace}.svc.${clusterDomain}`,
        `svc.${clusterDomain}`,
        clusterDomain,
        ...settings.host.searches,
      ],
      options: ["ndots:5"],
    };
  }
  const own = spec.dnsConfig ?? {};
  return {
    servers: [...new Set([...base.servers, ...(own.nameservers ?? [])])].slice(0, mostServers),
    searches: [...new Set([...base.searches, ...(own.searches ?? [])])].slice(0, mostSearches),
    options: mergeOptions(base.options, own.options ?? []),
  };
}

/** Host name of a pod: its own, or its name cut to what a host name may be; and its domain when it has a subdomain. */
export function podHostname(pod: Pod, clusterDomain: string): { hostname: string; domain: string | undefined } {
  const spec = pod.spec!;
  const hostname =
    spec.hostnameOverride ?? spec.hostname ?? (pod.metadata.name ?? "").slice(0, 63).replace(/[-.]+$/, "");
  const domain =
    spec.subdomain && !spec.hostnameOverride
      ? `${spec.subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}`
      : undefined;
  return { hostname, domain };
}

/** The text of a pod's /etc/hosts. */
export function podHosts(pod: Pod, podIps: readonly string[], clusterDomain: string, hostText?: string): string {
  const { hostname, domain } = podHostname(pod, clusterDomain);
  const lines = ["# Kubernetes-managed hosts file."];
  if (hostText !== undefined) {
    lines[0] = "# Kubernetes-managed hosts file (host network).";
    lines.push(hostText.trimEnd());
  } else {
    lines.push(
      "127.0.0.1\tlocalhost",
      "::1\tlocalhost ip6-localhost ip6-loopback",
      "fe00::0\tip6-localnet",
      "fe00::0\tip6-mcastprefix",
      "fe00::1\tip6-allnodes",
      "fe00::2\tip6-allrouters",
    );
    for (const ip of podIps) lines.push(domain ? `${ip}\t${hostname}.${domain}\t${hostname}` : `${ip}\t${hostname}`);
  }
  const aliases = pod.spec!.hostAliases ?? [];
  if (aliases.length > 0) {
    lines.push("", "# Entries added by HostAliases.");
    for (const { ip, hostnames } of aliases) lines.push(`${ip}\t${(hostnames ?? []).join("\t")}`);
  }
  return `${lines.join("\n")}\n`;
}
