/** SQLite's own layout of a write-ahead log: a header, then frames of a small header and one page each. */
const headerBytes = 32;
const frameHeaderBytes = 24;
/** The lowest bit of the magic number tells the byte order of checksums; this program's machines all write 0. */
const magic = 0x377f0682;

type Sum = readonly [number, number];

/**
 * Whether commits of a write-ahead log that had been acknowledged cannot be read any more. SQLite takes everything after
 * the first frame whose checksum is wrong for the rest of a write that was cut off, and drops it without a word. It is one
 * when nothing that came later is there; where a commit that another write followed stands behind it, the log was damaged.
 * @param wal the whole file, after an end that was not clean
 * @returns what is wrong, in words
 */
export function walDamage(wal: Buffer): string | undefined {
  if (wal.length <= headerBytes) return undefined;
  const sum = checksum(wal, 0, headerBytes - 8, [0, 0]);
  const sound = wal.readUInt32BE(0) === magic && wal.readUInt32BE(24) === sum[0] && wal.readUInt32BE(28) === sum[1];
  const pageSize = sound ? wal.readUInt32BE(8) : guessPageSize(wal);
  const frameBytes = frameHeaderBytes + pageSize;
  const count = Math.floor((wal.length - headerBytes) / frameBytes);
  const at = (index: number) => headerBytes + index * frameBytes;
  // Frames of an earlier round, which are all in the database, have other salts.
  const salt = sound ? wal.subarray(16, 24) : count > 0 ? wal.subarray(at(0) + 8, at(0) + 16) : undefined;
  const ofRound = (index: number) => salt?.equals(wal.subarray(at(index) + 8, at(index) + 16)) ?? false;
  const follows = (index: number, before: Sum) => {
    const own = checksum(wal, at(index) + frameHeaderBytes, pageSize, checksum(wal, at(index), 8, before));
    return ofRound(index) && own[0] === wal.readUInt32BE(at(index) + 16) && own[1] === wal.readUInt32BE(at(index) + 20);
  };
  const stored = (index: number): Sum => [wal.readUInt32BE(at(index) + 16), wal.readUInt32BE(at(index) + 20)];

  let good = 0;
  if (sound) for (let before = sum; good < count && follows(good, before); good++) before = stored(good);
  for (let index = good; index + 1 < count; index++) {
    const commits = wal.readUInt32BE(at(index) + 4) !== 0;
    if (commits && ofRound(index) && follows(index + 1, stored(index)))
      return sound ? `its write-ahead log is damaged at byte ${at(good)}` : "its write-ahead log has a damaged header";
  }
  return undefined;
}

/** Two sums over 32-bit words, each of which depends on the other's: SQLite's. */
function checksum(bytes: Buffer, from: number, length: number, [first, second]: Sum): Sum {
  let a = first;
  let b = second;
  for (let at = from; at < from + length; at += 8) {
    a = (a + bytes.readUInt32LE(at) + b) >>> 0;
    b = (b + bytes.readUInt32LE(at + 4) + a) >>> 0;
  }
  return [a, b];
}

/** The distance at which frames repeat their salts. */
function guessPageSize(wal: Buffer): number {
  const salt = wal.subarray(headerBytes + 8, headerBytes + 16);
  for (let size = 512; size <= 65536; size *= 2) {
    const next = headerBytes + frameHeaderBytes + size + 8;
    if (next + 8 <= wal.length && salt.equals(wal.subarray(next, next + 8))) return size;
  }
  return 65536;
}
