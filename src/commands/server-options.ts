import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { nodeAddress } from "../agent/node-address.ts";
import { parseCron } from "../controllers/cron-schedule.ts";
import { parseCidr } from "../machinery/cidr.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { version } from "../machinery/version.ts";
import { defaultKubeconfigPath } from "../server/kubeconfig.ts";
import type { ServerOptions } from "../server/server-options.ts";
import { type DatastoreFiles, parseDatastoreEndpoint } from "../store/datastore-endpoint.ts";
import { agentOptionsFrom, tokenFrom } from "./agent-options.ts";
import type { FlagValues } from "./flag-values.ts";

/** Settles the options of `k3ts server`. @throws ConfigurationError naming the flag, its value and the remedy */
export function serverOptionsFrom(
  flags: FlagValues,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): ServerOptions {
  const dataDir = flags.string("data-dir")!;
  const httpsPort = port(flags, "https-listen-port")!;
  const agent = flags.boolean("disable-agent")
    ? undefined
    : agentOptionsFrom(flags, args, environment, { controlPlane: true, server: "", token: "" });
  const clusterCidr = network(flags, "cluster-cidr");
  const serviceCidr = network(flags, "service-cidr");
  const address = flags.string("advertise-address") ?? agent?.nodeIps[0] ?? nodeAddress(flags.string("flannel-iface"));
  const backend = flags.string("flannel-backend")!;
  if (backend !== "vxlan" && backend !== "host-gw" && backend !== "none") {
    throw new ConfigurationError(`unknown flannel backend "${backend}"; use vxlan, host-gw or none`);
  }
  const token = tokenFrom(flags, "token", "token-file");
  return {
    dataDir,
    nodeName: (flags.string("node-name") ?? hostname()).toLowerCase(),
    bindAddress: flags.string("bind-address")!,
    httpsPort,
    advertiseAddress: address,
    advertisePort: port(flags, "advertise-port") || httpsPort,
    tlsNames: flags.list("tls-san"),
    kubeconfigPath: flags.string("write-kubeconfig") ?? defaultKubeconfigPath,
    kubeconfigMode: fileMode(flags.string("write-kubeconfig-mode")),
    clusterCidr,
    serviceCidr,
    nodePortRange: portRange(flags.string("service-node-port-range")!),
    clusterDns: flags.list("cluster-dns")[0] ?? parseCidr(serviceCidr).nth(10),
    clusterDomain: flags.string("cluster-domain")!,
    flannelBackend: backend,
    token,
    agentToken: tokenFrom(flags, "agent-token", "agent-token-file"),
    disabled: disabledComponents(flags),
    disableScheduler: flags.boolean("disable-scheduler"),
    disableProxy: flags.boolean("disable-kube-proxy"),
    disableNetworkPolicy: flags.boolean("disable-network-policy"),
    disableCloudController: flags.boolean("disable-cloud-controller"),
    disableHelmController: flags.boolean("disable-helm-controller"),
    datastore: datastoreFrom(flags),
    join: joinFrom(flags, token),
    clusterInit: flags.boolean("cluster-init"),
    etcd: {
      address: flags.list("node-ip")[0] ?? agent?.nodeIps[0] ?? address,
      exposeMetrics: flags.boolean("etcd-expose-metrics"),
      extraArguments: flags.list("etcd-arg"),
    },
    snapshots: {
      name: flags.string("etcd-snapshot-name")!,
      directory: flags.string("etcd-snapshot-dir") || undefined,
      compress: flags.boolean("etcd-snapshot-compress"),
      retention: flags.integer("etcd-snapshot-retention")!,
      schedule: scheduleFrom(flags),
    },
    reset: resetFrom(flags, token),
    version,
    agent,
  };
}

/** When snapshots are taken. */
function scheduleFrom(flags: FlagValues): ServerOptions["snapshots"]["schedule"] {
  if (flags.boolean("etcd-disable-snapshots")) return undefined;
  const text = flags.string("etcd-snapshot-schedule-cron")!;
  try {
    return parseCron(text);
  } catch (error) {
    throw new ConfigurationError(
      `invalid value "${text}" for --etcd-snapshot-schedule-cron: ${(error as Error).message}; write it as 0 */12 * * *`,
    );
  }
}

function resetFrom(flags: FlagValues, token: string | undefined): ServerOptions["reset"] {
  const restorePath = flags.string("cluster-reset-restore-path") || undefined;
  if (!flags.boolean("cluster-reset")) {
    if (restorePath === undefined) return undefined;
    throw new ConfigurationError("invalid flag use; --cluster-reset required with --cluster-reset-restore-path");
  }
  if (joinFrom(flags, token))
    throw new ConfigurationError(
      "cannot perform cluster-reset while server URL is set - remove server from configuration before resetting",
    );
  return { restorePath };
}

