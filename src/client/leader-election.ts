import { type Lease, leases } from "../api/generated/coordination-v1.ts";
import { type Clock, formatMicroTime } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import { StatusError } from "../machinery/status.ts";
import type { Client } from "./client.ts";

export interface LeaderElectionOptions {
  readonly client: Client;
  /** The Lease that is fought for. */
  readonly namespace: string;
  readonly name: string;
  /** Who we are; unique among the candidates. */
  readonly identity: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long others wait after the last renewal that they saw. Default 15 s. */
  readonly leaseDurationMs?: number;
  /** How long the leader goes on without a successful renewal. Default 10 s. */
  readonly renewDeadlineMs?: number;
  /** Time between attempts. Default 2 s. */
  readonly retryPeriodMs?: number;
}

/** What a candidate remembers of the lease: others' clocks are not trusted, only when we saw it change. */
interface Observation {
  readonly record: string;
  readonly atMs: number;
}

/**
 * Waits until this candidate leads, runs `lead` with a signal that aborts when leadership is lost, and gives the lease
 * back when `signal` aborts. Resolves then; rejects when leadership was lost or `lead` failed: its caller must end or
 * call again.
 */
export async function runAsLeader(
  options: LeaderElectionOptions,
  signal: AbortSignal,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { clock, logger, retryPeriodMs = 2000, renewDeadlineMs = 10_000 } = options;
  const lock = new LeaseLock(options);
  while (!(await lock.tryAcquire(signal))) {
    await clock.sleep(retryPeriodMs * (1 + Math.random() * 1.2), signal).catch(() => {});
    if (signal.aborted) return;
  }
  logger.info({ lease: options.name, identity: options.identity }, "Became leader");
  const lost = new AbortController();
  const renewing = (async () => {
    let renewedMs = clock.now();
    while (!signal.aborted && !lost.signal.aborted) {
      await clock.sleep(retryPeriodMs, AbortSignal.any([signal, lost.signal])).catch(() => {});
      if (signal.aborted || lost.signal.aborted) return;
      if (await lock.tryAcquire(signal)) renewedMs = clock.now();
      else if (clock.now() - renewedMs >= renewDeadlineMs) {
        logger.warn({ lease: options.name }, "Lost leadership");
        lost.abort(new Error(`leadership of lease ${JSON.stringify(options.name)} was lost`));
      }
    }
  })();
  try {
    await lead(AbortSignal.any([signal, lost.signal]));
    if (lost.signal.aborted) throw lost.signal.reason;
  } finally {
    const wasLost = lost.signal.aborted;
    lost.abort();
    await renewing;
    if (!wasLost) await lock.release();
  }
}

class LeaseLock {
  readonly #options: LeaderElectionOptions;
  readonly #leaseDurationMs: number;
  #seen: Observation | undefined;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#leaseDurationMs = options.leaseDurationMs ?? 15_000;
  }

  /** Takes or renews the lease. False when another holds it or the server could not be asked. */
  async tryAcquire(signal?: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity, clock, logger } = this.#options;
    const call = { namespace, ...(signal ? { signal } : {}) };
    const now = formatMicroTime(clock.now());
    const leaseDurationSeconds = Math.round(this.#leaseDurationMs / 1000);
    try {
      let lease: Lease;
      try {
        lease = await client.get(leases, name, call);
      } catch (error) {
        if (!(error instanceof StatusError && error.code === 404)) throw error;
        const spec = {
          holderIdentity: identity,
          leaseDurationSeconds,
          acquireTime: now,
          renewTime: now,
          leaseTransitions: 0,
        };
        await client.create(leases, { metadata: { name, namespace }, spec }, call);
        return true;
      }
      const old = lease.spec ?? {};
      const record = JSON.stringify([old.holderIdentity, old.renewTime, old.leaseTransitions]);
      if (this.#seen?.record !== record) this.#seen = { record, atMs: clock.now() };
      const mine = old.holderIdentity === identity;
      const duration = (old.leaseDurationSeconds ?? leaseDurationSeconds) * 1000;
      if (!mine && old.holderIdentity && this.#seen.atMs + duration > clock.now()) return false;
      await client.update(
        leases,
        {
          ...lease,
          spec: {
            ...old,
            holderIdentity: identity,
            leaseDurationSeconds,
            acquireTime: mine ? (old.acquireTime ?? now) : now,
            renewTime: now,
            leaseTransitions: (old.leaseTransitions ?? 0) + (mine ? 0 : 1),
          },
        },
        call,
      );
      return true;
    } catch (error) {
      // A conflict is a lost race, no failure.
      if (!signal?.aborted && !(error instanceof StatusError && error.code === 409)) {
        logger.warn({ lease: name, error: (error as Error).message }, "Cannot acquire the lease");
      }
      return false;
    }
  }

  /** Lets others take over at once; failures are ignored, since the lease then runs out by itself. */
  async release(): Promise<void> {
    const { client, namespace, name, identity, clock } = this.#options;
    try {
      const lease = await client.get(leases, name, { namespace });
      if (lease.spec?.holderIdentity !== identity) return;
      const now = formatMicroTime(clock.now());
      const { holderIdentity: _, ...rest } = lease.spec;
      await client.update(
        leases,
        { ...lease, spec: { ...rest, leaseDurationSeconds: 1, acquireTime: now, renewTime: now } },
        { namespace },
      );
    } catch {
      // See above.
    }
  }
}
