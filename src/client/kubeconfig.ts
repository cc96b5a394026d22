import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Source } from "./http2-connection.ts";

/** What a kubeconfig's context says about reaching a server: the options of `createHttpsClient`. */
export interface KubeconfigConnection {
  readonly server: string;
  readonly ca?: Source<string | Buffer | undefined>;
  readonly cert?: Source<string | Buffer | undefined>;
  readonly key?: Source<string | Buffer | undefined>;
  readonly token?: Source<string | undefined>;
  readonly serverName?: string;
  readonly insecureSkipTlsVerify?: boolean;
  /** Namespace of the context; "default" when it names none. */
  readonly namespace: string;
}

interface Named {
  readonly name: string;
}
interface KubeconfigFile {
  readonly "current-context"?: string;
  readonly clusters?: readonly (Named & { cluster?: Record<string, unknown> })[];
  readonly users?: readonly (Named & { user?: Record<string, unknown> })[];
  readonly contexts?: readonly (Named & { context?: { cluster?: string; user?: string; namespace?: string } })[];
}

/**
 * Reads a kubeconfig from a path, or from its text (recognized by a line break). Files that it names are relative to
 * its own folder and are read again at each new connection, so that renewed credentials are used.
 * Throws an error that names what is missing, and for credential plugins, which are not built.
 */
export async function readKubeconfig(
  pathOrText: string,
  options: { readonly context?: string } = {},
): Promise<KubeconfigConnection> {
  const isText = pathOrText.includes("\n");
  const where = isText ? "kubeconfig" : `kubeconfig ${JSON.stringify(pathOrText)}`;
  const folder = isText ? process.cwd() : dirname(resolve(pathOrText));
  const text = isText ? pathOrText : await readFile(pathOrText, "utf8");
  const { parse } = await import("yaml");
  const file = (parse(text) ?? {}) as KubeconfigFile;
  const contextName = options.context ?? file["current-context"];
  if (!contextName) throw new Error(`${where}: current-context is not set`);
  const context = file.contexts?.find(({ name }) => name === contextName)?.context;
  if (!context) throw new Error(`${where}: context ${JSON.stringify(contextName)} does not exist`);
  const cluster = file.clusters?.find(({ name }) => name === context.cluster)?.cluster;
  if (!cluster) throw new Error(`${where}: cluster ${JSON.stringify(context.cluster ?? "")} does not exist`);
  const user = file.users?.find(({ name }) => name === context.user)?.user ?? {};
  if (typeof cluster["server"] !== "string") {
    throw new Error(`${where}: cluster ${JSON.stringify(context.cluster)} has no server`);
  }
  for (const plugin of ["exec", "auth-provider"]) {
    if (user[plugin]) throw new Error(`${where}: user ${JSON.stringify(context.user)}: ${plugin} is not supported`);
  }

  const pem = (from: Record<string, unknown>, field: string): Source<string | Buffer | undefined> => {
    const data = from[`${field}-data`];
    if (typeof data === "string" && data !== "") return Buffer.from(data, "base64");
    const path = from[field];
    return typeof path === "string" && path !== "" ? () => readFile(resolve(folder, path)) : undefined;
  };
  const ca = pem(cluster, "certificate-authority");
  const cert = pem(user, "client-certificate");
  const key = pem(user, "client-key");
  const token = tokenOf(user, folder);
  const serverName = cluster["tls-server-name"];
  return {
    server: cluster["server"].replace(/\/+$/, ""),
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(token ? { token } : {}),
    ...(typeof serverName === "string" && serverName !== "" ? { serverName } : {}),
    ...(cluster["insecure-skip-tls-verify"] === true ? { insecureSkipTlsVerify: true } : {}),
    namespace: context.namespace || "default",
  };
}

function tokenOf(user: Record<string, unknown>, folder: string): Source<string | undefined> {
  const path = user["tokenFile"];
  if (typeof path === "string" && path !== "") {
    return async () => (await readFile(resolve(folder, path), "utf8")).trim();
  }
  const token = user["token"];
  return typeof token === "string" && token !== "" ? token : undefined;
}
