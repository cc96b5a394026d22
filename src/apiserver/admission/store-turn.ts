import { randomUUID } from "node:crypto";
import type { Clock, Timer } from "../../machinery/clock.ts";
import { jittered } from "../../machinery/jitter.ts";
import type { Logger } from "../../machinery/log.ts";
import { serviceUnavailable } from "../../machinery/status.ts";
import type { Store } from "../../store/store.ts";

export interface StoreTurnOptions {
  readonly store: Store;
  /** io time. */
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Below this a key says which server has a turn. No object of the API: nobody watches it. */
const prefix = "/k3ts/turns/";
/** A server that was killed in its turn holds up the others for so long at most. */
const lifetimeSeconds = 15;
/** How often a turn that lasts is prolonged, milliseconds: several times within its life. */
const prolongMs = 4000;
/** After so long requests that come later wait for the next turn, so that other servers get theirs. */
const shareMs = 200;
const patienceMs = 20_000;
const firstPauseMs = 5;
const longestPauseMs = 100;

interface Turn {
  revision: number;
  readonly openUntilMs: number;
  holders: number;
  timer?: Timer;
  readonly over: PromiseWithResolvers<void>;
}

/**
 * A turn that only one server has at a time, by a key in the store: for decisions that depend on what is stored as a
 * whole, which no compare on one key can guard (who has an address, how much of a quota is used). The requests of one
 * server share its turn. Who has it may trust what it reads with a barrier until it leaves: no other server writes
 * anything meanwhile that such a decision is about.
 */
export class StoreTurn {
  readonly #options: StoreTurnOptions;
  readonly #key: string;
  readonly #prepare: () => Promise<void>;
  readonly #identity = Buffer.from(randomUUID());
  #turn: Turn | undefined;
  /** Ends when this server has no turn any more, or has a new one. */
  #changing: Promise<unknown> | undefined;

  /** @param prepare runs whenever this server got the turn, before the first request enters it */
  constructor(name: string, options: StoreTurnOptions, prepare: () => Promise<void> = async () => {}) {
    this.#options = options;
    this.#prepare = prepare;
    this.#key = prefix + name;
  }

  /**
   * Waits for the turn of this server.
   * @returns how to leave it: to be called once, when the request has been written or has failed
   * @throws StatusError 503 when other servers do not give it up, and what the store throws
   */
  async enter(): Promise<() => void> {
    const { clock } = this.#options;
    const untilMs = clock.now() + patienceMs;
    for (;;) {
      const turn = this.#turn;
      // One that nobody has entered yet is open for whoever took it.
      if (turn && (turn.holders === 0 || clock.now() < turn.openUntilMs)) {
        turn.holders++;
        return () => this.#leave(turn);
      }
      if (clock.now() >= untilMs) throw serviceUnavailable(`another server holds ${this.#key}; try again`);
      if (turn) {
        await turn.over.promise;
        continue;
      }
      if (!this.#changing) this.#change(this.#take(untilMs));
      // Failing to take it is told to who asked for it, and to all that waited with it.
      await this.#changing;
    }
  }

  #leave(turn: Turn): void {
    turn.holders--;
    if (turn.holders > 0) return;
    turn.timer?.cancel();
    this.#turn = undefined;
    this.#change(this.#release(turn.revision));
    turn.over.resolve();
  }

  #change(work: Promise<void>): void {
    const done = work.finally(() => {
      this.#changing = undefined;
    });
    // Not everybody waits for it.
    done.catch(() => {});
    this.#changing = done;
  }

  async #take(untilMs: number): Promise<void> {
    const { store, clock } = this.#options;
    const life = { ttlSeconds: lifetimeSeconds };
    let pauseMs = firstPauseMs;
    for (;;) {
      let result = await store.create(this.#key, this.#identity, life);
      // What is left of a turn of ours, whose end did not get through.
      if (!result.ok && result.current?.value.equals(this.#identity))
        result = await store.update(this.#key, this.#identity, result.current.modRevision, life);
      if (result.ok) {
        try {
          await this.#prepare();
        } catch (error) {
          await this.#release(result.revision);
          throw error;
        }
        this.#turn = {
          revision: result.revision,
          openUntilMs: clock.now() + shareMs,
          holders: 0,
          over: Promise.withResolvers(),
        };
        this.#prolongLater(this.#turn);
        return;
      }
      if (clock.now() >= untilMs) return;
      await clock.sleep(jittered(pauseMs / 2, 2));
      pauseMs = Math.min(longestPauseMs, pauseMs * 2);
    }
  }

  async #release(revision: number): Promise<void> {
    const { store, logger } = this.#options;
    await store.delete(this.#key, revision).catch((error) => {
      logger.debug({ err: error, key: this.#key }, "Giving up a turn failed; it runs out by itself");
    });
  }

  #prolongLater(turn: Turn): void {
    const { store, clock, logger } = this.#options;
    turn.timer = clock.after(prolongMs, () => {
      const life = { ttlSeconds: lifetimeSeconds };
      store.update(this.#key, this.#identity, turn.revision, life).then(
        (result) => {
          if (result.ok) turn.revision = result.revision;
          else logger.warn({ key: this.#key }, "A turn ran out while requests were in it");
          // It was left while it was being prolonged.
          if (turn.holders === 0) return void this.#release(turn.revision);
          if (result.ok) this.#prolongLater(turn);
        },
        (error) => {
          logger.warn({ err: error, key: this.#key }, "Prolonging a turn failed");
          if (turn.holders > 0) this.#prolongLater(turn);
        },
      );
    });
  }
}
