/** The fields of a cron expression as sets, as robfig/cron (Kubernetes' parser) reads them. */
export interface CronSchedule {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** A day matches by either field when both are restricted, by both when one is "*". */
  readonly eitherDay: boolean;
  /** "@every 1h30m": a fixed distance instead of fields. */
  readonly everyMs?: number;
}

const monthNames = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const weekdayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const macros: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};
const unitsMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000 };

/** Parses five fields or a macro. Throws an Error that names the part that is wrong. */
export function parseCron(text: string): CronSchedule {
  const trimmed = text.trim();
  if (trimmed.startsWith("@every ")) return every(trimmed.slice(7));
  const fields = (macros[trimmed.toLowerCase()] ?? trimmed).split(/\s+/);
  if (fields.length !== 5) throw new Error(`schedule ${JSON.stringify(text)} has ${fields.length} fields, not 5`);
  const [minutes, hours, days, months, weekdays] = fields as [string, string, string, string, string];
  const isAny = (field: string) => /^[*?]/.test(field);
  const week = parseField(weekdays, 0, 7, weekdayNames, 0);
  if (week.delete(7)) week.add(0);
  return {
    minutes: parseField(minutes, 0, 59),
    hours: parseField(hours, 0, 23),
    days: parseField(days, 1, 31),
    months: parseField(months, 1, 12, monthNames, 1),
    weekdays: week,
    eitherDay: !isAny(days) && !isAny(weekdays),
  };
}

function every(text: string): CronSchedule {
  if (!/^(\d+[hms])+$/.test(text)) throw new Error(`duration ${JSON.stringify(text)} is not like "1h30m"`);
  let everyMs = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([hms])/g)) everyMs += Number(count) * unitsMs[unit!]!;
  const none = new Set<number>();
  const fields = { minutes: none, hours: none, days: none, months: none, weekdays: none, eitherDay: false };
  return { ...fields, everyMs: Math.max(1000, everyMs) };
}

function parseField(
  field: string,
  min: number,
  max: number,
  names: readonly string[] = [],
  firstName = 0,
): Set<number> {
  const values = new Set<number>();
  const number = (text: string): number => {
    const named = names.indexOf(text.toLowerCase());
    const value = named >= 0 ? named + firstName : /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new Error(`${JSON.stringify(text)} is not between ${min} and ${max}`);
    return value;
  };
  for (const part of field.split(",")) {
    const [range = "", stepText] = part.split("/");
    const step = stepText === undefined ? 1 : Number(stepText);
    if (!Number.isInteger(step) || step < 1)
      throw new Error(`step of ${JSON.stringify(part)} is not a positive number`);
    const [low = "", high] = range.split("-");
    const any = range === "*" || range === "?";
    const from = any ? min : number(low);
    // "5/15" runs to the end, as "*" does; the weekday 7 is only another name of 0.
    const end = names === weekdayNames ? 6 : max;
    const to = any ? end : high !== undefined ? number(high) : stepText === undefined ? from : end;
    if (to < from) throw new Error(`range ${JSON.stringify(range)} runs backwards`);
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return values;
}

interface LocalTime {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
}

/** Wall-clock parts of a moment in a zone ("Europe/Vienna"); UTC without one. Throws RangeError for unknown zones. */
function localParts(formatter: Intl.DateTimeFormat, ms: number): LocalTime {
  const parts = Object.fromEntries(formatter.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0 } = parts;
  return { year, month, day, hour: hour % 24, minute };
}

/** Is it a time zone that this machine knows? */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** A moment as RFC 3339 writes it in a zone: "2026-07-01T08:00:00+02:00", with "Z" where it is UTC. */
export function localTimeText(ms: number, timeZone = "UTC"): string {
  const wholeMs = Math.floor(ms / 1000) * 1000;
  const { year, month, day, hour, minute } = localParts(formatterOf(timeZone), wholeMs);
  const secondMs = wholeMs % 60_000;
  const localMs = Date.UTC(year, month - 1, day, hour, minute) + secondMs;
  const offset = Math.round((localMs - wholeMs) / 60_000);
  const local = new Date(localMs).toISOString().slice(0, 19);
  if (offset === 0) return `${local}Z`;
  const pad = (number: number) => String(number).padStart(2, "0");
  const size = Math.abs(offset);
  return `${local}${offset < 0 ? "-" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
}

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
  });
}

/** How far ahead a time is looked for: "0 0 29 2 1" comes rarely, "0 0 30 2 *" never. */
const horizonMs = 5 * 366 * 86_400_000;

/** The first scheduled time after `afterMs`, in milliseconds since the epoch; undefined when there is none. */
export function nextTime(schedule: CronSchedule, afterMs: number, timeZone = "UTC"): number | undefined {
  if (schedule.everyMs) return Math.floor(afterMs / 1000) * 1000 + schedule.everyMs;
  const formatter = formatterOf(timeZone);
  const minuteMs = 60_000;
  let ms = (Math.floor(afterMs / minuteMs) + 1) * minuteMs;
  while (ms - afterMs < horizonMs) {
    const local = localParts(formatter, ms);
    if (!schedule.months.has(local.month) || !dayMatches(schedule, local)) {
      // To the next local midnight, an hour short, so that a change of clocks is not jumped over.
      const toMidnight = (24 * 60 - local.hour * 60 - local.minute) * minuteMs;
      ms += toMidnight > 2 * 3_600_000 ? toMidnight - 3_600_000 : toNextQuarter(local.minute) * minuteMs;
    } else if (!schedule.hours.has(local.hour)) {
      ms += toNextQuarter(local.minute) * minuteMs;
    } else if (!schedule.minutes.has(local.minute)) {
      ms += minuteMs;
    } else return ms;
  }
  return undefined;
}

/** Zones and their changes lie on quarters of an hour. */
function toNextQuarter(minute: number): number {
  return 15 - (minute % 15);
}

function dayMatches({ days, weekdays, eitherDay }: CronSchedule, { year, month, day }: LocalTime): boolean {
  const weekday = new Date(Date.UTC(year, month - 1, day)).getUTCDay();
  const [byDay, byWeekday] = [days.has(day), weekdays.has(weekday)];
  return eitherDay ? byDay || byWeekday : byDay && byWeekday;
}
