import { type Lease, leases } from "../api/generated/coordination-v1.ts";
import { type Clock, formatMicroTime, type Timer } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import type { Client } from "./client.ts";
import { createInformer } from "./informer.ts";

export interface LeaderElectionOptions {
  readonly client: Client;
  /** The Lease that is fought for. */
  readonly namespace: string;
  readonly name: string;
  /** Who we are; unique among the candidates, and not used again by a later process. */
  readonly identity: string;
  /** io time: a shifted clock would take the lease from one who works. */
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long others wait after the last renewal that they saw. Whole seconds; default 7 s. */
  readonly leaseDurationMs?: number;
  /** How long the leader goes on after it began the last renewal that succeeded. Default 5 s. */
  readonly renewDeadlineMs?: number;
  /** Time between renewals, and between attempts that failed. Default 2 s. */
  readonly retryPeriodMs?: number;
}

/** What a leader is given. */
export interface Leadership {
  /** Aborts when the work has to end: the lease was lost, or the process stops. */
  readonly signal: AbortSignal;
  /** Aborts when the lease was lost: then whatever is still under way must not be written. */
  readonly lost: AbortSignal;
  /** Is the lease ours for sure? False in time even where the process stood still and timers are late. */
  holds(): boolean;
}

/**
 * Runs `lead` whenever this candidate has the lease, until `signal` aborts; the lease is given back then, once `lead` has
 * ended. A leader that cannot renew loses the lease `renewDeadlineMs` after its last renewal began, which is earlier than
 * anybody else may take it; its `lead` has to end, and it stands as a candidate again. A `lead` that fails is begun again.
 * Never rejects.
 *
 * Candidates watch the lease, so that a released one is taken at once, and a silent one when its time is over.
 */
export async function runAsLeader(
  options: LeaderElectionOptions,
  signal: AbortSignal,
  lead: (leadership: Leadership) => Promise<void>,
): Promise<void> {
  const { clock, logger, name: lease, identity, retryPeriodMs = 2000 } = options;
  const lock = new LeaseLock(options);
  const following = lock.follow(signal);
  while (!signal.aborted) {
    const heldUntilMs = await lock.tryAcquire(signal);
    if (heldUntilMs === undefined) {
      await lock.untilFree(signal);
      continue;
    }
    logger.info({ lease, identity }, "Became leader");
    try {
      await leadUntilLost(options, lock, heldUntilMs, signal, lead);
    } catch (error) {
      logger.error({ lease, err: error }, "The leader's work failed; it is begun again");
      await clock.sleep(retryPeriodMs, signal).catch(() => {});
    }
  }
  await lock.release();
  await following;
}

async function leadUntilLost(
  options: LeaderElectionOptions,
  lock: LeaseLock,
  heldUntilMs: number,
  stop: AbortSignal,
  lead: (leadership: Leadership) => Promise<void>,
): Promise<void> {
  const { clock, logger, name: lease, retryPeriodMs = 2000 } = options;
  const lost = new AbortController();
  const done = new AbortController();
  let untilMs = heldUntilMs;
  let timer: Timer | undefined;
  const arm = () => {
    timer?.cancel();
    timer = clock.after(untilMs - clock.now(), lose);
  };
  const lose = () => {
    if (lost.signal.aborted) return;
    logger.warn({ lease }, "Lost leadership");
    lost.abort(new Error(`leadership of lease ${JSON.stringify(lease)} was lost`));
  };
  const holds = () => !lost.signal.aborted && clock.now() < untilMs;
  arm();
  const over = AbortSignal.any([lost.signal, done.signal]);
  const renewing = (async () => {
    for (;;) {
      await clock.sleep(retryPeriodMs, over).catch(() => {});
      if (over.aborted) return;
      // A request that hangs ends with the leadership.
      const renewed = await lock.tryAcquire(over);
      if (over.aborted) return;
      if (renewed !== undefined) {
        untilMs = renewed;
        arm();
      } else if (lock.isOthers) return lose();
    }
  })();
  try {
    await lead({ signal: AbortSignal.any([stop, lost.signal]), lost: lost.signal, holds });
  } finally {
    done.abort();
    timer?.cancel();
    await renewing;
  }
}

/** What is known of the lease. Others' clocks are not trusted: what counts is when we saw it change. */
interface Observation {
  readonly record: string;
  readonly holder: string;
  readonly atMs: number;
  readonly durationMs: number;
}

