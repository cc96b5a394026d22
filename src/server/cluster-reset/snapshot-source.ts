import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import { isZip, unzipFile } from "../snapshots/zip.ts";

/** A snapshot that can be restored. */
export interface SnapshotSource {
  readonly kind: "sqlite" | "etcd";
  /** Not packed; only to be read. */
  readonly path: string;
}

const sqliteHead = "SQLite format 3\0";
/** Where both meta pages of bbolt have their magic number. */
const bboltMagicAt = 16;
const bboltMagic = 0xed0cdaed;
const hashBytes = 32;

/**
 * Finds out what a file is a snapshot of, and whether a snapshot of etcd is as it was written. One of SQLite is checked
 * when it is copied.
 * @param unpackTo a file that is made where the snapshot is compressed
 * @throws ConfigurationError when it is not there, damaged, or something else
 */
export async function openSnapshotSource(path: string, unpackTo: string): Promise<SnapshotSource> {
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new ConfigurationError(`etcd: snapshot path does not exist: ${path}`);
  if (found.isDirectory()) throw new ConfigurationError(`etcd: snapshot path must be a file, not a directory: ${path}`);
  const head = await headOf(path);
  if (isZip(head)) {
    await rm(unpackTo, { force: true });
    await unzipFile(path, unpackTo).catch((error: Error) => {
      throw refusal(path, error.message);
    });
    const inside = await headOf(unpackTo);
    if (isZip(inside)) throw refusal(path, "it is an archive in an archive");
    return openSnapshotSource(unpackTo, unpackTo);
  }
  if (head.subarray(0, sqliteHead.length).toString("latin1") === sqliteHead) return { kind: "sqlite", path };
  if (head.length < bboltMagicAt + 4 || head.readUInt32LE(bboltMagicAt) !== bboltMagic)
    throw refusal(path, "it is a database neither of SQLite nor of etcd");
  await assertWhole(path, found.size);
  return { kind: "etcd", path };
}

/** etcd ends a snapshot with the hash of all bytes before. */
async function assertWhole(path: string, bytes: number): Promise<void> {
  if (bytes % 512 !== hashBytes) throw refusal(path, "it is cut off, or a copy of etcd's file instead of a snapshot");
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path, { end: bytes - hashBytes - 1 })) hash.update(piece as Buffer);
  const file = await open(path, "r");
  try {
    const { buffer } = await file.read(Buffer.alloc(hashBytes), 0, hashBytes, bytes - hashBytes);
    if (!buffer.equals(hash.digest())) throw refusal(path, "it does not match its hash");
  } finally {
    await file.close();
  }
}

async function headOf(path: string): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Nothing has been changed yet. */
export function refusal(path: string, reason: string): ConfigurationError {
  return new ConfigurationError(`the snapshot "${path}" cannot be restored: ${reason}; nothing was changed`);
}