/** The database that holds the cluster, with the files that its connections are made with. */
function datastoreFrom(flags: FlagValues): ServerOptions["datastore"] {
  const endpoint = parseDatastoreEndpoint(flags.string("datastore-endpoint")?.trim() ?? "");
  const file = (key: keyof DatastoreFiles) => {
    const path = flags.string(`datastore-${key}file`);
    if (!path) return {};
    if (existsSync(path)) return { [key]: path };
    throw new ConfigurationError(`--datastore-${key}file: there is no file "${path}"; give the path of a PEM file`);
  };
  return { endpoint, files: { ...file("ca"), ...file("cert"), ...file("key") } };
}

/**
 * A join URL counts only when a token is given too and no datastore endpoint is (K3s' rule: some tools set K3S_URL on a
 * single server, and servers that share a database need nobody to join).
 */
function joinFrom(flags: FlagValues, token: string | undefined): string | undefined {
  const url = flags.string("server") || undefined;
  if (url === undefined || flags.string("datastore-endpoint")) return undefined;
  if (token === undefined && flags.boolean("cluster-init")) {
    throw new ConfigurationError(
      `K3S_TOKEN is required to join a cluster; give the token of ${url}, or remove --server (K3S_URL) to begin a new cluster`,
    );
  }
  return token === undefined ? undefined : url;
}

/** What a user asked for and does not get, because something else that was asked for goes before it (K3s' rules). */
export function passedOver(flags: FlagValues): string[] {
  const url = flags.string("server");
  const clusterInit = flags.boolean("cluster-init");
  if (flags.string("datastore-endpoint")) {
    return [
      ...(url ? ["--server (K3S_URL) is passed over: servers that share a datastore find each other there"] : []),
      ...(clusterInit ? ["--cluster-init is passed over: the cluster lives in the datastore that was named"] : []),
    ];
  }
  if (!url || tokenFrom(flags, "token", "token-file") !== undefined) return [];
  return [
    `--server (K3S_URL) is passed over: to join ${url}, its token is needed, too (--token, K3S_TOKEN); ` +
      "without one this server is a cluster of its own",
  ];
}

const components = [
  "coredns",
  "servicelb",
  "traefik",
  "local-storage",
  "metrics-server",
  "runtimes",
  "ccm",
  "rolebindings",
];

function disabledComponents(flags: FlagValues): ReadonlySet<string> {
  const names = flags.list("disable");
  const manifests = join(flags.string("data-dir")!, "server", "manifests");
  for (const name of names) {
    if (
      components.includes(name) ||
      ["", ".yaml", ".yml", ".json"].some((suffix) => existsSync(join(manifests, name + suffix)))
    )
      continue;
    throw new ConfigurationError(
      `invalid value "${name}" for --disable: use one of ${components.join(", ")}, or the name of a manifest`,
    );
  }
  return new Set(names);
}

function port(flags: FlagValues, name: string): number | undefined {
  const value = flags.integer(name);
  if (value !== undefined && value > 65535)
    throw new ConfigurationError(`invalid value "${value}" for --${name}: a port is at most 65535`);
  return value;
}

function network(flags: FlagValues, name: string): string {
  const values = flags.list(name);
  const [value = ""] = values;
  if (values.length > 1 || isIP(value.split("/")[0]!) !== 4) {
    throw new ConfigurationError(
      `invalid value "${values.join(",")}" for --${name}: one IPv4 network is supported by this version of k3ts`,
    );
  }
  try {
    parseCidr(value);
  } catch {
    throw new ConfigurationError(
      `invalid value "${value}" for --${name}: write it as address/prefix, such as 10.42.0.0/16`,
    );
  }
  return value;
}

function portRange(text: string): { from: number; to: number } {
  const match = /^(\d+)-(\d+)$/.exec(text);
  const from = Number(match?.[1]);
  const to = Number(match?.[2]);
  if (!match || from < 1 || to > 65535 || from > to) {
    throw new ConfigurationError(`invalid value "${text}" for --service-node-port-range: write it as 30000-32767`);
  }
  return { from, to };
}

function fileMode(text: string | undefined): number {
  if (text === undefined) return 0o600;
  if (!/^0?[0-7]{3}$/.test(text)) {
    throw new ConfigurationError(
      `invalid value "${text}" for --write-kubeconfig-mode: write it as octal digits, such as 644`,
    );
  }
  return Number.parseInt(text, 8);
}
