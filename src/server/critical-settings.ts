import { createHash } from "node:crypto";
import { decodeClusterConfig } from "../agent/bootstrap/cluster-config.ts";
import { parseToken } from "../agent/bootstrap/token.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { parseJson } from "../machinery/json.ts";
import type { ServerOptions } from "./server-options.ts";

/** What all servers of a cluster have to be started with alike (K3s' list), by flag. */
export type CriticalSettings = Readonly<Record<string, string>>;

/** The one setting whose values are secrets: it is kept and compared as a hash, and never shown. */
const secret = "agent-token";

export function criticalSettings(options: ServerOptions): CriticalSettings {
  const { agentToken, disabled } = options;
  return {
    [secret]:
      agentToken === undefined
        ? ""
        : `sha256:${createHash("sha256").update(parseToken(agentToken).password).digest("hex")}`,
    "cluster-cidr": options.clusterCidr,
    "cluster-dns": options.clusterDns,
    "cluster-domain": options.clusterDomain,
    "disable-cloud-controller": String(options.disableCloudController),
    "disable-helm-controller": String(options.disableHelmController),
    "disable-network-policy": String(options.disableNetworkPolicy),
    "disable=servicelb": String(disabled.has("servicelb")),
    "flannel-backend": options.flannelBackend,
    "service-cidr": options.serviceCidr,
  };
}

/** The settings of a server, as its `/v1-k3s/config` tells them; what it does not tell is left out. */
export function settingsOfConfig(reply: Buffer): CriticalSettings {
  const config = parseJson(reply) as Record<string, unknown>;
  const { clusterCidr, serviceCidr, clusterDns, clusterDomain, flannelBackend } = decodeClusterConfig(reply);
  const flag = (name: string, field: string) => (config[field] === undefined ? {} : { [name]: String(config[field]) });
  return {
    "cluster-cidr": clusterCidr,
    "cluster-dns": clusterDns,
    "cluster-domain": clusterDomain,
    ...flag("disable-cloud-controller", "DisableCCM"),
    ...flag("disable-helm-controller", "DisableHelmController"),
    ...flag("disable-network-policy", "DisableNPC"),
    ...flag("disable=servicelb", "DisableServiceLB"),
    "flannel-backend": flannelBackend,
    "service-cidr": serviceCidr,
  };
}

/**
 * Compares the settings of the cluster with those of a server that wants to be part of it. What one of the two does not
 * know, being of another version, is no difference.
 * @throws ConfigurationError with K3s' text, naming each setting and both values
 */
export function assertSameSettings(cluster: CriticalSettings, own: CriticalSettings): void {
  const different = differingSettings(cluster, own).map((name) =>
    name === secret ? otherAgentToken : `--${name} is ${quoted(cluster[name]!)} there and ${quoted(own[name]!)} here`,
  );
  if (different.length > 0) throw mismatch(different);
}

/** What is told where the agents' token turns out to be another one, since it opens nothing. */
export function agentTokenMismatch(): ConfigurationError {
  return mismatch([otherAgentToken]);
}

const otherAgentToken = "--agent-token is another one than this server's";

function mismatch(different: readonly string[]): ConfigurationError {
  return new ConfigurationError(
    `failed to validate server configuration: critical configuration value mismatch between servers: ${different.join("; ")}; ` +
      "start every server of the cluster with the same values",
  );
}

/** Names of the settings that both have, with different values. */
export function differingSettings(cluster: CriticalSettings, own: CriticalSettings): string[] {
  return Object.keys(own).filter((name) => cluster[name] !== undefined && cluster[name] !== own[name]);
}

function quoted(value: string): string {
  return JSON.stringify(value);
}