class LeaseLock {
  readonly #options: LeaderElectionOptions;
  readonly #leaseDurationMs: number;
  #seen: Observation | undefined;
  /** Woken when the lease changes. */
  #wake: (() => void) | undefined;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#leaseDurationMs = options.leaseDurationMs ?? 7000;
  }

  /** Learns of changes until the signal. */
  follow(signal: AbortSignal): Promise<void> {
    const { client, namespace, name, clock, logger } = this.#options;
    const fieldSelector = `metadata.name=${name}`;
    const informer = createInformer(client, leases, { namespace, fieldSelector, clock, logger });
    const changed = (lease: DeepReadonly<Lease>) => {
      this.#observe(lease);
      this.#wake?.();
    };
    const gone = () => {
      this.#seen = undefined;
      this.#wake?.();
    };
    informer.on({ add: changed, update: changed, delete: gone });
    return informer.start(signal);
  }

  /** Does somebody else have it, as far as we know? */
  get isOthers(): boolean {
    const { holder = "" } = this.#seen ?? {};
    return holder !== "" && holder !== this.#options.identity;
  }

  /** Resolves when it may be had: released, run out, or after a pause where the server does not answer. */
  async untilFree(signal: AbortSignal): Promise<void> {
    const { clock, retryPeriodMs = 2000 } = this.#options;
    while (!signal.aborted) {
      const wait = new AbortController();
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const seen = this.#seen;
      const leftMs = seen && this.isOthers ? seen.atMs + seen.durationMs - clock.now() : 0;
      const over = AbortSignal.any([signal, wait.signal]);
      // It could be had, and the attempt just failed.
      const slept = clock.sleep(leftMs > 0 ? leftMs : retryPeriodMs, over).then(
        () => true,
        () => false,
      );
      const inTime = await Promise.race([slept, woken.then(() => false)]);
      wait.abort();
      this.#wake = undefined;
      if (inTime || !this.isOthers) return;
    }
  }

  /**
   * Takes or renews the lease.
   * @returns until when it is ours for sure, milliseconds since the epoch; undefined when another holds it or the server
   * could not be asked
   */
  async tryAcquire(signal: AbortSignal): Promise<number | undefined> {
    const { name, clock, logger, renewDeadlineMs = 5000 } = this.#options;
    const untilMs = clock.now() + renewDeadlineMs;
    // An answer that comes later is worth nothing.
    const late = new AbortController();
    const timer = clock.after(renewDeadlineMs, () => late.abort(new Error("the server does not answer")));
    const over = AbortSignal.any([signal, late.signal]);
    try {
      return (await withSignal(this.#acquire(over), over)) ? untilMs : undefined;
    } catch (error) {
      // A conflict is a lost race, no failure.
      if (!signal.aborted && !(error instanceof StatusError && error.code === 409)) {
        logger.warn({ lease: name, error: (error as Error).message }, "Cannot acquire the lease");
      }
      return undefined;
    } finally {
      timer.cancel();
    }
  }

  async #acquire(signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity, clock } = this.#options;
    const call = { namespace, signal };
    const now = formatMicroTime(clock.now());
    const leaseDurationSeconds = Math.round(this.#leaseDurationMs / 1000);
    const lease = await client.get(leases, name, call).catch((error) => {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    });
    if (!lease) {
      const spec = {
        holderIdentity: identity,
        leaseDurationSeconds,
        acquireTime: now,
        renewTime: now,
        leaseTransitions: 0,
      };
      this.#observe(await client.create(leases, { metadata: { name, namespace }, spec }, call));
      return true;
    }
    const { atMs, durationMs } = this.#observe(lease);
    if (this.isOthers && atMs + durationMs > clock.now()) return false;
    const old = lease.spec ?? {};
    const mine = old.holderIdentity === identity;
    const next = {
      ...lease,
      spec: {
        ...old,
        holderIdentity: identity,
        leaseDurationSeconds,
        acquireTime: mine ? (old.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: (old.leaseTransitions ?? 0) + (mine ? 0 : 1),
      },
    };
    this.#observe(await client.update(leases, next, call));
    return true;
  }

  /** Lets others take over at once; failures are ignored, since the lease then runs out by itself. */
  async release(): Promise<void> {
    const { client, namespace, name, identity, clock } = this.#options;
    if (this.#seen?.holder !== identity) return;
    try {
      const lease = await client.get(leases, name, { namespace });
      if (lease.spec?.holderIdentity !== identity) return;
      const now = formatMicroTime(clock.now());
      const spec = { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
      await client.update(leases, { ...lease, spec }, { namespace });
    } catch {
      // See above.
    }
  }

  #observe({ metadata, spec = {} }: DeepReadonly<Lease>): Observation {
    const { holderIdentity = "", renewTime, leaseTransitions, leaseDurationSeconds } = spec;
    const record = JSON.stringify([metadata.uid, holderIdentity, renewTime, leaseTransitions]);
    if (this.#seen?.record === record) return this.#seen;
    const durationMs = leaseDurationSeconds === undefined ? this.#leaseDurationMs : leaseDurationSeconds * 1000;
    this.#seen = { record, holder: holderIdentity, atMs: this.#options.clock.now(), durationMs };
    return this.#seen;
  }
}

/** Settles with the work, or rejects when the signal aborts: not every server lets go of a request. */
function withSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
