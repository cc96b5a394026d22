import type { Duplex } from "node:stream";
import { pods } from "../../api/generated/core-v1.ts";
import { badRequest, serviceUnavailable } from "../../machinery/status.ts";
import type { RequestInfo, ServerContext, StreamSubresource } from "../request.ts";
import { forwardedHeaders, join, relayResponse, sendToBackend, writeSwitchingHead } from "./http-relay.ts";
import { connectKubelet, type KubeletClient, secure } from "./kubelet.ts";
import { rewriteLinks } from "./proxy-links.ts";
import { address, checkProxyable, serviceTarget } from "./service-target.ts";

interface Backend {
  readonly connection: Duplex;
  readonly host: string;
}

/** …/pods|services|nodes/{name}/proxy/…: an HTTP request (or an upgrade) passed on to what stands behind the name. */
export function proxySubresource(credentials: KubeletClient): StreamSubresource {
  return async (context, { info, url, method, headers, incoming, upgrade, response, signal }) => {
    const backend = await connectBackend(context, credentials, info, signal);
    const forwarded = forwardedHeaders(headers);
    if (upgrade) Object.assign(forwarded, { connection: "Upgrade", upgrade: headers.upgrade });
    else forwarded["connection"] = "close";
    // A body of unknown length has to be sent in chunks.
    const bodyless = upgrade !== undefined || method === "GET" || method === "HEAD";
    if (!bodyless && headers["content-length"] === undefined) forwarded["transfer-encoding"] = "chunked";
    const reply = await sendToBackend({
      connection: backend.connection,
      host: backend.host,
      method,
      path: pathBehind(url),
      headers: { ...forwarded, "x-forwarded-uri": url.pathname },
      ...(bodyless ? {} : { body: incoming }),
      signal,
    });
    if (upgrade && reply.upgraded) {
      writeSwitchingHead(upgrade.socket, reply.response);
      if (reply.upgraded.head.length > 0) upgrade.socket.write(reply.upgraded.head);
      if (upgrade.head.length > 0) reply.upgraded.socket.write(upgrade.head);
      join(upgrade.socket, reply.upgraded.socket);
      return;
    }
    if (!response) {
      reply.response.destroy();
      throw badRequest(`the backend did not switch to ${headers.upgrade}, it answered ${reply.response.statusCode}`);
    }
    await relayResponse(await rewriteLinks(reply.response, pathBefore(url), backend.host), response, signal);
  };
}

/** The part of the path that leads to the backend. */
function pathBefore(url: URL): string {
  return /^\/api\/v1\/(?:namespaces\/[^/]+\/)?(?:pods|services|nodes)\/[^/]+\/proxy/.exec(url.pathname)?.[0] ?? "";
}

/** The part of the path that belongs to the backend, still encoded, with the query. */
function pathBehind(url: URL): string {
  return `${url.pathname.slice(pathBefore(url).length) || "/"}${url.search}`;
}

async function connectBackend(
  context: ServerContext,
  credentials: KubeletClient,
  info: RequestInfo,
  signal: AbortSignal,
): Promise<Backend> {
  const { scheme, name, port } = splitName(info.name ?? "");
  if (info.resource === "nodes") {
    return { connection: await connectKubelet(context, credentials, name, signal), host: name };
  }
  const target =
    info.resource === "services"
      ? await serviceTarget(context, info.namespace ?? "", name, port)
      : await podTarget(context, info.namespace ?? "", name, port);
  const raw = await context.dialNode(target.node, target.address, signal);
  // Whoever proxies to a pod knows no authority for it.
  const connection = scheme === "https" ? await secure(raw, signal, { rejectUnauthorized: false }) : raw;
  return { connection, host: target.address };
}

/** Splits "name", "name:port" and "https:name:port". */
function splitName(text: string): { scheme: "http" | "https"; name: string; port: string } {
  const parts = text.split(":");
  if (parts.length === 3 && (parts[0] === "http" || parts[0] === "https" || parts[0] === "")) {
    return { scheme: parts[0] === "https" ? "https" : "http", name: parts[1]!, port: parts[2]! };
  }
  if (parts.length <= 2) return { scheme: "http", name: parts[0]!, port: parts[1] ?? "" };
  throw badRequest(`invalid proxy request ${JSON.stringify(text)}`);
}

async function podTarget(context: ServerContext, namespace: string, name: string, port: string) {
  const pod = await context.client.get(pods, name, { namespace });
  const node = pod.spec?.nodeName;
  const ip = pod.status?.podIP;
  if (!node || !ip) throw serviceUnavailable(`pod ${name} has no address yet`);
  checkProxyable(ip);
  const first = pod.spec?.containers?.flatMap((container) => container.ports ?? [])[0]?.containerPort;
  const named = pod.spec?.containers
    ?.flatMap((container) => container.ports ?? [])
    .find((one) => one.name === port)?.containerPort;
  return { node, address: address(ip, named ?? (port || first || 80)) };
}
