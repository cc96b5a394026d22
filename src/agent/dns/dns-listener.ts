import { createSocket, type Socket } from "node:dgram";
import { createServer, isIPv6, type Server, type Socket as TcpSocket } from "node:net";
import type { Clock } from "../../machinery/clock.ts";
import type { Responder } from "./responder.ts";

export interface ListenerOptions {
  readonly address: string;
  readonly port: number;
  readonly responder: Responder;
  readonly clock: Clock;
}

const idleMs = 10_000;
const maxConnections = 500;

/** Answers over UDP and TCP on one address and port. Rejects with an error that names them when they are taken. */
export async function listenDns(options: ListenerOptions): Promise<{ port: number; close(): void }> {
  const { address, port } = options;
  let udp: Socket | undefined;
  try {
    udp = await listenUdp(options);
    const tcp = await listenTcp({ ...options, port: udp.address().port });
    const bound = udp;
    return {
      port: bound.address().port,
      close: () => {
        bound.close();
        tcp.close();
      },
    };
  } catch (cause) {
    udp?.close();
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === "EADDRINUSE" ? "another program listens there" : message;
    throw new Error(`serve the cluster's DNS at "${address}:${port}": ${why}`, { cause });
  }
}

function listenUdp({ address, port, responder }: ListenerOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
    socket.once("error", reject);
    socket.bind(port, address, () => {
      socket.off("error", reject);
      // A client that is gone makes sending fail; that concerns nobody else.
      socket.on("error", () => {});
      resolve(socket);
    });
    socket.on("message", (bytes, from) => {
      const cached = responder.cached(bytes, "udp");
      if (cached) return socket.send(cached, from.port, from.address, () => {});
      void responder.answer(bytes, "udp").then((answer) => {
        try {
          if (answer) socket.send(answer, from.port, from.address, () => {});
        } catch {
          // Closed meanwhile.
        }
      });
    });
  });
}

function listenTcp({ address, port, responder, clock }: ListenerOptions): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => serveConnection(socket, responder, clock));
    server.maxConnections = maxConnections;
    server.once("error", reject);
    server.listen(port, address, () => {
      server.off("error", reject);
      resolve(server);
    });
  });
}

/** Messages with their length before them, any number on a connection, answered as they are ready. */
function serveConnection(socket: TcpSocket, responder: Responder, clock: Clock): void {
  let received = Buffer.alloc(0);
  let timer = clock.after(idleMs, () => socket.destroy());
  socket.on("error", () => {});
  socket.on("close", () => timer.cancel());
  socket.on("data", (chunk) => {
    timer.cancel();
    timer = clock.after(idleMs, () => socket.destroy());
    received = received.length ? Buffer.concat([received, chunk]) : chunk;
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const end = 2 + received.readUInt16BE(0);
      const message = received.subarray(2, end);
      received = received.subarray(end);
      const cached = responder.cached(message, "tcp");
      if (cached) send(socket, cached);
      else void responder.answer(message, "tcp").then((answer) => (answer ? send(socket, answer) : socket.destroy()));
    }
  });
}

function send(socket: TcpSocket, answer: Buffer): void {
  if (socket.destroyed) return;
  const length = Buffer.alloc(2);
  length.writeUInt16BE(answer.length);
  socket.write(Buffer.concat([length, answer]));
}
