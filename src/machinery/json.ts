/**
 * The only place that parses or prints JSON. Integers that a double cannot hold become BigInt (int64's maximum must
 * come back as it was), keys such as `__proto__` are data, and hostile input ends in an error instead of a stack overflow.
 */
import { isUtf8 } from "node:buffer";

/** Deeper nesting than this is refused: everything that walks a value recurses once or twice a level. */
export const maxJsonDepth = 1000;

/** The text is not JSON, not UTF-8, or nested too deep. */
export class JsonError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "JsonError";
  }
}

/** The text is nested deeper than {@link maxJsonDepth}. */
export class JsonDepthError extends JsonError {
  constructor() {
    super(`invalid JSON: nested deeper than ${maxJsonDepth} levels`);
  }
}

export interface ParseOptions {
  /** Called for each key that an object repeats, with its path: "spec.containers[0].image". The last one wins. */
  readonly onDuplicate?: (path: string) => void;
}

// Proposal-parse-with-source is in Node 24 but not in the compiler's library.
declare global {
  interface JSON {
    rawJSON(text: string): unknown;
  }
}

const quote = 0x22;
const backslash = 0x5c;

/** The index after the closing quote of the string that opens at `start`; the text's length when it never closes. */
function skipString(text: string, start: number): number {
  let end = start;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) return text.length;
    let slashes = 0;
    for (let i = end - 1; i > start && text.charCodeAt(i) === backslash; i--) slashes++;
    if (slashes % 2 === 0) return end + 1;
  }
}

/** One look over the text outside strings: is it too deep, has it numbers of 16 or more digits? */
function survey(text: string): { tooDeep: boolean; longNumbers: boolean } {
  let depth = 0;
  let digits = 0;
  let longNumbers = false;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === backslash) i++;
      else if (code === quote) inString = false;
    } else if (code >= 0x30 && code <= 0x39) {
      if (++digits > 15) longNumbers = true;
    } else {
      digits = 0;
      if (code === quote) inString = true;
      else if (code === 0x7b || code === 0x5b) {
        if (++depth > maxJsonDepth) return { tooDeep: true, longNumbers };
      } else if (code === 0x7d || code === 0x5d) depth--;
    }
  }
  return { tooDeep: false, longNumbers };
}

const minInt64 = -(2n ** 63n);
const maxUint64 = 2n ** 64n - 1n;

/** Exact where a 64-bit integer is exact; what is larger stays a double, as Go's untyped decoding has it. */
function exactNumber(_key: string, value: unknown, context: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  const { source } = context;
  if (source === undefined || !/^-?\d+$/.test(source)) return value;
  const exact = BigInt(source);
  return exact >= minInt64 && exact <= maxUint64 ? exact : value;
}

/** Calls `visit` with the path of each key of a valid JSON document, in its order, and whether its object had it before. */
export function visitKeys(text: string, visit: (path: string, isRepeated: boolean) => void): void {
  let at = 0;
  const space = () => {
    while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  };
  const value = (path: string): void => {
    space();
    const open = text[at];
    if (open === '"') {
      at = skipString(text, at);
    } else if (open === "{") {
      const seen = new Set<string>();
      at++;
      for (space(); text[at] !== "}"; space()) {
        if (text[at] === ",") {
          at++;
          space();
        }
        const start = at;
        at = skipString(text, at);
        const key = JSON.parse(text.slice(start, at)) as string;
        const keyPath = path === "" ? key : `${path}.${key}`;
        visit(keyPath, seen.has(key));
        seen.add(key);
        space();
        at++; // the colon
        value(keyPath);
      }
      at++;
    } else if (open === "[") {
      at++;
      let index = 0;
      for (space(); text[at] !== "]"; space()) {
        if (text[at] === ",") at++;
        value(`${path}[${index++}]`);
      }
      at++;
    } else {
      while (at < text.length && !",]} \n\r\t".includes(text[at]!)) at++;
    }
  };
  value("");
}

/** An escape of half a character; whether its other half follows is looked at afterwards. */
const loneSurrogate = /\\u[dD][89a-fA-F]/;

/** Half characters become U+FFFD, as Go reads them: UTF-8 has no bytes for them, so what is stored would not be what was read. */
function wellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(wellFormed);
  const copy: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) setKey(copy, key.toWellFormed(), wellFormed(inner));
  return copy;
}

/**
 * Parses JSON. Throws {@link JsonError} for invalid UTF-8, invalid JSON and nesting beyond {@link maxJsonDepth}.
 * Integers beyond 2^53 that fit 64 bits come as BigInt, texts as well-formed Unicode.
 */
export function parseJson(text: string | Uint8Array, options: ParseOptions = {}): unknown {
  if (typeof text !== "string") {
    if (!isUtf8(text)) throw new JsonError("invalid JSON: the text is not valid UTF-8");
    text = Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString("utf8");
  }
  const { tooDeep, longNumbers } = survey(text);
  if (tooDeep) throw new JsonDepthError();
  let value: unknown;
  try {
    value = longNumbers ? JSON.parse(text, exactNumber as (key: string, value: unknown) => unknown) : JSON.parse(text);
  } catch (error) {
    throw new JsonError(`invalid JSON: ${(error as Error).message}`);
  }
  if (loneSurrogate.test(text)) value = wellFormed(value);
  const { onDuplicate } = options;
  if (onDuplicate) visitKeys(text, (path, isRepeated) => isRepeated && onDuplicate(path));
  return value;
}

/**
 * Prints JSON, without spaces unless `indent` says how many; BigInts as plain integers. `undefined` prints as null. Throws
 * TypeError for cycles.
 */
export function stringifyJson(value: unknown, indent?: number): string {
  try {
    return JSON.stringify(value, undefined, indent) ?? "null";
  } catch {
    // A BigInt somewhere: rare, so the common case does not pay for a replacer.
    const exact = (_key: string, item: unknown) => (typeof item === "bigint" ? JSON.rawJSON(String(item)) : item);
    return JSON.stringify(value, exact, indent);
  }
}

/**
 * Sets a key that may come from users. Plain assignment of `__proto__` would change the object's prototype instead of
 * adding a key.
 */
export function setKey(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === "__proto__") {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  } else object[key] = value;
}

/** Reads an own key; inherited ones such as `constructor` are not data. */
export function getKey(object: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** A JSON object: not null, not an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A deep copy of JSON data; faster than structuredClone, and takes BigInts. */
export function cloneJson<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(cloneJson) as T;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) setKey(copy, key, cloneJson((value as Record<string, unknown>)[key]));
  return copy as T;
}
