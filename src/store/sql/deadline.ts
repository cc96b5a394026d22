import type { Clock } from "../../machinery/clock.ts";
import { SqlFailure, type SqlSession } from "./sql-database.ts";

/** How long a database may take to answer a statement, in milliseconds. */
export const statementTimeoutMs = 10_000;

/**
 * Runs calls on a session and drops it when they take longer than `timeoutMs`: a paused database says nothing, ever.
 * @param clock the io clock
 */
export async function withinDeadline<T>(
  clock: Clock,
  session: SqlSession,
  timeoutMs: number,
  run: (session: SqlSession) => Promise<T>,
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
