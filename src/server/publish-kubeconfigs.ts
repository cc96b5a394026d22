import { join } from "node:path";
import { writeFileAtomic } from "../agent/host/files.ts";
import type { Logger } from "../machinery/log.ts";
import type { ServerCertificates } from "./certificates.ts";
import { defaultKubeconfigPath, renderComponentKubeconfig, renderKubeconfig, writeKubeconfig } from "./kubeconfig.ts";
import type { ServerOptions } from "./server-options.ts";

/**
 * Writes the administrator's kubeconfig where the user wants it, and those of the components (0600).
 * @param directory `<data>/server`
 */
export function publishKubeconfigs(
  directory: string,
  options: ServerOptions,
  certificates: ServerCertificates,
  logger: Logger,
): void {
  const host = options.bindAddress === "0.0.0.0" ? "127.0.0.1" : options.bindAddress;
  const url = `https://${host}:${options.httpsPort}`;
  const unlinked = writeKubeconfig(
    options.kubeconfigPath,
    renderKubeconfig(url, certificates.serverCaBundle, certificates.admin),
    options.kubeconfigMode,
  );
  logger.info(`Wrote kubeconfig ${options.kubeconfigPath}`);
  if (unlinked) logger.warn({ err: unlinked }, `Linking ${defaultKubeconfigPath} to it failed`);
  else if (options.kubeconfigPath !== defaultKubeconfigPath) logger.info(`Linked ${defaultKubeconfigPath} to it`);
  logger.info("Run: k3s kubectl");
  const tls = (file: string) => join(directory, "tls", file);
  for (const name of ["admin", "supervisor", "controller", "scheduler"]) {
    const text = renderComponentKubeconfig(
      url,
      tls("server-ca.crt"),
      tls(`client-${name}.crt`),
      tls(`client-${name}.key`),
    );
    writeFileAtomic(join(directory, "cred", `${name}.kubeconfig`), text, 0o600);
  }
}
