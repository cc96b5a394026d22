import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Replaces a file in one step: after a crash at any line it holds the old content or the new one, never a part.
 * Missing parent directories are created (0755).
 * @param mode permission bits, e.g. 0o600
 */
export function writeFileAtomic(path: string, content: string | Buffer, mode: number): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.tmp-${process.pid}`;
  const file = openSync(temporary, "w", mode);
  try {
    writeSync(file, content as string);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
}
