/**
 * Revisions that may have been handed out since a snapshot without anybody left to tell: at a thousand writes a second, ten
 * days of them (etcd's advice for restoring).
 */
const unknownRevisions = 1_000_000_000;

/**
 * The revision that a restored store goes on above: all that clients may remember is below, so it is too old for them and
 * never another object's.
 * @param snapshot the newest revision of the snapshot
 * @param replaced the newest one known of the data that it replaces; 0 where there is none
 */
export function revisionsAbove(snapshot: number, replaced: number): number {
  return Math.max(snapshot, replaced) + unknownRevisions;
}
