import { isIP } from "node:net";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { EtcdCertificates } from "./etcd-certificates.ts";

/** How a member begins: a cluster of its own, a place in another one, or what its data directory says. */
export type EtcdBeginning =
  | {
      readonly kind: "new";
      /** "name=https://address:2380" of all that found it together, this one included; default: this one alone. */
      readonly members?: readonly string[];
    }
  | {
      readonly kind: "join";
      /** As above, of every member. */
      readonly members: readonly string[];
    }
  | { readonly kind: "existing" }
  /** With its data, as the only member of the cluster. */
  | { readonly kind: "reset" };

export interface EtcdConfigOptions {
  readonly name: string;
  readonly dataDirectory: string;
  /** The node's address: what members and other servers reach this one by. */
  readonly address: string;
  readonly certificates: EtcdCertificates;
  readonly beginning: EtcdBeginning;
  /** Metrics also on the node's address (`--etcd-expose-metrics`). */
  readonly exposeMetrics: boolean;
  /** `--etcd-arg`: "key=value". */
  readonly extraArguments: readonly string[];
}

const clientPort = 2379;
const peerPort = 2380;
const metricsPort = 2381;
const clientHttpPort = 2382;

function url(address: string, port: number, scheme = "https"): string {
  return `${scheme}://${isIP(address) === 6 ? `[${address}]` : address}:${port}`;
}

/** Where members reach the one at `address`. */
export const peerUrl = (address: string) => url(address, peerPort);

/** Where clients reach the member at `address`. */
export const clientUrl = (address: string) => url(address, clientPort);

/**
 * Where a server reaches its own member without the network. A server whose node address is itself one of the loopback
 * network has that address alone, so that several servers fit on one machine.
 */
export function localAddress(address: string): string {
  if (address.startsWith("127.")) return address;
  return isIP(address) === 6 ? "::1" : "127.0.0.1";
}

/**
 * etcd's configuration file as an object, in K3s' terms except for two:
 * - K3s' election timeout of 5 s suits SD cards, but a killed leader is then missed for up to 10 s, and a member that
 *   starts alone waits up to 5 s for its own election. etcd's defaults (100 ms, 1 s) replace a leader in 1 to 2 s; an
 *   election that a slow disk brings about needlessly costs as long, and pre-vote keeps a healthy leader. Whoever has
 *   slower disks sets them with --etcd-arg.
 * - No progress notices on a schedule: our store asks for progress when it wants it, and idle servers stay idle.
 * History is compacted by the store, so etcd does not. The quota is etcd's own (2 GiB), as in K3s.
 * @throws ConfigurationError naming the --etcd-arg that cannot be read
 */
export function etcdConfig(options: EtcdConfigOptions): Record<string, unknown> {
  const { address, certificates, beginning } = options;
  const local = localAddress(address);
  const on = (port: number) => [...new Set([local, address])].map((host) => url(host, port)).join(",");
  const config: Record<string, unknown> = {
    name: options.name,
    "data-dir": options.dataDirectory,
    ...initial(options.name, address, beginning),
    "listen-client-urls": on(clientPort),
    // HTTP gateways of their own: gRPC has the client's port to itself, unmixed.
    "listen-client-http-urls": url(local, clientHttpPort),
    "listen-metrics-urls": [...new Set([local, ...(options.exposeMetrics ? [address] : [])])]
      .map((host) => url(host, metricsPort, "http"))
      .join(","),
    "listen-peer-urls": on(peerPort),
    "advertise-client-urls": clientUrl(address),
    "client-transport-security": transport(certificates.server),
    "peer-transport-security": transport(certificates.peer),
    // Entries of the log that are kept in memory for members that lag; etcd's own 100,000 cost too much of it.
    "snapshot-count": 10_000,
    "heartbeat-interval": 100,
    "election-timeout": 1000,
    logger: "zap",
    "log-outputs": ["stderr"],
    "experimental-initial-corrupt-check": true,
  };
  for (const argument of options.extraArguments) {
    const [key, value] = readArgument(argument);
    config[key] = value;
  }
  return config;
}

function initial(name: string, address: string, beginning: EtcdBeginning): Record<string, string | boolean> {
  const advertised = { "initial-advertise-peer-urls": peerUrl(address) };
  switch (beginning.kind) {
    case "new":
      return {
        ...advertised,
        "initial-cluster": (beginning.members ?? [`${name}=${peerUrl(address)}`]).join(","),
        "initial-cluster-state": "new",
      };
    case "join":
      return {
        ...advertised,
        "initial-cluster": beginning.members.join(","),
        "initial-cluster-state": "existing",
      };
    case "existing":
      return {};
    case "reset":
      return { "force-new-cluster": true };
  }
}

function transport(files: EtcdCertificates["server"]): Record<string, unknown> {
  return { "cert-file": files.cert, "key-file": files.key, "client-cert-auth": true, "trusted-ca-file": files.ca };
}

/** Go counts durations in nanoseconds where a configuration file has them as numbers. */
const nanoseconds: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };
const durationPattern = /^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/;

/** A setting as K3s reads it: a number, a duration where the name says so, a list in brackets, a boolean, or a text. */
function readArgument(argument: string): [string, unknown] {
  const [, key, value] = /^-*([a-z0-9-]+)=(.*)$/s.exec(argument) ?? [];
  if (key === undefined || value === undefined)
    throw new ConfigurationError(`invalid value "${argument}" for --etcd-arg: write it as setting=value`);
  if (/^-?\d+$/.test(value)) return [key, Number(value)];
  if (/time|duration|interval|retention/.test(key) && durationPattern.test(value)) {
    // A retention is a text in etcd's file, which it reads by itself.
    if (key.includes("retention")) return [key, value];
    const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
    return [key, parts.reduce((sum, [, number, unit]) => sum + Number(number) * nanoseconds[unit!]!, 0)];
  }
  if (/^\[.*\]$/s.test(value)) {
    const items = value.slice(1, -1).split(",");
    return [key, items.map((item) => item.trim().replace(/^(["'])(.*)\1$/, "$2")).filter((item) => item !== "")];
  }
  if (/^(true|false)$/i.test(value)) return [key, value.toLowerCase() === "true"];
  return [key, value];
}
