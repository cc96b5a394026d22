import { type FSWatcher, watch } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname } from "node:path";

export interface LogOptions {
  readonly follow: boolean;
  /** Lines from the end; absent: all. */
  readonly tailLines?: number | undefined;
  /** Only lines written at or after this time. */
  readonly sinceMs?: number | undefined;
  readonly timestamps: boolean;
  /** Ends after this many bytes. */
  readonly limitBytes?: number | undefined;
  /** Only this stream. */
  readonly stream?: "stdout" | "stderr" | undefined;
}

export interface LogSource {
  readonly path: string;
  /** Whether more may be written. Asked when the end of the file is reached. */
  running(): Promise<boolean>;
  /** Resolves when the container's state may have changed. */
  readonly signal: AbortSignal;
}

const chunkBytes = 64 * 1024;

/**
 * Where the last `lines` lines of a file begin. Counts whole records: a long line that the runtime split into parts
 * ("P") is one line.
 */
export async function tailOffset(file: FileHandle, size: number, lines: number): Promise<number> {
  if (lines === 0) return size;
  let position = size;
  let found = 0;
  let rest: Buffer = Buffer.alloc(0);
  while (position > 0) {
    const length = Math.min(chunkBytes, position);
    position -= length;
    const chunk = Buffer.concat([(await file.read(Buffer.alloc(length), 0, length, position)).buffer, rest]);
    const first = chunk.indexOf(10);
    for (
      let newline = chunk.lastIndexOf(10);
      newline >= 0;
      newline = newline > 0 ? chunk.lastIndexOf(10, newline - 1) : -1
    ) {
      // Whether the record before the first newline ends a line stands at its beginning, in the block before.
      if (newline === first && position > 0) break;
      const begins = position + newline + 1;
      if (begins < size && isFull(chunk, newline) && ++found === lines) return begins;
    }
    rest = first < 0 ? chunk : Buffer.from(chunk.subarray(0, first + 1));
  }
  return 0;
}

/** Whether the record that ends at this newline is the end of a line ("F"). */
function isFull(chunk: Buffer, newline: number): boolean {
  const start = newline === 0 ? 0 : chunk.lastIndexOf(10, newline - 1) + 1;
  return !/^\S+ std(out|err) P/.test(chunk.toString("latin1", start, Math.min(newline, start + 64)));
}

interface LogRecord {
  readonly time: string;
  readonly stream: string;
  readonly partial: boolean;
  readonly content: Buffer;
}

/** Understands one line of a log in the runtime's format: "<time> <stream> <P|F> <content>". */
export function parseRecord(line: Buffer): LogRecord | undefined {
  const first = line.indexOf(32);
  const second = line.indexOf(32, first + 1);
  let third = line.indexOf(32, second + 1);
  if (first < 0 || second < 0) return undefined;
  if (third < 0) third = line.length;
  return {
    time: line.toString("latin1", 0, first),
    stream: line.toString("latin1", first + 1, second),
    partial: line[second + 1] === 80,
    content: line.subarray(third + 1),
  };
}

/** The text of a container's log, in pieces. Ends when the file does, or, following, when the container has ended. */
export async function* readLog(source: LogSource, options: LogOptions): AsyncGenerator<Buffer, void, void> {
  let file = await open(source.path);
  try {
    const { size } = await file.stat();
    let position = options.tailLines === undefined ? 0 : await tailOffset(file, size, options.tailLines);
    let rest: Buffer = Buffer.alloc(0);
    let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
    let continued = false;
    for (;;) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes, position);
      if (bytesRead > 0) {
        position += bytesRead;
        const data =
          rest.length === 0 ? buffer.subarray(0, bytesRead) : Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const out: Buffer[] = [];
        let start = 0;
        for (let newline = data.indexOf(10); newline >= 0; newline = data.indexOf(10, start)) {
          const record = parseRecord(data.subarray(start, newline));
          start = newline + 1;
          if (!record || (options.stream && record.stream !== options.stream)) continue;
          if (options.sinceMs !== undefined && Date.parse(record.time) < options.sinceMs) continue;
          if (options.timestamps && !continued) out.push(Buffer.from(`${record.time} `));
          out.push(record.content);
          if (!record.partial) out.push(Buffer.from("\n"));
          continued = record.partial;
        }
        rest = Buffer.from(data.subarray(start));
        let text = Buffer.concat(out);
        if (text.length > left) text = text.subarray(0, left);
        left -= text.length;
        if (text.length > 0) yield text;
        if (left <= 0) return;
        continue;
      }
      if (!options.follow || source.signal.aborted) return;
      // Asked before waiting and looked once more after: what was written last is not lost.
      const running = await source.running();
      const now = await stat(source.path).catch(() => undefined);
      const current = await file.stat();
      if (now && now.ino !== current.ino && current.size <= position) {
        // Rotated: go on in the new file, unless that one is on its way out, too.
        const next = await open(source.path).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== "ENOENT") throw error;
          return undefined;
        });
        if (next) {
          await file.close();
          file = next;
          position = 0;
          rest = Buffer.alloc(0);
          continue;
        }
      }
      if (current.size > position) continue;
      if (!running) return;
      const already = async () => {
        const there = await stat(source.path).catch(() => undefined);
        if (there && there.ino !== current.ino) return true;
        return (await file.stat()).size > position || !(await source.running());
      };
      await fileChange(dirname(source.path), source.signal, already);
    }
  } finally {
    await file.close();
  }
}

/**
 * Resolves when a file in the directory changes, comes or goes, the signal aborts, or `already` says that there is no need
 * to wait. The directory and not the file is watched: between two logs there is none for a moment.
 */
async function fileChange(directory: string, signal: AbortSignal, already: () => Promise<boolean>): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let watcher: FSWatcher;
    try {
      watcher = watch(directory);
    } catch (error) {
      // Removed with its pod: the next look tells.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") resolve();
      else reject(error);
      return;
    }
    const done = () => {
      watcher.close();
      signal.removeEventListener("abort", done);
      resolve();
    };
    watcher.on("change", done);
    watcher.on("error", done);
    signal.addEventListener("abort", done, { once: true });
    // Between the last read and the watch something may have happened.
    void already().then((yes) => yes && done(), done);
  });
}
