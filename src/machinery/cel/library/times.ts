/** Timestamps and durations. Source: the CEL language definition; texts as Go reads and writes them. */
import { global, type Library, member, type Overload } from "../functions.ts";
import { duration, int, string, timestamp } from "../types.ts";
import { CelError, type CelInt, canonicalInt, Duration, Timestamp } from "../values.ts";
import { noConversion } from "./numbers.ts";

const nsPerSecond = 1_000_000_000n;
const nsPerMs = 1_000_000n;
const minTimestamp = -62_135_596_800n * nsPerSecond;
const maxTimestamp = 253_402_300_800n * nsPerSecond - 1n;
const maxDuration = 2n ** 63n - 1n;

function checkedTimestamp(ns: bigint): Timestamp {
  if (ns < minTimestamp || ns > maxTimestamp) throw new CelError("timestamp overflow");
  return new Timestamp(ns);
}

function checkedDuration(ns: bigint): Duration {
  if (ns > maxDuration || ns < -maxDuration - 1n) throw new CelError("duration overflow");
  return new Duration(ns);
}

const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** A timestamp from RFC 3339. Throws CelError. */
export function parseTimestamp(text: string): Timestamp {
  const match = rfc3339.exec(text);
  const wrong = () => noConversion("google.protobuf.Timestamp");
  if (!match) throw wrong();
  const [, year, month, day, hour, minute, second, fraction = "", sign, offsetHours = "0", offsetMinutes = "0"] = match;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  if (date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day)) throw wrong();
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) throw wrong();
  date.setUTCHours(Number(hour), Number(minute), Number(second));
  const offset = (Number(offsetHours) * 3600 + Number(offsetMinutes) * 60) * (sign === "-" ? -1 : 1);
  const ns = BigInt(fraction.slice(0, 9).padEnd(9, "0"));
  return checkedTimestamp((BigInt(date.getTime() / 1000) - BigInt(offset)) * nsPerSecond + ns);
}

const unitNs: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1000n,
  µs: 1000n,
  μs: 1000n,
  ms: nsPerMs,
  s: nsPerSecond,
  m: 60n * nsPerSecond,
  h: 3600n * nsPerSecond,
};
const maxDurationText = 200;

