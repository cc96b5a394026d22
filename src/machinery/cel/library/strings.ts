/** cel-go's strings extension, version 2, as Kubernetes has it. Positions count code points. */
import { global, type Library, member, pricedByResult } from "../functions.ts";
import { costs } from "../sizes.ts";
import { dyn, int, listOf, string } from "../types.ts";
import { CelError, type CelInt, type CelValue, sizeOf, stringSize } from "../values.ts";
import { formatText } from "./format-text.ts";
import { traversalCost } from "./lists.ts";

/** Texts without surrogates need no splitting into code points. */
const isFlat = (text: string) => stringSize(text) === text.length;

function at(position: CelInt, size: number): number {
  const index = Number(position);
  if (index < 0 || index > size) throw new CelError(`index out of range: ${index}`);
  return index;
}

function charAt(text: string, position: CelInt): string {
  if (isFlat(text)) return text.charAt(at(position, text.length));
  const points = [...text];
  return points[at(position, points.length)] ?? "";
}

function substring(text: string, from: CelInt, to?: CelInt): string {
  const points = isFlat(text) ? text : [...text];
  const start = at(from, points.length);
  const end = to === undefined ? points.length : at(to, points.length);
  if (start > end) throw new CelError(`invalid substring range. start: ${start}, end: ${end}`);
  return typeof points === "string" ? points.slice(start, end) : points.slice(start, end).join("");
}

/** Where code point `index` begins, in UTF-16 units. */
function unitsBefore(text: string, index: number): number {
  return isFlat(text) ? index : [...text].slice(0, index).join("").length;
}

function indexOf(text: string, part: string, from: CelInt = 0): number {
  if (part === "") return at(from, stringSize(text));
  const found = text.indexOf(part, unitsBefore(text, at(from, stringSize(text))));
  return found < 0 ? -1 : stringSize(text.slice(0, found));
}

function lastIndexOf(text: string, part: string, from?: CelInt): number {
  const size = stringSize(text);
  if (part === "") return from === undefined ? size : at(from, size);
  const found = text.lastIndexOf(part, from === undefined ? text.length : unitsBefore(text, at(from, size)));
  return found < 0 ? -1 : stringSize(text.slice(0, found));
}

const maxReplaced = 100_000_000;

/** Go's strings.Replace: an empty part stands between code points. */
function replace(text: string, part: string, by: string, limit: CelInt = -1): string {
  // No cost counts what is put in.
  if ((text.length / Math.max(1, part.length) + 1) * by.length > maxReplaced)
    throw new CelError("replace() makes too long a text");
  let rest = limit < 0 ? Number.POSITIVE_INFINITY : Number(limit);
  if (part !== "") {
    let result = "";
    let last = 0;
    for (let found = text.indexOf(part); found >= 0 && rest > 0; found = text.indexOf(part, last), rest--) {
      result += text.slice(last, found) + by;
      last = found + part.length;
    }
    return result + text.slice(last);
  }
  let result = rest-- > 0 ? by : "";
  for (const point of text) result += point + (rest-- > 0 ? by : "");
  return result;
}

/** Go's strings.SplitN. */
function split(text: string, separator: string, limit: CelInt = -1): string[] {
  const parts = separator === "" ? [...text] : text.split(separator);
  const most = Number(limit);
  if (most < 0 || parts.length <= most) return parts;
  return most === 0 ? [] : [...parts.slice(0, most - 1), parts.slice(most - 1).join(separator)];
}

// Only ASCII letters change.
const lower = (text: string) => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
const upper = (text: string) => text.replace(/[a-z]+/g, (letters) => letters.toUpperCase());

/** White space as Go's unicode.IsSpace has it. */
const spaces = "\\t\\n\\v\\f\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const leading = new RegExp(`^[${spaces}]+`);
const isSpace = new RegExp(`[${spaces}]`);

function trim(text: string): string {
  let end = text.length;
  // From behind, since an expression for the end takes quadratic time on many inner spaces.
  while (end > 0 && isSpace.test(text[end - 1]!)) end--;
  return text.slice(0, end).replace(leading, "");
}

function join(list: readonly CelValue[], separator = ""): string {
  if (!list.every((item) => typeof item === "string")) throw new CelError("no such overload");
  return list.join(separator);
}

const escapes: Readonly<Record<string, string>> = {
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};

function quote(text: string): string {
  let result = '"';
  for (const point of text) {
    const isLone = point.length === 1 && point >= "\ud800" && point <= "\udfff";
    result += escapes[point] ?? (isLone ? "\ufffd" : point);
  }
  return `${result}"`;
}

const walk = ([text]: readonly CelValue[]) => Math.ceil(sizeOf(text!) * costs.stringTraversal);
const walkTwice = ([text]: readonly CelValue[]) => Math.ceil(sizeOf(text!) * 2 * costs.stringTraversal);
const walkResult = (result: CelValue) => Math.ceil(sizeOf(result) * 2 * costs.stringTraversal);
const walkDeep = ([value]: readonly CelValue[]) => traversalCost(value!);

export const strings: Library = [
  ["charAt", member("string_char_at_int", [string, int], string, charAt)],
  [
    "indexOf",
    member("string_index_of_string", [string, string], int, indexOf, walkDeep),
    member("string_index_of_string_int", [string, string, int], int, indexOf, walkDeep),
  ],
  [
    "lastIndexOf",
    member("string_last_index_of_string", [string, string], int, lastIndexOf, walkDeep),
    member("string_last_index_of_string_int", [string, string, int], int, lastIndexOf, walkDeep),
  ],
  [
    "join",
    pricedByResult(member("list_join", [listOf(string)], string, join), walkResult),
    pricedByResult(member("list_join_string", [listOf(string), string], string, join), walkResult),
  ],
  ["lowerAscii", member("string_lower_ascii", [string], string, lower, walk)],
  ["upperAscii", member("string_upper_ascii", [string], string, upper, walk)],
  ["trim", member("string_trim", [string], string, trim, walk)],
  [
    "replace",
    member("string_replace_string_string", [string, string, string], string, replace, walkTwice),
    member("string_replace_string_string_int", [string, string, string, int], string, replace, walkTwice),
  ],
  [
    "split",
    member("string_split_string", [string, string], listOf(string), split, walkTwice),
    member("string_split_string_int", [string, string, int], listOf(string), split, walkTwice),
  ],
  [
    "substring",
    member("string_substring_int", [string, int], string, substring, walk),
    member("string_substring_int_int", [string, int, int], string, substring, walk),
  ],
  ["strings.quote", global("strings_quote", [string], string, quote, walk)],
  ["format", member("string_format", [string, listOf(dyn)], string, formatText, walk)],
];
