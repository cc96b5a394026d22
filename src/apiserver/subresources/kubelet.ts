import { connect as connectTls, type TLSSocket } from "node:tls";
import { nodes, type Pod, pods } from "../../api/generated/core-v1.ts";
import { badRequest, type StatusError } from "../../machinery/status.ts";
import { forbiddenError } from "../authorization/forbidden-error.ts";
import type { RequestInfo, ServerContext, UserInfo } from "../request.ts";
import { badGateway } from "./http-relay.ts";

/** How the API server shows itself to kubelets, and what it trusts their certificates by (PEM). */
export interface KubeletClient {
  readonly ca: string | Buffer;
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** A TLS connection to the kubelet of `node`, through the node's tunnel. Throws 502 and 503 StatusErrors. */
export async function connectKubelet(
  context: ServerContext,
  credentials: KubeletClient,
  node: string,
  signal: AbortSignal,
  options: { readonly insecure?: boolean } = {},
): Promise<TLSSocket> {
  const port = await kubeletPort(context, node);
  const raw = await context.dialNode(node, `127.0.0.1:${port}`, signal);
  return secure(raw, signal, {
    ca: credentials.ca,
    cert: credentials.cert,
    key: credentials.key,
    // The tunnel led to a node; its certificate has to say that it is the one that was meant.
    servername: node,
    rejectUnauthorized: !options.insecure,
  });
}

/** TLS over an open stream. Throws a 502 StatusError. */
export function secure(
  raw: import("node:stream").Duplex,
  signal: AbortSignal,
  options: import("node:tls").ConnectionOptions,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ ...options, socket: raw, ALPNProtocols: ["http/1.1"] });
    const fail = (error: Error) => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      raw.destroy();
      reject(badGateway(error));
    };
    const onAbort = () => fail(new Error("the request was cancelled"));
    socket.once("error", fail);
    socket.once("secureConnect", () => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", fail);
      socket.on("error", () => {});
      resolve(socket);
    });
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

async function kubeletPort(context: ServerContext, node: string): Promise<number> {
  const found = await context.client.get(nodes, node).catch(() => undefined);
  return found?.status?.daemonEndpoints?.kubeletEndpoint?.Port || 10_250;
}

/** The pod of a request. */
export function podOf(context: ServerContext, info: RequestInfo): Promise<Pod> {
  return context.client.get(pods, info.name ?? "", { namespace: info.namespace ?? "" });
}

/** The container that a request is about: the one it names, or the only one. Throws 400 with the choices. */
export function containerOf(pod: Pod, wanted: string | null): string {
  const name = pod.metadata.name ?? "";
  const names = (list: readonly { name?: string }[] | undefined) => (list ?? []).map((one) => one.name ?? "");
  const main = names(pod.spec?.containers);
  const init = names(pod.spec?.initContainers);
  const ephemeral = names(pod.spec?.ephemeralContainers);
  if (wanted) {
    if ([...main, ...init, ...ephemeral].includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${name}`);
  }
  if (main.length === 1 && main[0] !== undefined) return main[0];
  if (main.length === 0) throw badRequest(`a container name must be specified for pod ${name}`);
  const list = (values: readonly string[]) => `[${values.join(" ")}]`;
  let text = `a container name must be specified for pod ${name}, choose one of: ${list(main)}`;
  if (init.length > 0) text += ` or one of the init containers: ${list(init)}`;
  if (ephemeral.length > 0) text += ` or one of the ephemeral containers: ${list(ephemeral)}`;
  throw badRequest(text);
}

/** The node that a pod runs on. Throws 400 when it has none yet. */
export function nodeOf(pod: Pod): string {
  const node = pod.spec?.nodeName;
  if (node) return node;
  throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
}

/**
 * WebSockets can only be opened with GET, which is the verb "get"; what runs commands in a pod needs "create", however
 * it is asked for.
 */
export async function requireCreate(context: ServerContext, info: RequestInfo, user: UserInfo): Promise<void> {
  if (info.verb === "create") return;
  const attributes = {
    user,
    verb: "create",
    group: info.group,
    version: info.version,
    resource: info.resource,
    ...(info.subresource ? { subresource: info.subresource } : {}),
    ...(info.namespace ? { namespace: info.namespace } : {}),
    ...(info.name ? { name: info.name } : {}),
  };
  const decision = await context.authorize(attributes);
  if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
}

/** A parameter that is true or false. Throws 400 for anything else, as Go's parser does. */
export function flag(url: URL, name: string): boolean {
  const value = url.searchParams.get(name);
  if (value === null || value === "" || value === "false" || value === "0") return false;
  if (value === "true" || value === "1") return true;
  throw badRequest(
    `invalid value ${JSON.stringify(value)} for parameter ${JSON.stringify(name)}: must be true or false`,
  );
}

export function upgradeRequired(): StatusError {
  return badRequest("Upgrade request required");
}
