import { type ConfigMap, configMaps } from "../api/generated/core-v1.ts";
import type { Client } from "../client/client.ts";
import type { Logger } from "../machinery/log.ts";
import { StatusError } from "../machinery/status.ts";

/** Tells the cluster's DNS address and domain to whoever asks (K3s' ConfigMap kube-system/cluster-dns). */
export async function ensureClusterDns(
  client: Client,
  options: { readonly clusterDns: string; readonly clusterDomain: string },
  logger: Logger,
): Promise<void> {
  const configMap: ConfigMap = {
    metadata: { name: "cluster-dns", namespace: "kube-system" },
    data: { clusterDNS: options.clusterDns, clusterDomain: options.clusterDomain },
  };
  try {
    await client.create(configMaps, configMap);
    logger.info("Cluster dns configmap has been set successfully");
  } catch (error) {
    if (!(error instanceof StatusError && error.code === 409)) throw error;
    logger.info("Cluster dns configmap already exists");
  }
}
