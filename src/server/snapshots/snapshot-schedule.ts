import { type CronSchedule, nextTime } from "../../controllers/cron-schedule.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";

/**
 * Takes a snapshot whenever the schedule says, until the signal. One that fails is told of, and the next one is tried.
 * @param options.timeZone in which the schedule is read: the machine's
 */
export async function runSnapshotSchedule(options: {
  readonly schedule: CronSchedule;
  readonly timeZone: string;
  readonly save: () => Promise<unknown>;
  /** Cluster time. */
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { schedule, timeZone, save, clock, logger, signal } = options;
  for (;;) {
    const nowMs = clock.now();
    const nextMs = nextTime(schedule, nowMs, timeZone);
    if (nextMs === undefined) return logger.warn("The schedule of snapshots names no day that ever comes");
    try {
      await clock.sleep(nextMs - nowMs, signal);
    } catch {
      return;
    }
    // A sleeper may wake a moment early; the same time must not come twice.
    await clock.sleep(Math.max(0, nextMs - clock.now()), signal).catch(() => {});
    if (signal.aborted) return;
    await save().catch((error: unknown) => {
      if (!signal.aborted) logger.error({ err: error }, "Failed to take scheduled snapshot");
    });
  }
}
