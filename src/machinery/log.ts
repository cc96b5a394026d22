/** Writes one structured line: constant text, and what varies as fields. */
export interface LogMethod {
  (message: string): void;
  (fields: object, message: string): void;
}

/** The logger that every room takes (pino's shape; made in `commands/logger.ts`). */
export interface Logger {
  debug: LogMethod;
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
  fatal: LogMethod;
  child(bindings: Record<string, unknown>): Logger;
}

const ignore: LogMethod = () => {};

/** Says nothing; for tests and tools. */
export const silentLogger: Logger = {
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  fatal: ignore,
  child: () => silentLogger,
};
