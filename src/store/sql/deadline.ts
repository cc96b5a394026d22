import type { Clock } from "../../machinery/clock.ts";
import { SqlFailure } from "./sql-database.ts";

/** How long a database may take to answer a statement, in milliseconds. */
export const statementTimeoutMs = 10_000;

/**
 * Runs calls on a connection and drops it when they take longer than `timeoutMs`: a paused database says nothing, ever.
 * @param clock the io clock
 */
export async function withinDeadline<S extends { close(): void }, T>(
  clock: Clock,
  session: S,
  timeoutMs: number,
  run: (session: S) => Promise<T>,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = clock.after(timeoutMs, () => {
    session.close();
    late.reject(new SqlFailure("late", `it did not answer within ${timeoutMs / 1000} s`));
  });
  try {
    return await Promise.race([run(session), late.promise]);
  } finally {
    timer.cancel();
  }
}
