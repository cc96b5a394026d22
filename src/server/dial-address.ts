import { connect } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../machinery/clock.ts";
import { serviceUnavailable } from "../machinery/status.ts";

const timeoutMs = 30_000;

/**
 * Connects to "<ip>:<port>" from this machine, which has the pod network. Throws 503 with Kubernetes' text when nothing
 * answers there.
 */
export function dialAddress(target: string, clock: Clock, signal?: AbortSignal): Promise<Duplex> {
  const colon = target.lastIndexOf(":");
  const host = target.slice(0, colon).replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(target.slice(colon + 1)) });
    const timer = clock.after(timeoutMs, () => socket.destroy(new Error("i/o timeout")));
    const onAbort = () => socket.destroy(new Error("context canceled"));
    if (signal?.aborted) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    const settle = () => {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    };
    socket.once("connect", () => {
      settle();
      socket.removeListener("error", onError);
      resolve(socket);
    });
    const onError = (error: NodeJS.ErrnoException) => {
      settle();
      const why = error.code === "ECONNREFUSED" ? "connect: connection refused" : error.message;
      reject(serviceUnavailable(`error trying to reach service: dial tcp ${target}: ${why}`));
    };
    socket.once("error", onError);
  });
}

/** Is this address one of the machine that is dialled itself, as a kubelet's is behind its node's tunnel? */
export function isLoopback(target: string): boolean {
  return /^(127\.|\[?::1\]?:|localhost:)/.test(target);
}
