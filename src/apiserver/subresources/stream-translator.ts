import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import type { Logger } from "../../machinery/log.ts";
import { SpdySession, type SpdyStream } from "../../machinery/spdy.ts";
import { internalError } from "../../machinery/status.ts";
import type { StreamSubresource } from "../request.ts";
import { acceptWebSocket, offeredProtocols } from "./accept-web-socket.ts";
import { type ChannelProtocol, chooseChannelProtocol } from "./channel-protocol.ts";

type StreamRequest = Parameters<StreamSubresource>[1];

/** Which stream a message belongs to. */
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 };

/** The status goes in one message; containers do not decide how long it is. */
const maxStatusBytes = 64 * 1024;

export interface WantedStreams {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/**
 * Lets a client that speaks WebSocket use a backend that speaks SPDY: each SPDY stream is a channel of the one
 * WebSocket. `open` connects the backend; what it throws answers the request, since nothing is switched before.
 */
export async function translateStreams(
  request: StreamRequest,
  upgrade: NonNullable<StreamRequest["upgrade"]>,
  wanted: WantedStreams,
  open: () => Promise<{ socket: Duplex; head: Buffer }>,
  logger: Logger,
): Promise<void> {
  const protocol = chooseChannelProtocol(offeredProtocols(request.headers["sec-websocket-protocol"]));
  const backend = await open();
  const session = new SpdySession(backend.socket, { role: "client", head: backend.head });
  const socket = await acceptWebSocket(request.incoming as IncomingMessage, upgrade, protocol.name).catch((error) => {
    session.destroy();
    throw error;
  });
  try {
    await translate(socket, session, wanted, protocol);
    socket.close(1000);
  } catch (error) {
    logger.debug({ err: error }, "A translated stream failed");
    const status = Buffer.from(JSON.stringify(internalError(error).toStatus()));
    await send(socket, protocol, channels.error, protocol.outcome(status));
    socket.close(1011);
  } finally {
    session.end();
    session.destroy();
  }
}

async function translate(
  socket: WebSocket,
  session: SpdySession,
  wanted: WantedStreams,
  protocol: ChannelProtocol,
): Promise<void> {
  // The order that Go's clients open them in; the far end waits until it has seen all of them.
  const stream = (streamtype: string) => {
    const opened = session.open({ streamtype });
    opened.on("error", () => {});
    return opened;
  };
  const error = stream("error");
  const stdin = wanted.stdin ? stream("stdin") : undefined;
  const stdout = wanted.stdout ? stream("stdout") : undefined;
  const stderr = wanted.stderr ? stream("stderr") : undefined;
  const resize = wanted.tty ? stream("resize") : undefined;
  const all = [error, stdin, stdout, stderr, resize].filter((one) => one !== undefined);
  // The error stream carries nothing from here.
  error.end();

  // A stdin that was ended meanwhile drains no more, it finishes.
  for (const event of ["drain", "finish", "close"]) stdin?.on(event, () => socket.resume());
  const receive = ({ channel, payload }: { channel: number; payload: Buffer }) => {
    if (channel === channels.stdin && stdin?.writable) {
      if (!stdin.write(payload)) socket.pause();
    } else if (channel === channels.resize && resize) resize.write(payload);
    else if (channel === channels.close && protocol.canClose && payload[0] === channels.stdin) stdin?.end();
  };
  socket.on("message", (data, isBinary) => {
    const message = Buffer.isBuffer(data) ? protocol.decode(data, isBinary) : undefined;
    if (message) receive(message);
  });
  // Whoever is gone wants no more output: the command's streams are cut, as if a terminal was closed.
  socket.on("close", () => session.destroy());

  await Promise.all(all.map((one) => one.replied));
  // Tells clients that wait for a first byte that the streams are open.
  await send(socket, protocol, stdout ? channels.stdout : stderr ? channels.stderr : channels.error, Buffer.alloc(0));

  const [status] = await Promise.all([
    readStatus(error),
    stdout && copyOut(stdout, socket, protocol, channels.stdout),
    stderr && copyOut(stderr, socket, protocol, channels.stderr),
  ]);
  if (status.length === 0) throw new Error("the container's end of the stream went away without a status");
  const outcome = protocol.outcome(status);
  if (outcome.length > 0) await send(socket, protocol, channels.error, outcome);
}

async function copyOut(
  stream: SpdyStream,
  socket: WebSocket,
  protocol: ChannelProtocol,
  channel: number,
): Promise<void> {
  for await (const chunk of stream) await send(socket, protocol, channel, chunk as Buffer);
}

async function readStatus(stream: SpdyStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > maxStatusBytes) break;
  }
  return Buffer.concat(chunks);
}

/** Resolves when the bytes are with the system, so that a slow client slows the container down. */
function send(socket: WebSocket, protocol: ChannelProtocol, channel: number, payload: Buffer): Promise<void> {
  if (socket.readyState !== socket.OPEN) return Promise.resolve();
  return new Promise((resolve) => socket.send(protocol.encode(channel, payload), () => resolve()));
}
