/**
 * The user has to change something before a start can succeed; the message names the thing and the remedy. The process
 * ends with {@link configurationExitCode}, upon which the container ends too instead of starting the program again.
 */
export class ConfigurationError extends Error {
  override readonly name: string = "ConfigurationError";
}

/** sysexits.h EX_CONFIG. */
export const configurationExitCode = 78;
