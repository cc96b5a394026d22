/**
 * Images of several platforms under one name, as an archive: an OCI image layout, which registries' tools, containerd and
 * engines with containerd's store take as a whole, with the `manifest.json` beside it that other engines read.
 *
 * Docker's builder makes one only with a builder image from a registry; what the engine saves holds all that it takes.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack } from "tar-stream";
import { run } from "./run.ts";

export interface LayoutImage {
  /** Folder into which `docker save` of one image was unpacked. */
  saved: string;
  /** What an engine that knows no images of several platforms shall call this one. */
  names: readonly string[];
}

export interface LayoutOptions {
  /** The archive to write. */
  file: string;
  /** Names of the whole, with their tags. */
  names: readonly string[];
  images: readonly LayoutImage[];
  annotations?: Readonly<Record<string, string>>;
  /** A folder for packed layers; a layer that is there already, for another image, is not packed again. */
  scratch: string;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { architecture: string; os: string; variant?: string };
  annotations?: Record<string, string>;
}

/** A file of the layout by its digest: text, or a file of the disk. */
type Blob = string | { path: string };

const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

/** Unpacks what the engine has of an image into a folder, for {@link writeOciLayout}. */
export async function saveImage(name: string, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const archive = join(folder, "archive.tar");
  await run("docker", ["save", "-o", archive, name]);
  await run("tar", ["-x", "-f", archive, "-C", folder]);
  rmSync(archive);
}

/** Writes the archive; it appears when it is complete. The same images give the same bytes. Throws when one is not as saved. */
export async function writeOciLayout(options: LayoutOptions): Promise<void> {
  const blobs = new Map<string, Blob>();
  const manifests: Descriptor[] = [];
  const legacy: { Config: string; RepoTags: readonly string[]; Layers: string[] }[] = [];
  for (const image of options.images) {
    const saved = await readSaved(image.saved);
    const config = addText(blobs, mediaTypes.config, saved.config);
    const layers: Descriptor[] = [];
    for (const layer of saved.layers) layers.push(await addLayer(blobs, layer, options.scratch));
    const manifest = addText(
      blobs,
      mediaTypes.manifest,
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers }),
    );
    manifests.push({ ...manifest, platform: saved.platform });
    legacy.push({ Config: pathOf(config), RepoTags: image.names, Layers: layers.map(pathOf) });
  }
  const index = addText(
    blobs,
    mediaTypes.index,
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests,
      ...(options.annotations ? { annotations: options.annotations } : {}),
    }),
  );
  const top = options.names.map((name) => ({
    ...index,
    annotations: {
      "io.containerd.image.name": qualified(name),
      "org.opencontainers.image.ref.name": name.slice(name.lastIndexOf(":") + 1),
    },
  }));
  const files = new Map<string, Blob>([
    ["oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" })],
    ["index.json", JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: top })],
    ["manifest.json", JSON.stringify(legacy)],
  ]);
  for (const [digest, blob] of blobs) files.set(pathOf({ digest }), blob);
  mkdirSync(dirname(options.file), { recursive: true });
  const next = `${options.file}.next`;
  await writeArchive(next, files);
  renameSync(next, options.file);
}

interface SavedLayer {
  path: string;
  /** Digest of the unpacked layer, from the image's configuration. */
  diffId: string;
}

async function readSaved(folder: string) {
  const [image, ...others] = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  if (!image || others.length > 0) throw new Error(`Save one image alone: "${folder}" holds ${others.length + 1}.`);
  const config = readFileSync(join(folder, image.Config), "utf8");
  const { architecture, os, variant, rootfs } = JSON.parse(config);
  const layers: SavedLayer[] = image.Layers.map((path: string, at: number) => ({
    path: join(folder, path),
    diffId: rootfs.diff_ids[at],
  }));
  return { config, layers, platform: { architecture, os, ...(variant ? { variant } : {}) } };
}

/** Packs a layer, unless the engine keeps it packed. */
async function addLayer(blobs: Map<string, Blob>, layer: SavedLayer, scratch: string): Promise<Descriptor> {
  let path = layer.path;
  if (!isGzip(path)) {
    path = join(scratch, `${layer.diffId.replace(":", "-")}.tar.gz`);
    if (!existsSync(path)) {
      mkdirSync(scratch, { recursive: true });
      const unpacked = createHash("sha256");
      const count = new Transform({
        transform(chunk, _, done) {
          unpacked.update(chunk);
          done(null, chunk);
        },
      });
      await pipeline(createReadStream(layer.path), count, createGzip(), createWriteStream(`${path}.next`));
      const digest = `sha256:${unpacked.digest("hex")}`;
      if (digest !== layer.diffId) throw new Error(`Save the image again: a layer is ${digest}, not ${layer.diffId}.`);
      renameSync(`${path}.next`, path);
    }
  }
  const packed = createHash("sha256");
  for await (const chunk of createReadStream(path)) packed.update(chunk);
  const digest = `sha256:${packed.digest("hex")}`;
  blobs.set(digest, { path });
  return { mediaType: mediaTypes.layer, digest, size: statSync(path).size };
}

function isGzip(path: string): boolean {
  const start = Buffer.alloc(2);
  const file = openSync(path, "r");
  try {
    readSync(file, start, 0, 2, 0);
  } finally {
    closeSync(file);
  }
  return start[0] === 0x1f && start[1] === 0x8b;
}

function addText(blobs: Map<string, Blob>, mediaType: string, text: string): Descriptor {
  const digest = `sha256:${createHash("sha256").update(text).digest("hex")}`;
  blobs.set(digest, text);
  return { mediaType, digest, size: Buffer.byteLength(text) };
}

function pathOf({ digest }: { digest: string }): string {
  return `blobs/${digest.replace(":", "/")}`;
}

/** A name as containerd keeps it: with the registry that Docker leaves out. */
function qualified(name: string): string {
  const first = name.split("/")[0] ?? "";
  if (name.includes("/") && /[.:]|^localhost$/.test(first)) return name;
  return name.includes("/") ? `docker.io/${name}` : `docker.io/library/${name}`;
}

async function writeArchive(path: string, files: ReadonlyMap<string, Blob>): Promise<void> {
  const archive = pack();
  const written = pipeline(archive, createWriteStream(path));
  const fill = async () => {
    for (const [name, blob] of files) {
      // Whoever may read the archive may read its files; no times, so that equal images give equal bytes.
      const header = { name, mode: 0o644, mtime: new Date(0) };
      if (typeof blob === "string") archive.entry(header, blob);
      else await pipeline(createReadStream(blob.path), archive.entry({ ...header, size: statSync(blob.path).size }));
    }
    archive.finalize();
  };
  await Promise.all([written, fill()]);
}
