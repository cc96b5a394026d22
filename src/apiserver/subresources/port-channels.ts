import type { WebSocket } from "ws";
import type { SpdySession, SpdyStream } from "../../machinery/spdy.ts";
import { badRequest } from "../../machinery/status.ts";
import type { ChannelProtocol } from "./channel-protocol.ts";

/** The ports that a port-forward over channels names. Throws 400 for none, and for what is no port. */
export function portsOf(url: URL): number[] {
  const texts = url.searchParams.getAll("ports").flatMap((text) => text.split(","));
  if (texts.length === 0) throw badRequest('query parameter "ports" is required');
  return texts.map((text) => {
    const port = /^\d+$/.test(text) ? Number(text) : 0;
    if (port < 1 || port > 65_535) throw badRequest(`unable to parse ${JSON.stringify(text)} as a port`);
    return port;
  });
}

/**
 * Carries one connection to each port over the channels of a WebSocket: of the port at place n, channel 2n has the
 * bytes and 2n+1 says what failed. Each channel begins with the port, two bytes, little end first. Resolves when all
 * connections have ended.
 */
export async function forwardPorts(
  socket: WebSocket,
  session: SpdySession,
  ports: readonly number[],
  protocol: ChannelProtocol,
): Promise<void> {
  const send = (channel: number, payload: Buffer) =>
    new Promise<void>((resolve) => {
      if (socket.readyState === socket.OPEN) socket.send(protocol.encode(channel, payload), () => resolve());
      else resolve();
    });
  const copyOut = async (stream: SpdyStream, channel: number) => {
    for await (const chunk of stream) await send(channel, chunk as Buffer);
  };
  const opened = ports.map((port, index) => {
    const headers = { port: String(port), requestid: String(index) };
    const error = session.open({ ...headers, streamtype: "error" });
    const data = session.open({ ...headers, streamtype: "data" });
    for (const stream of [error, data]) stream.on("error", () => {});
    error.end();
    for (const event of ["drain", "finish", "close"]) data.on(event, () => socket.resume());
    return { port, error, data };
  });
  socket.on("message", (message, isBinary) => {
    const part = Buffer.isBuffer(message) ? protocol.decode(message, isBinary) : undefined;
    // What comes on a channel of errors means nothing.
    const data = part && part.channel % 2 === 0 ? opened[part.channel / 2]?.data : undefined;
    if (data?.writable && !data.write(part!.payload)) socket.pause();
  });
  socket.on("close", () => session.destroy());
  await Promise.all(
    opened.map(async ({ port, error, data }, index) => {
      const name = Buffer.alloc(2);
      name.writeUInt16LE(port);
      await send(2 * index, name);
      await send(2 * index + 1, name);
      await Promise.all([copyOut(data, 2 * index), copyOut(error, 2 * index + 1)]);
    }),
  );
}
