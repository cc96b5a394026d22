import type { Clock } from "../machinery/clock.ts";

/**
 * How long something may take.
 * @param given a signal that ends it before
 * @returns a signal for both, which tells the reason; `cancel` when it is done
 */
export function startDeadline(
  clock: Clock,
  timeoutMs: number,
  given?: AbortSignal,
): { readonly signal: AbortSignal; cancel(): void } {
  const late = new AbortController();
  const timer = clock.after(timeoutMs, () => late.abort(new Error(`not ready within ${timeoutMs / 1000} s`)));
  return { signal: given ? AbortSignal.any([late.signal, given]) : late.signal, cancel: () => timer.cancel() };
}
