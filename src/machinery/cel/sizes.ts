/** Ranges of sizes and costs, as far as they are known before evaluation. Beyond 2^64 they stay there, as in cel-go. */

export interface SizeRange {
  readonly min: number;
  readonly max: number;
}

/** 2^64: no bound is known. */
export const unbounded = 2 ** 64;

const cap = (value: number) => Math.min(value, unbounded);
const times = (a: number, b: number) => (a === 0 || b === 0 ? 0 : cap(a * b));

export const range = (min: number, max = min): SizeRange => ({ min, max });
export const unknownSize: SizeRange = { min: 0, max: unbounded };
export const add = (a: SizeRange, b: SizeRange): SizeRange => ({ min: cap(a.min + b.min), max: cap(a.max + b.max) });
export const multiply = (a: SizeRange, b: SizeRange): SizeRange => ({
  min: times(a.min, b.min),
  max: times(a.max, b.max),
});
/** Rounded up. */
export const scale = (a: SizeRange, factor: number): SizeRange => ({
  min: cap(Math.ceil(a.min * factor)),
  max: cap(Math.ceil(a.max * factor)),
});
export const union = (a: SizeRange, b: SizeRange): SizeRange => ({
  min: Math.min(a.min, b.min),
  max: Math.max(a.max, b.max),
});

/** What a step costs, in cel-go's units. */
export const costs = {
  identifier: 1,
  list: 10,
  map: 30,
  struct: 40,
  /** A character of a text that is walked. */
  stringTraversal: 0.1,
  /** A character of a regular expression. */
  regexLength: 0.25,
} as const;
