/**
 * A wait with up to `share` of itself added by chance, so that those who began together do not come back together.
 * @param wait in any unit; the result has the same
 */
export function jittered(wait: number, share: number): number {
  return wait * (1 + share * Math.random());
}
