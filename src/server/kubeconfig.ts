import { chmodSync, existsSync, lstatSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import { writeFileAtomic } from "../agent/host/files.ts";
import type { KeyPair } from "./certificates.ts";

/**
 * The admin's kubeconfig, as K3s writes it: one cluster, user and context, each named `default`, with the certificates
 * inline. Tools edit it by text, so the server's URL stands bare on a line of its own.
 */
export function renderKubeconfig(server: string, ca: string, client: KeyPair): string {
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  return `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${base64(ca)}
    server: ${server}
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {}
users:
- name: default
  user:
    client-certificate-data: ${base64(client.certificate)}
    client-key-data: ${base64(client.key)}
`;
}

export const defaultKubeconfigPath = "/etc/rancher/k3s/k3s.yaml";

/**
 * Writes it to `path`; when that is not the default place, a link stands there.
 * @param mode permission bits, default 0600
 * @returns why there is no link, when the user may not make one
 */
export function writeKubeconfig(path: string, text: string, mode = 0o600): Error | undefined {
  writeFileAtomic(path, text, mode);
  chmodSync(path, mode);
  if (path === defaultKubeconfigPath) return undefined;
  try {
    mkdirSync(dirname(defaultKubeconfigPath), { recursive: true });
    if (existsSync(defaultKubeconfigPath) || isLink(defaultKubeconfigPath)) rmSync(defaultKubeconfigPath);
    symlinkSync(path, defaultKubeconfigPath);
    return undefined;
  } catch (error) {
    // Who names another place can do without the default one: a server without a node needs no root.
    return error as Error;
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

/** A kubeconfig of a component: certificates by path (K3s' `cred/*.kubeconfig`, `agent/*.kubeconfig`). */
export function renderComponentKubeconfig(
  server: string,
  caFile: string,
  certificateFile: string,
  keyFile: string,
): string {
  return `apiVersion: v1
clusters:
- cluster:
    server: ${server}
    certificate-authority: ${caFile}
  name: local
contexts:
- context:
    cluster: local
    namespace: default
    user: user
  name: Default
current-context: Default
kind: Config
preferences: {}
users:
- name: user
  user:
    client-certificate: ${certificateFile}
    client-key: ${keyFile}
`;
}
