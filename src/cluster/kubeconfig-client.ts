import { createHttpsClient, type HttpsClient } from "../client/https-client.ts";
import { silentLogger } from "../machinery/log.ts";
import type { KubeconfigFile } from "./kubeconfig-file.ts";

/** A client of the cluster that a kubeconfig of ours stands for. Close it after use. */
export function clientOf(kubeconfig: KubeconfigFile): HttpsClient {
  const decode = (value: unknown) => Buffer.from(String(value), "base64").toString("utf8");
  const { cluster } = kubeconfig.clusters[0]!;
  const { user } = kubeconfig.users[0]!;
  return createHttpsClient({
    server: cluster.server!,
    ca: decode(cluster["certificate-authority-data"]),
    cert: decode(user["client-certificate-data"]),
    key: decode(user["client-key-data"]),
    userAgent: "k3ts cluster",
    logger: silentLogger,
  });
}
