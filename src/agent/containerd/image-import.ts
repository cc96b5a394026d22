import { createReadStream } from "node:fs";
import { open, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { Logger } from "../../machinery/log.ts";
import { run } from "../host/command.ts";
import type { Cri } from "./cri.ts";

export interface ImageImportOptions {
  /** Directories with archives and lists; missing ones are skipped. */
  readonly directories: readonly string[];
  /** Remembers what was imported, so that a start with unchanged files reads none of them. */
  readonly statePath: string;
  readonly socketPath: string;
  readonly cri: Cri;
  readonly logger: Logger;
}

interface Remembered {
  readonly size: number;
  readonly mtimeMs: number;
  readonly images: readonly string[];
}

const archive = /\.(tar|tar\.gz|tgz|tar\.zst|tzst|tar\.bz2|tbz|tar\.lz4)$/;
const importTimeoutMs = 15 * 60_000;

/**
 * Imports the image archives of all directories into containerd (namespace k8s.io), and pulls the images that `.txt`
 * lists name; unchanged files whose images are there are left alone. Returns the names of all images that they hold.
 */
export async function importImages(options: ImageImportOptions): Promise<string[]> {
  const files: string[] = [];
  for (const directory of options.directories) {
    const names = await readdir(directory).catch(() => []);
    files.push(...names.sort().map((name) => join(directory, name)));
  }
  if (files.length === 0) return [];
  const remembered = await readState(options.statePath);
  const known = Object.fromEntries(Object.entries(remembered).filter(([path]) => files.includes(path)));
  const next = await importAll(files, known, options);
  if (JSON.stringify(next) !== JSON.stringify(remembered)) await writeFile(options.statePath, JSON.stringify(next));
  return Object.values(next).flatMap(({ images }) => images);
}

/** Imports these files, as {@link importImages} does, beside what was imported before. */
export async function importFiles(
  files: readonly string[],
  options: Omit<ImageImportOptions, "directories">,
): Promise<void> {
  const next = await importAll(files, await readState(options.statePath), options);
  await writeFile(options.statePath, JSON.stringify(next));
}

/** A file that cannot be imported is logged and does not keep the others out. */
async function importAll(
  files: readonly string[],
  remembered: Readonly<Record<string, Remembered>>,
  options: Omit<ImageImportOptions, "directories">,
): Promise<Record<string, Remembered>> {
  const { cri, logger } = options;
  const present = new Set((await cri.listImages()).flatMap((image) => [...image.repoTags, ...image.repoDigests]));
  const next: Record<string, Remembered> = { ...remembered };
  for (const path of files) {
    try {
      const { size, mtimeMs } = await stat(path);
      const before = remembered[path];
      if (before?.size === size && before.mtimeMs === mtimeMs && before.images.every((image) => present.has(image)))
        continue;
      delete next[path];
      const images = archive.test(path)
        ? await importArchive(path, options)
        : path.endsWith(".txt")
          ? await pullList(path, options)
          : undefined;
      if (images) next[path] = { size, mtimeMs, images };
    } catch (error) {
      // Somebody took it away again; its images stay.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
      logger.error({ path, error: (error as Error).message }, "Image import failed");
    }
  }
  return next;
}

async function readState(path: string): Promise<Record<string, Remembered>> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    return {};
  }
}

async function importArchive(
  path: string,
  { logger, socketPath }: Pick<ImageImportOptions, "logger" | "socketPath">,
): Promise<string[]> {
  const kind = await archiveKind(path);
  if (kind === "bzip2" || kind === "lz4")
    throw new Error(`${kind} archives are not supported; unpack it, or use gzip or zstd`);
  logger.info(`Importing images from ${path}`);
  const args = ["--address", socketPath, "--namespace", "k8s.io", "images", "import", "--local", "--all-platforms"];
  const timeoutMs = importTimeoutMs;
  // `ctr` takes plain archives only.
  const { stdout } =
    kind === "gzip" || kind === "zstd"
      ? await run("ctr", [...args, "-"], { timeoutMs, input: unpacked(path, kind) })
      : await run("ctr", [...args, path], { timeoutMs });
  const images = parseImportOutput(stdout);
  for (const image of images) logger.info(`Imported ${image}`);
  return images;
}

/** The content of a compressed file, unpacked as it is read. */
export function unpacked(path: string, kind: "gzip" | "zstd"): Readable {
  const file = createReadStream(path);
  const content = kind === "gzip" ? createGunzip() : createZstdDecompress();
  file.on("error", (error) => content.destroy(error));
  content.on("close", () => file.destroy());
  return file.pipe(content);
}

/** The image names in what `ctr images import --local` prints; without that option it replaces dashes by spaces. */
export function parseImportOutput(stdout: string): string[] {
  const names = new Set<string>();
  for (const line of stdout.split("\n")) {
    const name = /^unpacking\s+(\S+[:@]\S+)\s+\(sha256:/.exec(line)?.[1];
    if (name) names.add(name);
  }
  return [...names];
}

async function pullList(path: string, { cri, logger }: Pick<ImageImportOptions, "cri" | "logger">): Promise<string[]> {
  const images = (await readFile(path, "utf8"))
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  for (const image of images) {
    await cri.pullImage({ image: { image } });
    logger.info(`Imported ${image}`);
  }
  return images;
}

/** What the file is, by its first bytes. */
export async function archiveKind(path: string): Promise<"plain" | "gzip" | "zstd" | "bzip2" | "lz4" | "other"> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(262), 0, 262, 0);
    const head = buffer.subarray(0, bytesRead);
    // An empty file, for one.
    if (head.length < 4) return "other";
    if (head.subarray(257, 262).toString() === "ustar") return "plain";
    if (head.readUInt16BE(0) === 0x1f8b) return "gzip";
    const magic = head.readUInt32LE(0);
    if (magic === 0xfd2fb528) return "zstd";
    if (magic === 0x184d2204) return "lz4";
    return head.subarray(0, 3).toString() === "BZh" ? "bzip2" : "other";
  } finally {
    await file.close();
  }
}
