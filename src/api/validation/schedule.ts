/** Schedules of cron jobs: five fields, or a short name. What is wrong with one is said in the words of Go's parser. */

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const fields: readonly Bounds[] = [
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12, names: months },
  { min: 0, max: 6, names: days },
];

const descriptors = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
const goDuration = /^[+-]?(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))*$/;

/** What is wrong with a schedule; undefined when it is in order. */
export function scheduleProblem(schedule: string): string | undefined {
  const zoned = /^(?:CRON_)?TZ=(\S*) +/.exec(schedule);
  const text = zoned ? schedule.slice(zoned[0].length).trim() : schedule;
  if (text.startsWith("@")) return descriptorProblem(text);
  const parts = text.trim() === "" ? [] : text.trim().split(/\s+/);
  if (parts.length !== fields.length) {
    return `expected exactly ${fields.length} fields, found ${parts.length}: [${parts.join(" ")}]`;
  }
  for (const [index, part] of parts.entries()) {
    for (const range of part.split(",").filter((one) => one !== "")) {
      const problem = rangeProblem(range, fields[index]!);
      if (problem) return problem;
    }
  }
  return undefined;
}

function descriptorProblem(text: string): string | undefined {
  if (descriptors.includes(text)) return undefined;
  if (!text.startsWith("@every ")) return `unrecognized descriptor: ${text}`;
  const duration = text.slice("@every ".length);
  if (goDuration.test(duration) || /^[+-]?0$/.test(duration)) return undefined;
  return `failed to parse duration ${text}: time: invalid duration ${JSON.stringify(duration)}`;
}

/** "*", "5", "1-4", each with "/2" behind it or not. */
function rangeProblem(text: string, { min, max, names }: Bounds): string | undefined {
  const [range = "", stepText, ...more] = text.split("/");
  const ends = range.split("-");
  const star = ends[0] === "*" || ends[0] === "?";
  const numbers: number[] = [];
  for (const end of star ? [] : ends.slice(0, 2)) {
    const number = parseNumber(end, { min, ...(names && { names }) });
    if (typeof number === "string") return number;
    numbers.push(number);
  }
  if (!star && ends.length > 2) return `too many hyphens: ${text}`;
  const first = star ? min : numbers[0]!;
  let last = star ? max : (numbers[1] ?? first);
  let step = 1;
  if (stepText !== undefined && more.length === 0) {
    const number = parseNumber(stepText, { min });
    if (typeof number === "string") return number;
    step = number;
    if (ends.length === 1) last = max;
  }
  if (more.length > 0) return `too many slashes: ${text}`;
  if (first < min) return `beginning of range (${first}) below minimum (${min}): ${text}`;
  if (last > max) return `end of range (${last}) above maximum (${max}): ${text}`;
  if (first > last) return `beginning of range (${first}) beyond end of range (${last}): ${text}`;
  return step === 0 ? `step of range should be a positive number: ${text}` : undefined;
}

function parseNumber(text: string, { min, names }: { min: number; names?: readonly string[] }): number | string {
  const named = names?.indexOf(text.toLowerCase()) ?? -1;
  if (named >= 0) return named + min;
  if (!/^[+-]?\d+$/.test(text)) {
    return `failed to parse int from ${text}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`;
  }
  const number = Number(text);
  return number < 0 ? `negative number (${number}) not allowed: ${text}` : number;
}
