import type { Clock, Timer } from "../../machinery/clock.ts";
import { GrpcError } from "../../rpc/grpc-client.ts";
import { CompactedError, type StoreEvent, UnavailableError } from "../store.ts";
import type { EtcdConnection } from "./etcd-connection.ts";
import { maintenance, watchMethod } from "./etcd-messages.ts";
import { everyKey, prefixRange } from "./key-range.ts";
import { FragmentJoiner, toStoreEvents } from "./watch-events.ts";

/** etcd brings a watch on the past up to date in rounds of 100 ms, and says nothing to a question for progress before. */
const progressIntervalMs = 50;
/** When nothing has come for this long, or a connection did not come back, the replay is given up. */
const patienceMs = 10_000;
const retryPauseMs = 250;

/**
 * Changes below `prefix` after one revision, up to and with another, oldest first, in pieces. All events of a revision
 * are in one piece. Goes on by itself after a connection was lost.
 * @throws CompactedError when the place is gone, UnavailableError when etcd does not answer for ten seconds
 */
export async function* replay(
  connection: EtcdConnection,
  clock: Clock,
  prefix: string,
  afterRevision: number,
  upTo: number,
): AsyncGenerator<readonly StoreEvent[], void> {
  let position = afterRevision;
  let lastMs = clock.now();
  while (position < upTo) {
    try {
      for await (const { events, reached } of watchPast(connection, clock, prefix, position, upTo)) {
        position = reached;
        lastMs = clock.now();
        if (events.length > 0) yield events;
      }
    } catch (error) {
      if (!(error instanceof GrpcError)) throw error;
      if (clock.now() - lastMs >= patienceMs)
        throw new UnavailableError(`etcd does not tell its past: ${error.message}`, { cause: error });
      await clock.sleep(retryPauseMs);
    }
  }
}

async function* watchPast(
  connection: EtcdConnection,
  clock: Clock,
  prefix: string,
  afterRevision: number,
  upTo: number,
): AsyncGenerator<{ readonly events: readonly StoreEvent[]; readonly reached: number }, void> {
  const { version } = await connection.read(maintenance.status, {});
  // Every revision is an event of some key: where progress cannot be asked for, the end is known by watching them all.
  const asks = answersProgress(version);
  const abort = new AbortController();
  const { call, failed } = connection.bidi(watchMethod, abort.signal);
  let silence: Timer | undefined;
  let asking: Timer | undefined;
  let silent = false;
  const listen = () => {
    silence?.cancel();
    silence = clock.after(patienceMs, () => {
      silent = true;
      abort.abort();
    });
  };
  const ask = () => {
    call.write({ progress: {} });
    asking = clock.after(progressIntervalMs, ask);
  };
  try {
    listen();
    const range = asks ? prefixRange(prefix) : everyKey;
    call.write({ create: { ...range, startRevision: afterRevision + 1, prevKv: true, fragment: true } });
    if (asks) ask();
    const joiner = new FragmentJoiner();
    let reached = afterRevision;
    for await (const response of call.responses) {
      listen();
      if (response.canceled) throw canceledError(response, reached);
      const joined = joiner.take(response);
      if (!joined || response.created) continue;
      if (joined.length === 0) {
        // A progress: everything up to it was sent before.
        if (response.header!.revision < upTo) continue;
        reached = upTo;
      } else {
        reached = Math.min(upTo, joined.at(-1)!.kv!.modRevision);
      }
      const wanted = joined.filter(({ kv }) => kv!.modRevision <= upTo && kv!.key.startsWith(prefix));
      yield { events: toStoreEvents(wanted), reached };
      if (reached >= upTo) return;
    }
    throw new GrpcError("UNAVAILABLE", "the watch ended");
  } catch (error) {
    const real = silent ? new GrpcError("DEADLINE_EXCEEDED", `no event for ${patienceMs} ms`) : error;
    failed(real);
    throw real;
  } finally {
    silence?.cancel();
    asking?.cancel();
    abort.abort();
  }
}

/** Why etcd ended a watch that stands at `position`. */
export function canceledError(
  { compactRevision, cancelReason }: { compactRevision: number; cancelReason: string },
  position: number,
): Error {
  if (compactRevision > 0) return new CompactedError(position, compactRevision);
  return new GrpcError("UNAVAILABLE", `the watch was canceled: ${cancelReason || "no reason was given"}`);
}

/**
 * Whether a watch that is asked for its progress answers truly. Before these versions the answer overtook events, or never
 * came to a watch without any.
 * @see https://github.com/etcd-io/etcd/issues/15220
 * @see https://github.com/etcd-io/etcd/issues/17507
 */
export function answersProgress(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/, 3).map(Number);
  if (major !== 3) return major > 3;
  if (minor === 4) return patch >= 31;
  if (minor === 5) return patch >= 13;
  return minor > 5;
}
