import { connect, type Socket } from "node:net";
import type { Clock, Timer } from "../../machinery/clock.ts";

/** How long one server may take to answer before the next is tried beside it, milliseconds: a lost packet is sent again after 1 s. */
const patienceMs = 500;

/** How long a connection may take at all, milliseconds: a machine that is gone answers never. */
const dialLimitMs = 10_000;

export interface Dialled {
  readonly address: string;
  readonly socket: Socket;
}

/**
 * Connects to the first of `addresses` ("host:port") that answers, in their order: the next is tried at once where one
 * refuses, and beside it where it is slow.
 * @param options.onFailure told of each that could not be reached
 * @throws the last failure when there is none left, or the signal's reason
 */
export function dialFirst(
  addresses: readonly string[],
  options: { clock: Clock; signal: AbortSignal; onFailure: (address: string, error: Error) => void },
): Promise<Dialled> {
  const { clock, signal, onFailure } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const waiting = [...addresses];
    const trying = new Map<Socket, Timer>();
    let patience: Timer | undefined;
    const finish = (act: () => void) => {
      patience?.cancel();
      signal.removeEventListener("abort", onAbort);
      for (const [socket, limit] of trying) {
        limit.cancel();
        socket.destroy();
      }
      trying.clear();
      act();
    };
    const onAbort = () => finish(() => reject(signal.reason));
    const next = () => {
      patience?.cancel();
      const address = waiting.shift();
      if (address === undefined) return;
      if (waiting.length > 0) patience = clock.after(patienceMs, next);
      const socket = connect({ ...hostPort(address), allowHalfOpen: true, noDelay: true });
      const limit = clock.after(dialLimitMs, () => socket.destroy(new Error(`dial tcp ${address}: i/o timeout`)));
      trying.set(socket, limit);
      // Stays for good: a socket that lost the race may still fail, and nobody else listens.
      socket.on("error", (error) => {
        if (!trying.delete(socket)) return;
        limit.cancel();
        onFailure(address, error);
        if (waiting.length > 0) next();
        else if (trying.size === 0) finish(() => reject(error));
      });
      socket.once("connect", () => {
        limit.cancel();
        trying.delete(socket);
        finish(() => resolve({ address, socket }));
      });
    };
    signal.addEventListener("abort", onAbort, { once: true });
    next();
  });
}

/** Splits "host:port" and "[v6]:port". */
export function hostPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(colon + 1)) };
}

/** Whether somebody else's word for an address can be dialled at all: the attempt would throw otherwise. */
export function isHostPort(text: unknown): text is string {
  if (typeof text !== "string" || !/^.+:\d{1,5}$/.test(text)) return false;
  const { port } = hostPort(text);
  return port > 0 && port <= 65_535;
}

/** "10.0.0.1:6443", "[fd00::1]:6443". */
export function joinHostPort(host: string, port: number | string): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
