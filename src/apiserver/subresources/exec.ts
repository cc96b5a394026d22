import { badRequest } from "../../machinery/status.ts";
import type { ServerContext, StreamSubresource } from "../request.ts";
import { join, refusalOf, sendToBackend, writeSwitchingHead } from "./http-relay.ts";
import {
  connectKubelet,
  containerOf,
  flag,
  type KubeletClient,
  nodeOf,
  podOf,
  requireCreate,
  upgradeRequired,
} from "./kubelet.ts";
import { translateStreams } from "./stream-translator.ts";

type StreamRequest = Parameters<StreamSubresource>[1];

/** …/pods/{name}/exec: runs a command in a container. */
export function execSubresource(credentials: KubeletClient): StreamSubresource {
  return (context, request) => {
    if (request.url.searchParams.getAll("command").length === 0) {
      throw badRequest("you must specify at least one command for the exec request");
    }
    return runIn("exec", context, request, credentials);
  };
}

/** …/pods/{name}/attach: the streams of a container's first process. */
export function attachSubresource(credentials: KubeletClient): StreamSubresource {
  return (context, request) => runIn("attach", context, request, credentials);
}

async function runIn(
  what: "exec" | "attach",
  context: ServerContext,
  request: StreamRequest,
  credentials: KubeletClient,
): Promise<void> {
  const { info, user, url, headers, upgrade, signal } = request;
  if (!upgrade) throw upgradeRequired();
  await requireCreate(context, info, user);
  const tty = flag(url, "tty");
  const wanted = {
    stdin: flag(url, "stdin"),
    stdout: flag(url, "stdout"),
    // With a terminal both come on one stream.
    stderr: flag(url, "stderr") && !tty,
    tty,
  };
  if (!wanted.stdin && !wanted.stdout && !wanted.stderr) {
    throw badRequest("you must specify at least 1 of stdin, stdout, stderr");
  }
  const pod = await podOf(context, info);
  const container = containerOf(pod, url.searchParams.get("container"));
  const node = nodeOf(pod);
  const query = new URLSearchParams();
  if (wanted.stdin) query.set("input", "1");
  if (wanted.stdout) query.set("output", "1");
  if (wanted.stderr) query.set("error", "1");
  if (wanted.tty) query.set("tty", "1");
  if (what === "exec") for (const word of url.searchParams.getAll("command")) query.append("command", word);
  const segments = [what, info.namespace ?? "", info.name ?? "", container].map(encodeURIComponent);
  const path = `/${segments.join("/")}?${query}`;

  if (headers.upgrade?.toLowerCase() === "websocket") {
    const open = () => upgradeKubelet(context, credentials, node, path, ["v4.channel.k8s.io"], info.name ?? "", signal);
    return translateStreams(request, upgrade, wanted, open, context.logger);
  }
  await relaySpdy(context, credentials, node, path, request, upgrade);
}

/** Opens a SPDY connection to a kubelet's streaming endpoint. Throws what the kubelet refused it with. */
export async function upgradeKubelet(
  context: ServerContext,
  credentials: KubeletClient,
  node: string,
  path: string,
  protocols: readonly string[],
  name: string,
  signal: AbortSignal,
) {
  const connection = await connectKubelet(context, credentials, node, signal);
  const reply = await sendToBackend({
    connection,
    host: node,
    method: "POST",
    path,
    headers: {
      connection: "Upgrade",
      upgrade: "SPDY/3.1",
      "x-stream-protocol-version": [...protocols],
      "content-length": "0",
    },
    signal,
  });
  if (!reply.upgraded) throw await refusalOf(reply.response, "pods", name);
  return { ...reply.upgraded, response: reply.response };
}

/** Joins a client that speaks SPDY itself with the kubelet: bytes go through as they are. */
export async function relaySpdy(
  context: ServerContext,
  credentials: KubeletClient,
  node: string,
  path: string,
  { info, headers, signal }: StreamRequest,
  upgrade: NonNullable<StreamRequest["upgrade"]>,
): Promise<void> {
  if (headers.upgrade?.toLowerCase() !== "spdy/3.1") throw badRequest(`upgrade to ${headers.upgrade} is not supported`);
  const asked = [headers["x-stream-protocol-version"] ?? []].flat().flatMap((text) => text.split(/, */));
  // Only a switched connection is joined: after a refusal the client could otherwise send the kubelet requests of its
  // own choice in the API server's name.
  const backend = await upgradeKubelet(context, credentials, node, path, asked, info.name ?? "", signal);
  writeSwitchingHead(upgrade.socket, backend.response);
  if (backend.head.length > 0) upgrade.socket.write(backend.head);
  if (upgrade.head.length > 0) backend.socket.write(upgrade.head);
  join(upgrade.socket, backend.socket);
}
