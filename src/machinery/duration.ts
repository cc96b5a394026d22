/** Go's durations: "1h30m", "500ms". Milliseconds inside. */

const unitNs: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1000,
  µs: 1000, // U+00B5, the micro sign
  μs: 1000, // U+03BC, the Greek letter
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

const maxLength = 200;

/** Milliseconds of a Go duration. Throws Error with Go's text. */
export function parseDuration(text: string): number {
  // No duration is that long, and endless digits would take the expressions quadratic time.
  if (text.length > maxLength) throw new Error("time: invalid duration: the text is too long");
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)(?:.*))$/s.exec(text);
  if (text === "0" || text === "+0" || text === "-0") return 0;
  const invalid = (why = "invalid duration") => new Error(`time: ${why} ${JSON.stringify(text)}`);
  if (!match) {
    if (/^[+-]?(\d+\.?\d*|\.\d+)$/.test(text)) throw invalid("missing unit in duration");
    const unknown = /^[+-]?(?:\d+\.?\d*|\.\d+)([^\d.]+)/.exec(text);
    throw unknown ? invalid(`unknown unit ${JSON.stringify(unknown[1])} in duration`) : invalid();
  }
  let totalNs = 0;
  let rest = match[2]!;
  while (rest !== "") {
    const part = /^(\d+(?:\.\d*)?|\.\d+)([^\d.]*)/.exec(rest);
    if (!part) throw invalid();
    if (part[2] === "") throw invalid("missing unit in duration");
    const factor = Object.hasOwn(unitNs, part[2]!) ? unitNs[part[2]!] : undefined;
    if (factor === undefined) throw invalid(`unknown unit ${JSON.stringify(part[2])} in duration`);
    totalNs += Number(part[1]) * factor;
    rest = rest.slice(part[0].length);
  }
  return (match[1] === "-" ? -totalNs : totalNs) / 1e6;
}

/** As Go prints it: "1h30m0s", "1.5s", "500ms", "0s". */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  const sign = ms < 0 ? "-" : "";
  const absolute = Math.abs(ms);
  // Up to nine digits behind the point, without trailing zeros.
  const decimal = (value: number) => String(Number(value.toFixed(9)));
  if (absolute < 1e-3) return `${sign}${Math.round(absolute * 1e6)}ns`;
  if (absolute < 1) return `${sign}${decimal(absolute * 1e3)}µs`;
  if (absolute < 1000) return `${sign}${decimal(absolute)}ms`;
  const hours = Math.floor(absolute / 3_600_000);
  const minutes = Math.floor((absolute % 3_600_000) / 60_000);
  const seconds = `${decimal((absolute % 60_000) / 1000)}s`;
  if (hours > 0) return `${sign}${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${sign}${minutes}m${seconds}` : `${sign}${seconds}`;
}

/** Ages as kubectl shows them (duration.HumanDuration): "5s", "3m20s", "4h", "2d3h", "1y20d". */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  const pair = (high: number, highUnit: string, low: number, lowUnit: string) =>
    low === 0 ? `${high}${highUnit}` : `${high}${highUnit}${low}${lowUnit}`;
  if (minutes < 10) return pair(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return pair(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (hours < 192) return pair(days, "d", hours % 24, "h");
  if (days < 365 * 2) return `${days}d`;
  const years = Math.floor(days / 365);
  return days < 365 * 8 ? pair(years, "y", days % 365, "d") : `${years}y`;
}
