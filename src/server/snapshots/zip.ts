import { createReadStream, createWriteStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { crc32, createDeflateRaw, createInflateRaw } from "node:zlib";

/** Sizes above this need a form that this writer does not know. */
const mostBytes = 0xffff_ffff;
const localBytes = 30;
const centralBytes = 46;
const endBytes = 22;
const deflated = 8;
/** A file's name is UTF-8; its sizes follow its data. */
const flags = 0x0808;

/**
 * Packs one file into a new zip archive that only its owner may read.
 * @param entry its name in the archive
 * @param modifiedMs its time, milliseconds since the epoch
 * @throws when a file is larger than 4 GB
 */
export async function zipFile(from: string, to: string, entry: string, modifiedMs: number): Promise<void> {
  const name = Buffer.from(entry);
  const [date, time] = dosTime(modifiedMs);
  let [checksum, size, packed] = [0, 0, 0];
  const sizes = () => {
    if (size > mostBytes || packed > mostBytes)
      throw new Error(`"${from}" is larger than the 4 GB that a zip archive takes; leave compression out`);
    const fields = Buffer.alloc(12);
    for (const [index, value] of [checksum, packed, size].entries()) fields.writeUInt32LE(value, index * 4);
    return fields;
  };
  /** What the local header and the directory have in common, from "version needed" on. */
  const common = (known: Buffer) => {
    const fields = Buffer.alloc(26);
    for (const [index, value] of [20, flags, deflated, time, date].entries()) fields.writeUInt16LE(value, index * 2);
    known.copy(fields, 10);
    fields.writeUInt16LE(name.length, 22);
    return fields;
  };
  const target = await open(to, "wx", 0o600);
  try {
    // Not `write`: a disk that gets full takes a part of what that is given, and says nothing.
    await target.appendFile(Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common(Buffer.alloc(12)), name]));
    await pipeline(
      createReadStream(from),
      async function* (pieces: AsyncIterable<Buffer>) {
        for await (const piece of pieces) {
          checksum = crc32(piece, checksum);
          size += piece.length;
          yield piece;
        }
      },
      createDeflateRaw(),
      async (pieces: AsyncIterable<Buffer>) => {
        for await (const piece of pieces) {
          packed += piece.length;
          await target.appendFile(piece);
        }
      },
    );
    await target.appendFile(Buffer.concat([Buffer.from("PK\x07\x08", "latin1"), sizes()]));
    const directoryAt = localBytes + name.length + packed + 16;
    const directory = Buffer.alloc(centralBytes);
    directory.write("PK\x01\x02", "latin1");
    // Made on Unix, which is what gives the file its mode.
    directory.writeUInt16LE(0x0314, 4);
    common(sizes()).copy(directory, 6);
    directory.writeUInt32LE((0o100600 << 16) >>> 0, 38);
    const end = Buffer.alloc(endBytes);
    end.write("PK\x05\x06", "latin1");
    end.writeUInt16LE(1, 8);
    end.writeUInt16LE(1, 10);
    end.writeUInt32LE(centralBytes + name.length, 12);
    if (directoryAt > mostBytes) throw new Error(`"${to}" is larger than the 4 GB that a zip archive takes`);
    end.writeUInt32LE(directoryAt, 16);
    await target.appendFile(Buffer.concat([directory, name, end]));
    await target.sync();
  } finally {
    await target.close();
  }
}

/** Whether a file begins as a zip archive does. */
export function isZip(head: Buffer): boolean {
  return head.subarray(0, 4).toString("latin1") === "PK\x03\x04";
}

/**
 * Unpacks the only file of a zip archive into a new file that only its owner may read.
 * @throws when the archive is damaged, or holds anything else
 */
export async function unzipFile(from: string, to: string): Promise<void> {
  const file = await open(from, "r");
  try {
    const { start, packed, size, checksum, method } = await onlyEntry(file, from);
    let [found, bytes] = [0, 0];
    const count = async function* (pieces: AsyncIterable<Buffer>) {
      for await (const piece of pieces) {
        found = crc32(piece, found);
        bytes += piece.length;
        yield piece;
      }
    };
    const source = createReadStream(from, { start, end: start + packed - 1 });
    const target = createWriteStream(to, { flags: "wx", mode: 0o600, flush: true });
    await (method === deflated
      ? pipeline(source, createInflateRaw(), count, target)
      : pipeline(source, count, target)
    ).catch((error: NodeJS.ErrnoException) => {
      throw error.code?.startsWith("Z_") ? damaged(from, error.message) : error;
    });
    if (bytes !== size || found !== checksum) throw damaged(from, "its content does not match its checksum");
  } finally {
    await file.close();
  }
}

async function onlyEntry(file: FileHandle, path: string) {
  const read = async (length: number, position: number) => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
    if (bytesRead < length) throw damaged(path, "it is cut off");
    return buffer;
  };
  const { size: length } = await file.stat();
  // Only a comment may follow the record at the end.
  const tailBytes = Math.min(length, endBytes + 0xffff);
  const tail = await read(tailBytes, length - tailBytes);
  const end = tail.lastIndexOf("PK\x05\x06", undefined, "latin1");
  if (end < 0 || end + endBytes > tailBytes) throw damaged(path, "it has no directory at its end");
  if (tail.readUInt16LE(end + 10) !== 1) throw damaged(path, "a snapshot's archive holds one file");
  const directory = await read(centralBytes, tail.readUInt32LE(end + 16));
  const local = await read(localBytes, directory.readUInt32LE(42));
  const method = directory.readUInt16LE(10);
  const packed = directory.readUInt32LE(20);
  if (directory.readUInt32LE() !== 0x02014b50 || local.readUInt32LE() !== 0x04034b50)
    throw damaged(path, "its directory leads nowhere");
  if (packed === 0) throw damaged(path, "its file is empty");
  if ((method !== 0 && method !== deflated) || (directory.readUInt16LE(8) & 1) !== 0)
    throw damaged(path, "it is packed in a way that is not known");
  return {
    method,
    checksum: directory.readUInt32LE(16),
    packed,
    size: directory.readUInt32LE(24),
    start: directory.readUInt32LE(42) + localBytes + local.readUInt16LE(26) + local.readUInt16LE(28),
  };
}

function damaged(path: string, reason: string): Error {
  return new Error(`the archive "${path}" is damaged: ${reason}`);
}

/** Date and time in two seconds' steps, UTC, from 1980 on. */
function dosTime(ms: number): [date: number, time: number] {
  const at = new Date(Math.max(ms, Date.UTC(1980)));
  const date = ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate();
  return [date, (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1)];
}
