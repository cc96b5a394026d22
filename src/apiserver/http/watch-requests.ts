import { randomInt } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { readListParameters } from "../call-options.ts";
import { type WatchSink, watch } from "../verbs/watch.ts";
import { type Exchange, viewOf } from "./exchange.ts";
import type { FanOut } from "./fan-out.ts";
import { httpSink, WatchEncoder, webSocketSink } from "./watch-stream.ts";
import { acceptWatchSocket } from "./web-socket-watch.ts";

/** Without a timeout of its own a watch ends after half an hour to an hour, so that watches spread over servers. */
const watchSecondsMin = 1800;

/** Streams changes until the client goes, its time is over or `signal` aborts. */
export async function answerWatch(exchange: Exchange, fanOut: FanOut, signal: AbortSignal): Promise<void> {
  const { core, request, response, url, call } = exchange;
  const view = viewOf(exchange, "watch");
  const parameters = readListParameters(url.searchParams);
  const timeoutSeconds = parameters.timeoutSeconds || watchSecondsMin + randomInt(watchSecondsMin);
  const encoder = new WatchEncoder(call.facts, () => ({ ...view, nowMs: core.clusterClock.now() }));
  request.resume();
  await new Promise<void>((resolve, reject) => {
    const sink = httpSink(response, encoder, fanOut);
    let stop: (() => void) | undefined;
    const onGone = () => stop?.();
    const finish = () => {
      signal.removeEventListener("abort", onGone);
      resolve();
    };
    response.once("close", onGone);
    signal.addEventListener("abort", onGone, { once: true });
    watch(
      core,
      call,
      { ...parameters, timeoutSeconds },
      {
        ...sink,
        end: (error) => {
          sink.end(error);
          finish();
        },
      },
    ).then((started) => {
      stop = started;
      if (response.destroyed || signal.aborted) stop();
    }, reject);
  });
}

/** The same over a WebSocket: one message a change. Refusals come before the handshake, as plain replies. */
export async function answerWatchSocket(
  { core, request, url, call }: Pick<Exchange, "core" | "url" | "call"> & { request: IncomingMessage },
  connection: { readonly socket: Duplex; readonly head: Buffer },
  signal: AbortSignal,
): Promise<void> {
  const view = viewOf({ core, request, url, call }, "watch");
  const parameters = readListParameters(url.searchParams);
  const encoder = new WatchEncoder(call.facts, () => ({ ...view, nowMs: core.clusterClock.now() }));
  // So the watch starts first and waits for its socket.
  const early: (() => void)[] = [];
  let sink: WatchSink | undefined;
  const later = (run: (sink: WatchSink) => void) => {
    if (sink) run(sink);
    else early.push(() => run(sink!));
  };
  const stop = await watch(core, call, parameters, {
    open: () => {},
    changes: (changes) => later((to) => to.changes(changes)),
    bookmark: (revision, initial) => later((to) => to.bookmark(revision, initial)),
    end: (error) => later((to) => to.end(error)),
  });
  const webSocket = await acceptWatchSocket(request, connection.socket, connection.head);
  signal.addEventListener("abort", stop, { once: true });
  webSocket.onClose(() => {
    signal.removeEventListener("abort", stop);
    stop();
  });
  sink = webSocketSink(webSocket, encoder);
  for (const run of early) run();
}
