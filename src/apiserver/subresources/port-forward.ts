import type { IncomingMessage } from "node:http";
import { createWebSocketStream } from "ws";
import { badRequest } from "../../machinery/status.ts";
import type { StreamSubresource } from "../request.ts";
import { acceptWebSocket, offeredProtocols } from "./accept-web-socket.ts";
import { relaySpdy, upgradeKubelet } from "./exec.ts";
import { join } from "./http-relay.ts";
import { type KubeletClient, nodeOf, podOf, requireCreate, upgradeRequired } from "./kubelet.ts";

const forwarding = "portforward.k8s.io";
/** A WebSocket whose messages are the bytes of a SPDY connection. */
const tunnelled = `SPDY/3.1+${forwarding}`;

/** …/pods/{name}/portforward: streams to ports of a pod. */
export function portForwardSubresource(credentials: KubeletClient): StreamSubresource {
  return async (context, request) => {
    const { info, user, headers, upgrade, signal } = request;
    if (!upgrade) throw upgradeRequired();
    await requireCreate(context, info, user);
    const pod = await podOf(context, info);
    const node = nodeOf(pod);
    const path = `/${["portForward", info.namespace ?? "", info.name ?? ""].map(encodeURIComponent).join("/")}`;
    if (headers.upgrade?.toLowerCase() !== "websocket") {
      return relaySpdy(context, credentials, node, path, request, upgrade);
    }
    const offered = offeredProtocols(headers["sec-websocket-protocol"]);
    if (!offered.includes(tunnelled)) {
      throw badRequest(
        `unable to negotiate a sub-protocol: client offers [${offered.join(" ")}], server accepts [${tunnelled}]`,
      );
    }
    // Connected first: what the kubelet refuses can still be answered as an error.
    const backend = await upgradeKubelet(context, credentials, node, path, [forwarding], info.name ?? "", signal);
    const socket = await acceptWebSocket(request.incoming as IncomingMessage, upgrade, tunnelled).catch((error) => {
      backend.socket.destroy();
      throw error;
    });
    const stream = createWebSocketStream(socket);
    if (backend.head.length > 0) stream.write(backend.head);
    join(stream, backend.socket);
  };
}
