/**
 * The only place that reads the time or sets a timer. Two clocks exist in a process: `cluster` time (leases, TTLs,
 * schedules, back-off), which tests may shift, and `io` time (sockets, deadlines, TLS), which nothing shifts.
 */

/** A timer that can be cancelled. Cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

/** A source of time. All durations are milliseconds. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Calls `callback` once after `delayMs`; delays beyond Node's 24.8 days are chained. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** Node fires a longer timer at once. */
const longestTimerMs = 2 ** 31 - 1;

/** The machine's time. The cluster's clock may be shifted by a test cluster that is told that time has passed. */
export class SystemClock implements Clock {
  #offsetMs = 0;

  /** Moves this clock forward by `ms`; timers that are armed already keep their delay. */
  shift(ms: number): void {
    this.#offsetMs += ms;
  }

  now(): number {
    return Date.now() + this.#offsetMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    let handle: NodeJS.Timeout;
    let leftMs = Math.max(0, delayMs);
    const arm = () => {
      const stepMs = Math.min(leftMs, longestTimerMs);
      leftMs -= stepMs;
      handle = setTimeout(() => (leftMs > 0 ? arm() : callback()), stepMs);
      handle.unref();
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        timer.cancel();
        keepAlive.close();
        reject(signal?.reason);
      };
      // Timers of `after` do not keep the process alive; a sleeper is waited for.
      const keepAlive = setInterval(() => {}, longestTimerMs);
      const timer = this.after(delayMs, () => {
        signal?.removeEventListener("abort", onAbort);
        keepAlive.close();
        resolve();
      });
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}

/** Time for leases, TTLs, schedules and back-off. */
export const clusterClock = new SystemClock();

/** Time for sockets, deadlines of calls, probe time-outs, TLS and token validity. Never shifted. */
export const ioClock: Clock = new SystemClock();

/** Formats milliseconds since the epoch as metav1.Time: seconds precision, "2026-01-02T03:04:05Z". */
export function formatTime(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== lastFormatted.second) {
    lastFormatted = { second, text: `${new Date(ms).toISOString().slice(0, 19)}Z` };
  }
  return lastFormatted.text;
}

/** Every write asks for the present second, most of them for the same one. */
let lastFormatted = { second: Number.NaN, text: "" };

/** Formats milliseconds since the epoch as metav1.MicroTime: "2026-01-02T03:04:05.000000Z". */
export function formatMicroTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 23)}000Z`;
}