/** A duration from Go's notation, to the nanosecond. Throws CelError. */
export function parseExactDuration(text: string): Duration {
  const wrong = () => noConversion("google.protobuf.Duration");
  if (text.length > maxDurationText) throw wrong();
  const unsigned = text.replace(/^[+-]/, "");
  if (unsigned === "0") return new Duration(0n);
  const part = /(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/y;
  let total = 0n;
  let at = 0;
  while (at < unsigned.length) {
    part.lastIndex = at;
    const match = part.exec(unsigned);
    if (!match || (match[1] === "" && !match[2])) throw wrong();
    const unit = unitNs[match[3]!]!;
    const fraction = match[2] ?? "";
    total += BigInt(match[1] || "0") * unit + (BigInt(fraction || "0") * unit) / 10n ** BigInt(fraction.length);
    at = part.lastIndex;
  }
  if (at === 0) throw wrong();
  const ns = text.startsWith("-") ? -total : total;
  if (ns > maxDuration || ns < -maxDuration - 1n) throw wrong();
  return new Duration(ns);
}

/** The digits behind the point, without trailing zeros. */
const fractionText = (ns: bigint) => (ns === 0n ? "" : `.${String(ns).padStart(9, "0").replace(/0+$/, "")}`);

const floorDivide = (a: bigint, b: bigint) => (a >= 0n ? a / b : -((-a + b - 1n) / b));

/** RFC 3339 in UTC, with as many digits as are needed. */
export function timestampText({ ns }: Timestamp): string {
  const seconds = floorDivide(ns, nsPerSecond);
  const text = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${text}${fractionText(ns - seconds * nsPerSecond)}Z`;
}

/** Seconds: "3600s", "1.5s". */
export function durationText({ ns }: Duration): string {
  const absolute = ns < 0n ? -ns : ns;
  return `${ns < 0n ? "-" : ""}${absolute / nsPerSecond}${fractionText(absolute % nsPerSecond)}s`;
}

interface Parts {
  readonly date: Date;
  readonly ns: bigint;
}

const zones = new Map<string, Intl.DateTimeFormat>();
const maxZones = 100;

/** The clock of a zone at a moment, as a date whose UTC fields are the zone's. */
function inZone({ ns }: Timestamp, zone: string | undefined): Parts {
  const ms = Number(floorDivide(ns, nsPerMs));
  const rest = ns - BigInt(ms) * nsPerMs;
  if (zone === undefined || zone === "" || zone === "UTC") return { date: new Date(ms), ns: rest };
  const fixed = /^([+-]?)(\d{2}):(\d{2})$/.exec(zone);
  if (fixed) {
    const minutes = (Number(fixed[2]) * 60 + Number(fixed[3])) * (fixed[1] === "-" ? -1 : 1);
    return { date: new Date(ms + minutes * 60_000), ns: rest };
  }
  let format = zones.get(zone);
  if (!format) {
    try {
      format = new Intl.DateTimeFormat("en-US", {
        timeZone: zone,
        hourCycle: "h23",
        year: "numeric",
        month: "numeric",
        day: "numeric",
        hour: "numeric",
        minute: "numeric",
        second: "numeric",
        era: "short",
      });
    } catch {
      throw new CelError(`unknown time zone ${zone}`);
    }
    if (zones.size >= maxZones) zones.clear();
    zones.set(zone, format);
  }
  const fields = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
  const date = new Date(0);
  date.setUTCFullYear(Number(fields["year"]), Number(fields["month"]) - 1, Number(fields["day"]));
  const msOfSecond = ((ms % 1000) + 1000) % 1000;
  date.setUTCHours(Number(fields["hour"]), Number(fields["minute"]), Number(fields["second"]), msOfSecond);
  return { date, ns: rest };
}

function dayOfYear(date: Date): number {
  const start = new Date(0);
  start.setUTCFullYear(date.getUTCFullYear(), 0, 1);
  const midnight = new Date(date);
  midnight.setUTCHours(0, 0, 0, 0);
  return Math.round((midnight.getTime() - start.getTime()) / 86_400_000);
}

/** A field of a timestamp, in UTC or in a zone. */
function field(name: string, id: string, zoned: string, read: (parts: Parts) => number): [string, Overload, Overload] {
  return [
    name,
    member(id, [timestamp], int, (at: Timestamp) => read(inZone(at, undefined))),
    member(zoned, [timestamp, string], int, (at: Timestamp, zone: string) => read(inZone(at, zone))),
  ];
}

const part = (name: string, id: string, perUnit: bigint, within?: bigint): [string, Overload] => [
  name,
  member(`duration_to_${id}`, [duration], int, ({ ns }: Duration) => {
    const units = ns / perUnit;
    return canonicalInt(within === undefined ? units : units % within);
  }),
];

export const times: Library = [
  [
    "_+_",
    global("add_duration_duration", [duration, duration], duration, (a: Duration, b: Duration) =>
      checkedDuration(a.ns + b.ns),
    ),
    global("add_duration_timestamp", [duration, timestamp], timestamp, (a: Duration, b: Timestamp) =>
      checkedTimestamp(a.ns + b.ns),
    ),
    global("add_timestamp_duration", [timestamp, duration], timestamp, (a: Timestamp, b: Duration) =>
      checkedTimestamp(a.ns + b.ns),
    ),
  ],
  [
    "_-_",
    global("subtract_duration_duration", [duration, duration], duration, (a: Duration, b: Duration) =>
      checkedDuration(a.ns - b.ns),
    ),
    global("subtract_timestamp_duration", [timestamp, duration], timestamp, (a: Timestamp, b: Duration) =>
      checkedTimestamp(a.ns - b.ns),
    ),
    global("subtract_timestamp_timestamp", [timestamp, timestamp], duration, (a: Timestamp, b: Timestamp) =>
      checkedDuration(a.ns - b.ns),
    ),
  ],
  ["-_", global("negate_duration", [duration], duration, (a: Duration) => checkedDuration(-a.ns))],
  [
    "timestamp",
    global("timestamp_to_timestamp", [timestamp], timestamp, (at: Timestamp) => at),
    global("int64_to_timestamp", [int], timestamp, (seconds: CelInt) =>
      checkedTimestamp(BigInt(seconds) * nsPerSecond),
    ),
    global("string_to_timestamp", [string], timestamp, parseTimestamp),
  ],
  [
    "duration",
    global("duration_to_duration", [duration], duration, (a: Duration) => a),
    global("int64_to_duration", [int], duration, (seconds: CelInt) => checkedDuration(BigInt(seconds))),
    global("string_to_duration", [string], duration, parseExactDuration),
  ],
  [
    "int",
    global("timestamp_to_int64", [timestamp], int, ({ ns }: Timestamp) => canonicalInt(floorDivide(ns, nsPerSecond))),
    global("duration_to_int64", [duration], int, ({ ns }: Duration) => canonicalInt(ns)),
  ],
  [
    "string",
    global("timestamp_to_string", [timestamp], string, timestampText),
    global("duration_to_string", [duration], string, durationText),
  ],
  field("getFullYear", "timestamp_to_year", "timestamp_to_year_with_tz", ({ date }) => date.getUTCFullYear()),
  field("getMonth", "timestamp_to_month", "timestamp_to_month_with_tz", ({ date }) => date.getUTCMonth()),
  field("getDayOfYear", "timestamp_to_day_of_year", "timestamp_to_day_of_year_with_tz", ({ date }) => dayOfYear(date)),
  field(
    "getDayOfMonth",
    "timestamp_to_day_of_month",
    "timestamp_to_day_of_month_with_tz",
    ({ date }) => date.getUTCDate() - 1,
  ),
  field("getDate", "timestamp_to_day_of_month_1_based", "timestamp_to_day_of_month_1_based_with_tz", ({ date }) =>
    date.getUTCDate(),
  ),
  field("getDayOfWeek", "timestamp_to_day_of_week", "timestamp_to_day_of_week_with_tz", ({ date }) => date.getUTCDay()),
  field("getHours", "timestamp_to_hours", "timestamp_to_hours_with_tz", ({ date }) => date.getUTCHours()),
  field("getMinutes", "timestamp_to_minutes", "timestamp_to_minutes_with_tz", ({ date }) => date.getUTCMinutes()),
  field("getSeconds", "timestamp_to_seconds", "timestamp_to_seconds_tz", ({ date }) => date.getUTCSeconds()),
  field("getMilliseconds", "timestamp_to_milliseconds", "timestamp_to_milliseconds_with_tz", ({ date }) =>
    date.getUTCMilliseconds(),
  ),
  part("getHours", "hours", 3600n * nsPerSecond),
  part("getMinutes", "minutes", 60n * nsPerSecond),
  part("getSeconds", "seconds", nsPerSecond),
  part("getMilliseconds", "milliseconds", nsPerMs, 1000n),
];
