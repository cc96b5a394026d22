import { watch } from "node:fs";
import { join } from "node:path";
import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";

/** A file is taken when nothing was written to it for this long: it may arrive in pieces. */
const settleMs = 1000;

/**
 * Hands over the files that are put into a directory, or changed there, until the signal aborts. A file comes when nothing
 * has happened to it for a second; one at a time, in the order of their names. Costs nothing while nothing happens.
 * @param take never rejects for a file that is of no use
 */
export function watchImages(
  directory: string,
  take: (files: readonly string[]) => Promise<void>,
  context: { readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
): void {
  const { clock, logger, signal } = context;
  const unsettled = new Map<string, Timer>();
  const settled = new Set<string>();
  let taking = false;

  const takeAll = async (): Promise<void> => {
    if (taking) return;
    taking = true;
    while (settled.size > 0 && !signal.aborted) {
      const files = [...settled].sort();
      settled.clear();
      try {
        await take(files);
      } catch (error) {
        logger.error({ directory, error: (error as Error).message }, "Image import failed");
      }
    }
    taking = false;
  };
  const see = (name: string | null): void => {
    // Tools write to a hidden file and rename it in the end.
    if (!name || name.startsWith(".")) return;
    unsettled.get(name)?.cancel();
    const timer = clock.after(settleMs, () => {
      unsettled.delete(name);
      settled.add(join(directory, name));
      void takeAll();
    });
    unsettled.set(name, timer);
  };
  const watcher = watch(directory, (_, name) => see(name));
  watcher.on("error", (error) =>
    logger.warn({ directory, error: error.message }, "New images are not noticed any more"),
  );
  const end = () => {
    watcher.close();
    for (const timer of unsettled.values()) timer.cancel();
  };
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
}
