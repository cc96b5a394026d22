/** Values that are a number or a percentage of one (maxSurge, maxUnavailable, minAvailable). */

/** The whole number that a percentage stands for, undefined when the text is none. */
function percentOf(text: string): number | undefined {
  return /^-?\d+%$/.test(text) ? Number(text.slice(0, -1)) : undefined;
}

/**
 * The absolute value of "25%" of `total`, rounded up or down; plain numbers come back as they are.
 * Throws Error for a string that is no percentage, with Kubernetes' text.
 */
export function scaledValue(value: number | string, total: number, roundUp: boolean): number {
  if (typeof value === "number") return value;
  const percent = percentOf(value);
  if (percent === undefined) {
    throw new Error(`invalid value for IntOrString: invalid type: string is not a percentage`);
  }
  const exact = (percent * total) / 100;
  return roundUp ? Math.ceil(exact) : Math.floor(exact);
}

/** Is it "…%"? */
export function isPercent(value: number | string): boolean {
  return typeof value === "string" && percentOf(value) !== undefined;
}

/**
 * How many pods a roll-out may add and take away: maxSurge rounds up, maxUnavailable down, and when both come to
 * nothing one may be unavailable, or the roll-out would never move.
 */
export function rolloutLimits(
  maxSurge: number | string,
  maxUnavailable: number | string,
  desired: number,
): { surge: number; unavailable: number } {
  const surge = scaledValue(maxSurge, desired, true);
  const unavailable = scaledValue(maxUnavailable, desired, false);
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}
