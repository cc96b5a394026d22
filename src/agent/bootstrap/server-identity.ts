import { checkServerIdentity as checkName, type PeerCertificate } from "node:tls";

/**
 * The name that a node expects in the certificate of any server, whatever address it was reached by: a load balancer's,
 * an alias, an address that moved. Of what the cluster's CA signs, only servers' certificates carry it; the kubelets'
 * carry 127.0.0.1 as well.
 */
export const serverName = "kubernetes";

/** For TLS options: is it a server of the cluster? The chain is verified apart from this. */
export function checkServerIdentity(_host: string, certificate: PeerCertificate): Error | undefined {
  return checkName(serverName, certificate);
}
