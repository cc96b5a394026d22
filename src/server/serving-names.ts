import { hostname } from "node:os";
import { containerHost } from "./container-host.ts";
import type { ServerOptions } from "./server-options.ts";

/** All names and addresses that the API is reached by (K3s' list). */
export function servingNames(options: ServerOptions, nodeName: string, serviceIp: string): string[] {
  const { clusterDomain, advertiseAddress, tlsNames, agent } = options;
  const host = containerHost();
  return [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    `kubernetes.default.svc.${clusterDomain}`,
    "localhost",
    "127.0.0.1",
    "::1",
    nodeName,
    hostname(),
    ...(agent?.nodeIps ?? []),
    ...(agent?.nodeExternalIps ?? []),
    advertiseAddress,
    options.etcd.address,
    serviceIp,
    // Programs in other containers reach a published port there: tests that run in a container do.
    ...(host ? [host] : []),
    ...tlsNames,
  ];
}
