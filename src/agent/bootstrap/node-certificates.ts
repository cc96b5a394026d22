import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import type { Clock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import { replaceFile } from "../host/files.ts";
import { certificateRequest } from "./certificate-request.ts";
import type { NodeIdentity } from "./node-identity.ts";
import { type Supervisor, SupervisorError } from "./supervisor-client.ts";

/** A certificate with its key, PEM; the certificate is followed by its CA. */
export interface NodeKeyPair {
  readonly certificate: string;
  readonly key: string;
}

export interface NodeCertificates {
  /** Who the kubelet is towards the API: system:node:<name>. */
  readonly client: NodeKeyPair;
  /** What the kubelet serves on :10250. */
  readonly serving: NodeKeyPair;
  readonly kubeProxy: NodeKeyPair;
  readonly controller: NodeKeyPair;
  readonly clientCa: string;
  readonly serverCa: string;
}

const renewBeforeMs = 120 * 24 * 60 * 60 * 1000;

/**
 * Loads the node's certificates from `directory`, and asks the server for those that are missing, have fewer than 120
 * days left, are of another CA, or lack one of the node's addresses. An expired certificate needs no more than the
 * token and the node's password, so a node that was off for a year joins again.
 */
export async function obtainNodeCertificates(
  directory: string,
  supervisor: Supervisor,
  node: NodeIdentity,
  nodeIps: readonly string[],
  clock: Clock,
): Promise<NodeCertificates> {
  const [clientCa, serverCa] = (
    await Promise.all([supervisor.get("/v1-k3s/client-ca.crt"), supervisor.get("/v1-k3s/server-ca.crt")])
  ).map((body) => body.toString("utf8")) as [string, string];
  const authorities = Promise.all([
    replaceFile(join(directory, "client-ca.crt"), clientCa, 0o600),
    replaceFile(join(directory, "server-ca.crt"), serverCa, 0o600),
  ]);

  const nodeHeaders = headersOf(node, nodeIps);
  const obtain = async (file: string, ca: string, names: readonly string[], headers: Record<string, string>) => {
    const certificatePath = join(directory, `${file}.crt`);
    const keyPath = join(directory, `${file}.key`);
    if (existsSync(certificatePath) && existsSync(keyPath)) {
      const certificate = readFileSync(certificatePath, "utf8");
      if (serves(certificate, ca, names, clock.now())) return { certificate, key: readFileSync(keyPath, "utf8") };
    }
    const key = existsSync(keyPath) ? readFileSync(keyPath, "utf8") : newKey();
    const certificate = await requestCertificate(supervisor, file, key, headers);
    await replaceFile(keyPath, key, 0o600);
    await replaceFile(certificatePath, certificate, 0o600);
    return { certificate, key };
  };
  const [client, serving, kubeProxy, controller] = await Promise.all([
    obtain("client-kubelet", clientCa, [], nodeHeaders),
    obtain("serving-kubelet", serverCa, [node.name, "127.0.0.1", ...nodeIps], nodeHeaders),
    obtain("client-kube-proxy", clientCa, [], {}),
    obtain("client-k3s-controller", clientCa, [], {}),
    authorities,
  ]);
  return { client, serving, kubeProxy, controller, clientCa, serverCa };
}

/**
 * Has the cluster note this machine's password for its node's name, or compare it: before a machine becomes more than a
 * node under a name that is another's.
 * @throws ConfigurationError when another machine has the name
 */
export async function claimNodeName(supervisor: Supervisor, node: NodeIdentity): Promise<void> {
  await requestCertificate(supervisor, "client-kubelet", newKey(), headersOf(node, []));
}

function headersOf(node: NodeIdentity, nodeIps: readonly string[]): Record<string, string> {
  return {
    "k3s-node-name": node.name,
    "k3s-node-password": node.password,
    "k3s-node-ip": nodeIps.join(","),
  };
}

/** P-256, PEM. */
function newKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return privateKey.export({ type: "pkcs8", format: "pem" }) as string;
}

async function requestCertificate(
  supervisor: Supervisor,
  file: string,
  key: string,
  headers: Record<string, string>,
): Promise<string> {
  try {
    return (await supervisor.post(`/v1-k3s/${file}.crt`, certificateRequest(key), headers)).toString("utf8");
  } catch (error) {
    if (!(error instanceof SupervisorError && error.code === 403 && headers["k3s-node-password"])) throw error;
    throw new ConfigurationError(
      `Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, ` +
        `try enabling a unique node name with the --with-node-id flag (${error.message})`,
    );
  }
}

function serves(pem: string, ca: string, names: readonly string[], nowMs: number): boolean {
  const certificate = new X509Certificate(pem);
  return (
    Date.parse(certificate.validTo) - nowMs >= renewBeforeMs &&
    certificate.verify(new X509Certificate(ca).publicKey) &&
    names.every((name) => (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined)
  );
}
