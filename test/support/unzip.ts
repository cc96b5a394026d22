import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { inflateRawSync } from "node:zlib";

/**
 * Takes the named files out of a zip archive. Knows what a plain archive needs: entries stored or deflated, no encryption,
 * nothing beyond 4 GB. Throws when the archive is not one, or lacks a name.
 */
export function unzip(path: string, names: readonly string[]): Map<string, Buffer> {
  const descriptor = openSync(path, "r");
  const read = (position: number, length: number) => {
    const buffer = Buffer.alloc(length);
    readSync(descriptor, buffer, 0, length, position);
    return buffer;
  };
  try {
    const size = fstatSync(descriptor).size;
    // The directory's end is the last record; only a comment may follow it.
    const tailLength = Math.min(size, 65_557);
    const tail = read(size - tailLength, tailLength);
    const end = tail.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
    if (end < 0) throw new Error(`"${path}" is not a zip archive`);
    const directory = read(tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
    const files = new Map<string, Buffer>();
    let offset = 0;
    for (let entry = tail.readUInt16LE(end + 10); entry > 0; entry--) {
      const nameLength = directory.readUInt16LE(offset + 28);
      const name = directory.toString("utf8", offset + 46, offset + 46 + nameLength);
      if (names.includes(name)) {
        const method = directory.readUInt16LE(offset + 10);
        const start = directory.readUInt32LE(offset + 42);
        const header = read(start, 30);
        const dataStart = start + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
        const data = read(dataStart, directory.readUInt32LE(offset + 20));
        if (method !== 0 && method !== 8) throw new Error(`"${name}" in "${path}" is packed by method ${method}`);
        files.set(name, method === 0 ? data : inflateRawSync(data));
      }
      offset += 46 + nameLength + directory.readUInt16LE(offset + 30) + directory.readUInt16LE(offset + 32);
    }
    for (const name of names) if (!files.has(name)) throw new Error(`"${path}" has no "${name}"`);
    return files;
  } finally {
    closeSync(descriptor);
  }
}
