import type { Clock } from "../../machinery/clock.ts";
import type { Cri } from "../containerd/cri.ts";
import { runHandler } from "./handler.ts";
import { graceLeftSeconds, type Killing } from "./plan-ending.ts";

/**
 * Runs a container's preStop hook and ends the container: the stop signal, and SIGKILL when its grace is over. The hook's
 * time counts. One that is gone already is no error.
 */
export async function stopContainer(
  { observed, container }: Killing,
  graceSeconds: number,
  context: {
    readonly cri: Cri;
    readonly clock: Clock;
    readonly podIp: string;
    /** Breaks off the wait; the caller comes back with a shorter grace. */
    readonly signal: AbortSignal;
    onHookFailure(output: string): void;
  },
): Promise<void> {
  const { cri, clock, podIp, signal } = context;
  const hook = container?.lifecycle?.preStop;
  let leftSeconds = graceSeconds;
  if (hook && container && graceSeconds > 0) {
    const startedMs = clock.now();
    const overdue = new AbortController();
    const timer = clock.after(graceSeconds * 1000, () => overdue.abort());
    const { ok, output } = await runHandler(
      hook,
      { containerId: observed.id, container, podIp },
      {
        cri,
        clock,
        timeoutMs: Number.POSITIVE_INFINITY,
        signal: AbortSignal.any([signal, overdue.signal]),
        anyStatus: true,
      },
    );
    timer.cancel();
    if (!ok && !signal.aborted) context.onHookFailure(output);
    leftSeconds = graceLeftSeconds(graceSeconds, clock.now() - startedMs);
  }
  try {
    await cri.stopContainer(observed.id, leftSeconds, signal);
  } catch (error) {
    if ((error as { code?: string }).code !== "NOT_FOUND") throw error;
  }
}
