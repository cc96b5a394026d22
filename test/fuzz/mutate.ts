/** Changes of valid values and bytes into such as a careless or hostile client might send. */
import { cloneJson, setKey } from "../../src/machinery/json.ts";
import type { Random } from "./random.ts";

type Json = Record<string, unknown>;

/** What stands badly in names, keys and values. */
const texts = [
  "",
  " ",
  "a",
  "-",
  ".",
  "..",
  "../../etc",
  "%2e%2e",
  "\0",
  "\u{1f4a9}",
  "\ud800",
  "é".repeat(40),
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "toString",
  "null",
  "0x10",
  "1e400",
  "-1",
  "9223372036854775807",
  "100m",
  "1.5Gi",
  "1e-30",
  "50%",
  "a/b",
  "a,b=c",
  "in (",
  "2026-01-02T03:04:05Z",
  "0001-01-01T00:00:00Z",
  "99999-01-01T00:00:00Z",
  "::1",
  "10.0.0.0/8",
  "AA==",
  "$(A)",
  "$patch",
  "{{.}}",
  "<script>",
  "a".repeat(64),
  "a".repeat(254),
  "a".repeat(5000),
] as const;

const numbers = [0, -1, 1, 0.5, 65536, 2 ** 31, -(2 ** 31) - 1, 2 ** 53, -(2 ** 63), 1e21, 1e308, 5e-324] as const;

const keys = ["__proto__", "constructor", "toString", "", "a.b", "a/b", "~0", "x", "metadata", "items", "é"] as const;

function nested(random: Random): unknown {
  let value: unknown = null;
  const isList = random.chance(0.5);
  for (let depth = random.pick([10, 90, 300, 1200]); depth > 0; depth--) value = isList ? [value] : { a: value };
  return value;
}

/** Any JSON value. */
export function anyValue(random: Random): unknown {
  return random.weighted<() => unknown>([
    [5, () => random.pick(texts)],
    [4, () => random.pick(numbers)],
    [1, () => 2n ** 63n - BigInt(random.below(3))],
    [1, () => random.chance(0.5)],
    [2, () => null],
    [1, () => []],
    [1, () => ({})],
    [1, () => [random.pick(texts), random.pick(numbers), null]],
    [1, () => JSON.parse(`{${JSON.stringify(random.pick(keys))}:${JSON.stringify(random.pick(texts))}}`)],
    [0.3, () => nested(random)],
    [0.1, () => Array.from({ length: random.pick([100, 3000]) }, (_, i) => `v${i}`)],
  ])();
}

/** Every place in a value that a change can be made at. */
function places(value: unknown, found: { holder: Json | unknown[]; key: string | number }[] = []) {
  if (typeof value !== "object" || value === null) return found;
  if (Array.isArray(value)) {
    for (const [key, element] of value.entries()) {
      found.push({ holder: value, key });
      places(element, found);
    }
  } else {
    for (const [key, element] of Object.entries(value)) {
      found.push({ holder: value as Json, key });
      places(element, found);
    }
  }
  return found;
}

function put(holder: Json | unknown[], key: string | number, value: unknown): void {
  if (Array.isArray(holder)) holder[key as number] = value;
  else setKey(holder, key as string, value);
}

/** Makes one change somewhere in the value. */
function change(value: Json, random: Random): void {
  const all = places(value);
  if (all.length === 0) return;
  const { holder, key } = random.pick(all);
  const now = (holder as Json)[key];
  random.weighted<() => void>([
    [5, () => put(holder, key, anyValue(random))],
    [
      2,
      () => {
        if (Array.isArray(holder)) holder.splice(key as number, 1);
        else delete holder[key];
      },
    ],
    [2, () => put(holder, Array.isArray(holder) ? holder.length : random.pick(keys), anyValue(random))],
    [1, () => Array.isArray(holder) && holder.push(cloneJson(now))],
    [1, () => put(holder, key, [now])],
    [1, () => typeof now === "string" && put(holder, key, now + random.pick(texts))],
    [1, () => typeof now === "number" && put(holder, key, now * random.pick([-1, 0, 10, 1e10, 0.3]))],
    [1, () => put(holder, key, cloneJson((random.pick(all).holder as Json)[key] ?? null))],
  ])();
}

/** A changed copy; cycles cannot come about. */
export function mutated(value: Json, random: Random): Json {
  const copy = cloneJson(value);
  for (
    let changes = random.weighted([
      [6, 1],
      [3, 2],
      [1, 6],
    ]);
    changes > 0;
    changes--
  )
    change(copy, random);
  return copy;
}

/** Bytes with a few of them changed, taken out, repeated or added. */
export function mutatedBytes(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const length = random.below(8);
  return random.weighted<() => Buffer>([
    [3, () => bytes.subarray(0, at)],
    [
      3,
      () => {
        const copy = Buffer.from(bytes);
        for (let i = at; i < Math.min(at + length + 1, copy.length); i++) copy[i] = random.below(256);
        return copy;
      },
    ],
    [1, () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])],
    [1, () => Buffer.concat([bytes.subarray(0, at), Buffer.from([0xff, 0xc0, 0x80]), bytes.subarray(at)])],
    [1, () => Buffer.concat([bytes, bytes])],
    [1, () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 40))])],
    [0.3, () => Buffer.alloc(random.pick([10, 2000, 200_000]), random.pick(["[", '{"a":', "a: &a [*a,", "\0", "- "]))],
  ])();
}

export { texts as hostileTexts };
