import type { IncomingMessage } from "node:http";
import { createWebSocketStream } from "ws";
import { SpdySession } from "../../machinery/spdy.ts";
import type { StreamSubresource } from "../request.ts";
import { acceptWebSocket, offeredProtocols } from "./accept-web-socket.ts";
import { chooseChannelProtocol, portChannelProtocols } from "./channel-protocol.ts";
import { relaySpdy, upgradeKubelet } from "./exec.ts";
import { join } from "./http-relay.ts";
import { type KubeletClient, nodeOf, podOf, requireCreate, upgradeRequired } from "./kubelet.ts";
import { forwardPorts, portsOf } from "./port-channels.ts";

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
    const tunnels = offered.includes(tunnelled);
    const channels = tunnels ? undefined : chooseChannelProtocol(offered, portChannelProtocols);
    const ports = channels ? portsOf(request.url) : [];
    // Connected first: what the kubelet refuses can still be answered as an error.
    const backend = await upgradeKubelet(context, credentials, node, path, [forwarding], info.name ?? "", signal);
    const socket = await acceptWebSocket(
      request.incoming as IncomingMessage,
      upgrade,
      channels?.name ?? tunnelled,
    ).catch((error) => {
      backend.socket.destroy();
      throw error;
    });
    if (!channels) {
      const stream = createWebSocketStream(socket);
      if (backend.head.length > 0) stream.write(backend.head);
      join(stream, backend.socket);
      return;
    }
    const session = new SpdySession(backend.socket, { role: "client", head: backend.head });
    try {
      await forwardPorts(socket, session, ports, channels);
      socket.close(1000);
    } catch (error) {
      context.logger.debug({ err: error }, "A forwarded port failed");
      socket.close(1011);
    } finally {
      session.end();
      session.destroy();
    }
  };
}
