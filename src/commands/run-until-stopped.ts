import { ConfigurationError, configurationExitCode } from "../machinery/configuration-error.ts";
import type { Logger } from "../machinery/log.ts";

/** Something that runs until it is stopped. */
export interface Running {
  /** Settles when everything has ended. */
  stop(): Promise<void>;
  /** Settles only when it ends by itself, with the reason. */
  readonly failed?: Promise<Error>;
}

/**
 * Starts something, then waits for SIGTERM or SIGINT and stops it in order; a second signal ends the process at once.
 * @returns 0 after an ordered stop, 78 when the user has to change something, 1 for any other failure
 */
export async function runUntilStopped(
  logger: Logger,
  start: (signal: AbortSignal) => Promise<Running>,
): Promise<number> {
  const abort = new AbortController();
  let signals = 0;
  const stopAsked = new Promise<void>((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) {
      process.on(name, () => {
        signals += 1;
        if (signals > 1) process.exit(1);
        logger.info({ signal: name }, "Shutting down");
        abort.abort(new Error(`stopped by ${name}`));
        resolve();
      });
    }
  });
  // Whatever failed without anyone waiting for it: said, and the rest goes on (design, decision 10).
  process.on("unhandledRejection", (error) => logger.error({ err: error }, "Unhandled rejection"));
  let running: Running;
  try {
    running = await start(abort.signal);
  } catch (error) {
    if (abort.signal.aborted) return 0;
    const fatal = error as Error;
    logger.fatal(fatal.message);
    if (fatal instanceof ConfigurationError) return configurationExitCode;
    if (fatal.stack) logger.debug(fatal.stack);
    return 1;
  }
  const failure = await Promise.race([stopAsked.then(() => undefined), ...(running.failed ? [running.failed] : [])]);
  if (failure) logger.fatal(failure.message);
  abort.abort(failure ?? new Error("stopped"));
  await running.stop();
  if (!failure) return 0;
  return failure instanceof ConfigurationError ? configurationExitCode : 1;
}
