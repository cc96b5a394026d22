import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { WebSocket } from "ws";
import { badRequest, type FieldError, fieldError, invalid } from "../../machinery/status.ts";
import type { ServerContext, StreamSubresource } from "../request.ts";
import { acceptWebSocket, offeredProtocols } from "./accept-web-socket.ts";
import { noCommonProtocol } from "./channel-protocol.ts";
import { pump, refusalOf, sendToBackend, writeHead } from "./http-relay.ts";
import { connectKubelet, containerOf, flag, type KubeletClient, podOf } from "./kubelet.ts";

const minimums = { tailLines: 0, limitBytes: 1, sinceSeconds: 1 };
const streams = ["All", "Stdout", "Stderr"];

/** GET …/pods/{name}/log: what the container wrote, from its kubelet, as it comes; also over a WebSocket. */
export function logSubresource(credentials: KubeletClient): StreamSubresource {
  return async (context, request) => {
    const { response, upgrade, headers, signal } = request;
    const protocol = upgrade ? chooseProtocol(headers) : "";
    const logs = await openLogs(context, credentials, request);
    if (upgrade) {
      const socket = await acceptWebSocket(request.incoming as IncomingMessage, upgrade, protocol);
      return sendMessages(logs, socket, protocol.startsWith("base64."));
    }
    writeHead(response!, 200, { "content-type": "text/plain" });
    await pump(logs, response!, signal);
  };
}

async function openLogs(
  context: ServerContext,
  credentials: KubeletClient,
  { info, url, signal }: Parameters<StreamSubresource>[1],
): Promise<Readable> {
  const query = logQuery(url, info.name ?? "");
  const pod = await podOf(context, info);
  const container = containerOf(pod, url.searchParams.get("container"));
  const node = pod.spec?.nodeName;
  // A pod that runs nowhere has written nothing.
  if (!node) return Readable.from([]);
  const connection = await connectKubelet(context, credentials, node, signal, {
    insecure: flag(url, "insecureSkipTLSVerifyBackend"),
  });
  const path = ["containerLogs", info.namespace ?? "", info.name ?? "", container].map(encodeURIComponent).join("/");
  const { response } = await sendToBackend({
    connection,
    host: node,
    method: "GET",
    path: `/${path}${query}`,
    headers: { connection: "close" },
    signal,
  });
  if (response.statusCode !== 200) throw await refusalOf(response, "pods", info.name ?? "");
  return response;
}

const protocols = ["binary.k8s.io", "base64.binary.k8s.io"];

/** The sub-protocol of logs over a WebSocket: pieces of the log as they are, or in base64. Throws 400 for others. */
function chooseProtocol(headers: IncomingHttpHeaders): string {
  if (headers.upgrade?.toLowerCase() !== "websocket") {
    throw badRequest("logs can be read over WebSocket, not over another upgraded connection");
  }
  const offered = offeredProtocols(headers["sec-websocket-protocol"]);
  if (offered.length === 0) return "";
  const chosen = offered.find((one) => protocols.includes(one));
  if (chosen) return chosen;
  throw noCommonProtocol(offered, protocols);
}

/** Sends a stream piece by piece, as fast as the client takes it, and closes. */
async function sendMessages(source: Readable, socket: WebSocket, inBase64: boolean): Promise<void> {
  socket.on("close", () => source.destroy());
  try {
    for await (const chunk of source) {
      const bytes = chunk as Buffer;
      await new Promise((resolve) => socket.send(inBase64 ? bytes.toString("base64") : bytes, resolve));
    }
    socket.close(1000);
  } catch {
    // The log was cut, or whoever read it is gone.
    socket.close(1011);
  }
}

/** The kubelet's query for the parameters of PodLogOptions. Throws 422 for values out of range. */
function logQuery(url: URL, name: string): string {
  const wanted = url.searchParams;
  const query = new URLSearchParams();
  const errors: FieldError[] = [];
  for (const parameter of ["follow", "previous", "timestamps"]) {
    if (flag(url, parameter)) query.set(parameter, "true");
  }
  for (const [parameter, minimum] of Object.entries(minimums)) {
    const text = wanted.get(parameter);
    if (text === null) continue;
    const value = Number(text);
    if (!/^-?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
    if (value < minimum) {
      const least = minimum === 0 ? "must be greater than or equal to 0" : "must be greater than 0";
      errors.push(fieldError.invalid(parameter, value, least));
    }
    query.set(parameter, text);
  }
  const since = wanted.get("sinceTime");
  if (since !== null) {
    if (Number.isNaN(Date.parse(since)))
      throw badRequest(`parsing time ${JSON.stringify(since)}: not an RFC 3339 time`);
    if (wanted.has("sinceSeconds")) {
      errors.push(fieldError.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    query.set("sinceTime", since);
  }
  const stream = wanted.get("stream");
  if (stream !== null) {
    if (!streams.includes(stream)) errors.push(fieldError.notSupported("stream", stream, streams));
    else if (stream !== "All") query.set("stream", stream);
  }
  if (errors.length > 0) throw invalid({ group: "", resource: "PodLogOptions" }, name, errors);
  const text = query.toString();
  return text ? `?${text}` : "";
}
