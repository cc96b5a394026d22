import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { UnavailableError } from "../store.ts";

/** etcd ends its copy with the hash of all bytes before. */
const hashBytes = 32;
/** What precedes the hash is the file of a bbolt database: whole pages. */
const pageBytes = 512;

/**
 * Writes the pieces of etcd's snapshot to a new file that only its owner may read, and checks the hash at their end. The
 * file is what etcd's own tools restore from; it is removed when it cannot be finished.
 * @throws UnavailableError when the copy is torn or not what etcd sent
 */
export async function writeSnapshot(path: string, pieces: AsyncIterable<{ readonly blob: Buffer }>): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    const hash = createHash("sha256");
    // The last bytes are held back from the hash until it is known that more follow.
    let held: Buffer = Buffer.alloc(0);
    let length = 0;
    for await (const { blob: piece } of pieces) {
      // All of it or an error: a disk that gets full takes a part of what `write` is given, and says nothing.
      await file.appendFile(piece);
      length += piece.length;
      const all = held.length === 0 ? piece : Buffer.concat([held, piece]);
      const end = Math.max(0, all.length - hashBytes);
      hash.update(all.subarray(0, end));
      held = Buffer.from(all.subarray(end));
    }
    if (length % pageBytes !== hashBytes)
      throw new UnavailableError(`etcd's snapshot of ${length} bytes is not whole; take it again`);
    if (!hash.digest().equals(held))
      throw new UnavailableError("etcd's snapshot does not match its hash: it was damaged on its way; take it again");
    await file.sync();
  } catch (error) {
    await file.close();
    await rm(path, { force: true });
    throw error;
  }
  await file.close();
}
