import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Replaces a file in one step: after a crash at any line it holds the old content or the new one, never a part.
 * Missing parent directories are created (0755). A file that is the same already is left alone: a start after the first
 * syncs nothing.
 * @param mode permission bits, e.g. 0o600
 */
export function writeFileAtomic(path: string, content: string | Buffer, mode: number): void {
  if (holds(path, content, mode)) return;
  mkdirSync(dirname(path), { recursive: true });
  const temporary = temporaryOf(path);
  const file = openSync(temporary, "w", mode);
  try {
    try {
      // Not `writeSync`: a disk that gets full takes a part of what that is given, and says nothing.
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** As `writeFileAtomic`, and the main loop goes on while the disk syncs: for many files at once. */
export async function replaceFile(path: string, content: string | Buffer, mode: number): Promise<void> {
  if (holds(path, content, mode)) return;
  await mkdir(dirname(path), { recursive: true });
  const temporary = temporaryOf(path);
  const file = await open(temporary, "w", mode);
  try {
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function temporaryOf(path: string): string {
  return `${path}.tmp-${process.pid}`;
}

function holds(path: string, content: string | Buffer, mode: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  const size = Buffer.byteLength(content);
  return (
    found?.isFile() === true &&
    found.size === size &&
    (found.mode & 0o777) === mode &&
    readFileSync(path).equals(Buffer.from(content))
  );
}
