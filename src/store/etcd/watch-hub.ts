import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { GrpcError } from "../../rpc/grpc-client.ts";
import { type StoreEvent, UnavailableError } from "../store.ts";
import type { EtcdConnection } from "./etcd-connection.ts";
import { kv, watchMethod } from "./etcd-messages.ts";
import { everyKey } from "./key-range.ts";
import { canceledError } from "./replay.ts";
import { FragmentJoiner, toStoreEvents } from "./watch-events.ts";

export interface WatchHubOptions {
  readonly connection: EtcdConnection;
  /** The io clock. */
  readonly clock: Clock;
  readonly logger: Logger;
  /** Takes every event, in order and once, with the revision up to which these were all. */
  readonly onEvents: (events: readonly StoreEvent[], progress: number) => void;
  /** Called when the place was lost for good; the hub has stopped. */
  readonly onLost: (error: Error) => void;
}

const longestPauseMs = 1000;
const firstPauseMs = 100;

/**
 * The one watch on etcd that all watches of a store live from. It watches every key: then each revision comes as an event,
 * and what was delivered is known without ever asking etcd for progress, which it answers late, and older versions wrongly.
 * After a lost connection it goes on behind the last event delivered.
 */
export class WatchHub {
  readonly #options: WatchHubOptions;
  #delivered = 0;
  #abort: AbortController | undefined;
  #problem: string | undefined;
  /** Own writes whose answers came before the events of what lies between. */
  readonly #early = new Map<number, StoreEvent>();
  #waiting: { readonly revision: number; readonly settle: (delivered: boolean) => void }[] = [];

  constructor(options: WatchHubOptions) {
    this.#options = options;
  }

  /** Everything up to this revision was handed out. */
  get delivered(): number {
    return this.#delivered;
  }

  get running(): boolean {
    return this.#abort !== undefined;
  }

  /** Why events do not come at the moment. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Begins behind a revision; does nothing while it runs. */
  start(afterRevision: number): void {
    if (this.#abort) return;
    this.#abort = new AbortController();
    this.#delivered = afterRevision;
    void this.#run(this.#abort.signal);
  }

  stop(): void {
    this.#abort?.abort();
    this.#abort = undefined;
    this.#problem = undefined;
    this.#early.clear();
    for (const { settle } of this.#waiting.splice(0)) settle(false);
  }

  /**
   * Hands an own write out by its answer, which may be here before the watch's copy: a transaction is the only thing at its
   * revision, so that it is next in order as soon as everything below was handed out. The copy is passed over.
   */
  wrote(event: StoreEvent): void {
    if (!this.#abort || event.revision <= this.#delivered) return;
    this.#early.set(event.revision, event);
    this.#handOutEarly();
  }

  /** Resolves with true when a revision was handed out, with false when that did not happen in time or the hub stopped. */
  reached(revision: number, timeoutMs: number): Promise<boolean> {
    if (revision <= this.#delivered) return Promise.resolve(true);
    if (!this.#abort) return Promise.resolve(false);
    return new Promise((resolve) => {
      const wait = {
        revision,
        settle(delivered: boolean) {
          timer.cancel();
          resolve(delivered);
        },
      };
      const timer: Timer = this.#options.clock.after(timeoutMs, () => {
        this.#waiting = this.#waiting.filter((other) => other !== wait);
        resolve(false);
      });
      this.#waiting.push(wait);
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, logger, onLost } = this.#options;
    for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(longestPauseMs, pauseMs * 2)) {
      const before = this.#delivered;
      try {
        await this.#follow(signal);
        continue;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof GrpcError)) {
          this.stop();
          onLost(error as Error);
          return;
        }
        if (!this.#problem)
          logger.warn({ err: error, revision: this.#delivered }, "The watch on etcd broke; it goes on");
        this.#problem = `etcd's watch is broken: ${error.message}`;
      }
      if (this.#delivered > before) pauseMs = firstPauseMs;
      await clock.sleep(pauseMs, signal).catch(() => {});
    }
  }

  /**
   * Hands events out until another endpoint is to be followed. Throws a GrpcError when the stream breaks, and anything else
   * when the place is lost.
   */
  async #follow(signal: AbortSignal): Promise<void> {
    const { connection, logger } = this.#options;
    const { moved } = connection;
    const { call, failed } = connection.bidi(watchMethod, AbortSignal.any([signal, moved]));
    try {
      const startRevision = this.#delivered + 1;
      call.write({ create: { ...everyKey, startRevision, prevKv: true, fragment: true } });
      const joiner = new FragmentJoiner();
      for await (const response of call.responses) {
        if (signal.aborted) return;
        if (response.canceled) throw canceledError(response, this.#delivered);
        if (response.created) {
          await this.#assertNotReset(response.header!.revision);
          if (this.#problem) logger.info({ revision: this.#delivered }, "The watch on etcd goes on");
          this.#problem = undefined;
          continue;
        }
        const events = joiner.take(response);
        if (events && events.length > 0) this.#handOut(toStoreEvents(events));
      }
      throw new GrpcError("UNAVAILABLE", "etcd ended the watch");
    } catch (error) {
      // Ended by ourselves, nothing is wrong with the endpoint.
      if (!signal.aborted && !moved.aborted) failed(error);
      if (!moved.aborted || !(error instanceof GrpcError)) throw error;
      logger.debug({ revision: this.#delivered }, "The watch on etcd moves to another member");
    }
  }

  /** etcd waits without a word for a revision that it has not reached: it may have been set back to an older copy. */
  async #assertNotReset(seen: number): Promise<void> {
    if (seen >= this.#delivered) return;
    // A member that lags behind may also be older; a linearizable read tells.
    const { header } = await this.#options.connection.read(kv.range, { key: "\0", countOnly: true }).catch((error) => {
      throw new GrpcError("UNAVAILABLE", (error as Error).message);
    });
    if (header!.revision >= this.#delivered) return;
    throw new UnavailableError(
      `etcd's revision went back from ${this.#delivered} to ${header!.revision}: it was set back to an older copy`,
    );
  }

  #handOut(events: readonly StoreEvent[]): void {
    // All events of a revision are there, or none.
    const fresh =
      events[0]!.revision > this.#delivered ? events : events.filter((one) => one.revision > this.#delivered);
    if (fresh.length > 0) this.#deliver(fresh);
    this.#handOutEarly();
  }

  #handOutEarly(): void {
    const events: StoreEvent[] = [];
    for (let at = this.#delivered + 1; ; at++) {
      const event = this.#early.get(at);
      if (!event) break;
      events.push(event);
    }
    if (events.length > 0) this.#deliver(events);
  }

  #deliver(events: readonly StoreEvent[]): void {
    const { revision } = events.at(-1)!;
    this.#options.onEvents(events, revision);
    this.#delivered = revision;
    for (const early of this.#early.keys()) if (early <= revision) this.#early.delete(early);
    const due = this.#waiting.filter((wait) => wait.revision <= revision);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter((wait) => wait.revision > revision);
    for (const { settle } of due) settle(true);
  }
}
