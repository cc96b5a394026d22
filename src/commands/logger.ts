import { mkdirSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import pino from "pino";
import { formatTime } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";

/** Names that pino gives its levels' numbers, as logrus writes them. */
const levelNames: Readonly<Record<number, string>> = {
  20: "debug",
  30: "info",
  40: "warning",
  50: "error",
  60: "fatal",
};

/** Quotes a value as logrus does: bare when it is plain, in double quotes otherwise. */
function formatValue(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /^[\w./@^+:-]+$/.test(text) ? text : JSON.stringify(text);
}

/** One of pino's JSON lines as a line of logrus' text format, which tools around K3s parse. */
export function formatLine(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as { level: number; time: number; msg: string } & Record<
    string,
    unknown
  >;
  const parts = [`time="${formatTime(time)}"`, `level=${levelNames[level] ?? level}`, `msg=${JSON.stringify(msg)}`];
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const shown =
      key === "err" && typeof value === "object" && value !== null ? (value as { message?: string }).message : value;
    parts.push(`${key}=${formatValue(shown)}`);
  }
  return `${parts.join(" ")}\n`;
}

/**
 * The program's logger: logrus' text format on stderr, as K3s writes it.
 * @param options.file write there instead, or as well when `alsoStderr`
 */
export function createLogger(options: { debug?: boolean; file?: string; alsoStderr?: boolean }): Logger {
  const outputs: { write(text: string): void }[] = [];
  if (options.file) {
    mkdirSync(dirname(options.file), { recursive: true });
    const descriptor = openSync(options.file, "a", 0o600);
    // At once: the last line, which says why the process ends, must not wait in a buffer.
    outputs.push({ write: (text) => void writeSync(descriptor, text) });
  }
  if (!options.file || options.alsoStderr) outputs.push(process.stderr);
  const stream = {
    write(line: string) {
      const text = formatLine(line);
      for (const output of outputs) output.write(text);
    },
  };
  return pino({ level: options.debug ? "debug" : "info", base: null }, stream) as unknown as Logger;
}
