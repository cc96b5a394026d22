/** RFC 3339 texts as metav1.Time and metav1.MicroTime read and print them. Pure: nothing here reads a clock. */
import { badRequest } from "./status.ts";

const pattern = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)$/;

/** Whole seconds in UTC ("2026-01-02T03:04:05") and the digits of the fraction. Undefined when it is no RFC 3339 time. */
function split(text: string): { seconds: string; fraction: string } | undefined {
  const match = pattern.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second, fraction = "", zone] = match;
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}${zone}`);
  if (Number.isNaN(ms) || Number(hour) > 23) return undefined;
  // Date.parse takes the 31st of every month and rolls over; Go does not.
  if (Number(day) > new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()) return undefined;
  return { seconds: new Date(ms).toISOString().slice(0, 19), fraction };
}

function unreadable(text: string, layout: string): never {
  throw badRequest(`parsing time ${JSON.stringify(text)} as ${JSON.stringify(layout)}: cannot parse it`);
}

/** metav1.Time: UTC, whole seconds. Throws a 400 StatusError. */
export function canonicalTime(text: string): string {
  const time = split(text) ?? unreadable(text, "2006-01-02T15:04:05Z07:00");
  return `${time.seconds}Z`;
}

/** metav1.MicroTime: UTC, six digits. Throws a 400 StatusError. */
export function canonicalMicroTime(text: string): string {
  const time = split(text) ?? unreadable(text, "2006-01-02T15:04:05.000000Z07:00");
  return `${time.seconds}.${time.fraction.padEnd(6, "0").slice(0, 6)}Z`;
}

/** Milliseconds since the epoch; undefined when it is no RFC 3339 time. */
export function parseTime(text: string | undefined): number | undefined {
  if (text === undefined || !split(text)) return undefined;
  return Date.parse(text.replace(",", "."));
}
