import type { SessionOptions, Settings } from "node:http2";
import type { WebSocket } from "ws";
import type { Clock, Timer } from "../machinery/clock.ts";

/** Flow-control window of every stream, bytes: what one stalled stream may hold in memory. */
export const windowBytes = 1024 * 1024;

/** How often each end pings, milliseconds. K3s pings every 5 s, which costs an idle cluster something all the time. */
export const pingIntervalMs = 20_000;

/** A peer that was silent this long is dead, milliseconds: two lost pings and some slack. */
export const silenceLimitMs = 50_000;

/** Largest WebSocket message that is taken, bytes. HTTP/2 frames are small, but Node may join several. */
export const maxMessageBytes = 32 * 1024 * 1024;

export const http2Settings: Settings = {
  initialWindowSize: windowBytes,
  maxConcurrentStreams: 10_000,
  enablePush: false,
};

/**
 * Node ends a session whose buffers pass 10 MB, and one with many resets; both are ordinary here (many streams, each
 * with a window of 1 MiB; every aborted watch or log is a reset).
 */
export const http2Options: SessionOptions & { streamResetBurst: number; streamResetRate: number } = {
  settings: http2Settings,
  maxSessionMemory: 4_000,
  peerMaxConcurrentStreams: 10_000,
  streamResetBurst: 100_000,
  streamResetRate: 10_000,
};

/**
 * Pings the peer and calls `onDead` once when nothing came back for {@link silenceLimitMs}. Without it a peer whose
 * machine vanished (no FIN, no RST) would look connected for as long as nobody writes. Returns how to stop.
 */
export function watchPeer(socket: WebSocket, clock: Clock, onDead: (silentMs: number) => void): () => void {
  let heardMs = clock.now();
  let timer: Timer | undefined;
  const heard = () => {
    heardMs = clock.now();
  };
  const beat = () => {
    const silentMs = clock.now() - heardMs;
    if (silentMs >= silenceLimitMs) return onDead(silentMs);
    if (socket.readyState === socket.OPEN) socket.ping();
    timer = clock.after(pingIntervalMs, beat);
  };
  socket.on("ping", heard);
  socket.on("pong", heard);
  timer = clock.after(pingIntervalMs, beat);
  return () => {
    timer?.cancel();
    socket.off("ping", heard);
    socket.off("pong", heard);
  };
}
