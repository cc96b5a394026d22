import type { Clock } from "../machinery/clock.ts";

/** How often to look, milliseconds: containers are connected to networks by hand, not many times a minute. */
const lookMs = 10_000;

/**
 * Resolves with an error for the log when this node is reached by another address than the one that it started with:
 * certificates, the Node object and the other nodes' routes name the old one. A node that has no address for a while
 * waits for one. Never resolves when the signal aborts.
 * @param find throws when there is no address now
 */
export function addressChange(options: {
  readonly current: string;
  readonly find: () => string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<Error> {
  const { current, find, clock, signal } = options;
  return new Promise((resolve) => {
    const look = () => {
      if (signal.aborted) return;
      let now = current;
      try {
        now = find();
      } catch {}
      if (now === current) clock.after(lookMs, look);
      else resolve(new Error(`the address of this node changed from ${current} to ${now}; it starts again with that`));
    };
    clock.after(lookMs, look);
  });
}
