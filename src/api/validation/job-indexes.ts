/** Lists of a job's indexes: "0-3,5". */

const quote = (text: string) => JSON.stringify(text);

/** One part, "5" or "0-3"; a text says what is wrong with it. */
function parseInterval(text: string, completions: number): readonly [first: number, last: number] | string {
  const ends = text.split("-");
  if (ends.length > 2) {
    return `the fragment ${quote(text)} violates the requirement that an index interval can have at most two parts separated by '-'`;
  }
  const numbers: number[] = [];
  for (const end of ends) {
    if (!/^[+-]?\d+$/.test(end)) return `cannot convert string to integer for index: ${quote(end)}`;
    if (Number(end) >= completions) return `too large index: ${quote(end)}`;
    numbers.push(Number(end));
  }
  const [first, last] = numbers as [number, number?];
  if (last === undefined) return [first, first];
  return first >= last ? `non-increasing order, previous: ${first}, current: ${last}` : [first, last];
}

/** How many indexes a list names, or what is wrong with it. */
export function countIndexes(list: string, completions: number): number | string {
  let total = 0;
  let before: number | undefined;
  for (const part of list === "" ? [] : list.split(",")) {
    const interval = parseInterval(part, completions);
    if (typeof interval === "string") return interval;
    const [first, last] = interval;
    if (before !== undefined && before >= first) return `non-increasing order, previous: ${before}, current: ${first}`;
    total += last - first + 1;
    before = last;
  }
  return total;
}

/** The first index that stands in both lists; what is not an interval is passed over. */
export function commonIndex(a: string, b: string, completions: number): number | undefined {
  const intervals = (list: string) =>
    list
      .split(",")
      .map((part) => parseInterval(part, completions))
      .filter((interval) => typeof interval !== "string");
  for (const [first, last] of intervals(a)) {
    for (const [start, end] of intervals(b)) if (first <= end && start <= last) return Math.max(first, start);
  }
  return undefined;
}
