import { spawn } from "node:child_process";
import { pipeline } from "node:stream/promises";
import { createGzip, createZstdCompress } from "node:zlib";
import { serverImage } from "../../src/commands/images.ts";
import { baseImage } from "../../tools/base-image.ts";
import { imagesFor } from "../../tools/image-list.ts";
import { enginePlatform, platforms } from "../../tools/platforms.ts";
import { run } from "../../tools/run.ts";
import type { Figure, Measurement } from "./measurement.ts";

const megabyte = 1e6;
const largest = 14;

/** Megabytes that an image may take unpacked, on any architecture; 46 of a server's are etcd and its tool. */
const budgets = { agent: 240, server: 376 };

/** What the images take on a disk and on the way there. Yardstick: Debian's own slim image, which holds no program of ours. */
export const images: Measurement = {
  name: "images",
  needs: ["platforms"],
  async run(say) {
    const own = await enginePlatform();
    const yardstick = { what: baseImage, samples: [await sizeOf(baseImage)] };
    const figures: Figure[] = [];
    for (const platform of platforms) {
      const built = imagesFor(platform, platform.name === own.name);
      for (const role of ["agent", "server"] as const) {
        const image = built[role].names.at(-1)!;
        say(`compressing ${image}`);
        const packed = await packedSizeOf(image);
        const what = `${role} image, ${platform.name}`;
        figures.push(
          { what: `${what}, unpacked`, unit: "MB", samples: [await sizeOf(image)], budget: budgets[role], yardstick },
          { what: `${what}, gzip`, unit: "MB", samples: [packed.gzip] },
          { what: `${what}, zstd`, unit: "MB", samples: [packed.zstd] },
        );
      }
    }
    return {
      figures,
      notes: ["What takes the space in the server image:", ...(await contentsOf(serverImage))],
    };
  },
};

/** Megabytes. */
async function sizeOf(image: string): Promise<number> {
  return Number(await run("docker", ["image", "inspect", "--format", "{{.Size}}", image])) / megabyte;
}

/** Megabytes of the image's archive, as registries keep layers (gzip) and may keep them (zstd). */
async function packedSizeOf(image: string): Promise<{ gzip: number; zstd: number }> {
  const archive = spawn("docker", ["save", image], { stdio: ["ignore", "pipe", "inherit"] }).stdout;
  const count = (from: NodeJS.ReadWriteStream) => {
    let bytes = 0;
    from.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    return () => bytes / megabyte;
  };
  const gzip = createGzip();
  const zstd = createZstdCompress();
  const gzipped = count(gzip);
  const zstandard = count(zstd);
  await Promise.all([pipeline(archive, gzip), pipeline(archive, zstd)]);
  return { gzip: gzipped(), zstd: zstandard() };
}

/** The largest files and folders, and the rest. */
async function contentsOf(image: string): Promise<string[]> {
  const list = "find / -xdev -type f -exec stat -c '%s %n' {} +";
  const text = await run("docker", ["run", "--rm", "--entrypoint", "sh", image, "-c", list]);
  const sizes = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [size, path] = [Number(line.slice(0, line.indexOf(" "))), line.slice(line.indexOf(" ") + 1)];
    if (/^\/(proc|sys|dev)\//.test(path)) continue;
    const name = groups.find(([pattern]) => pattern.test(path))?.[1] ?? path;
    sizes.set(name, (sizes.get(name) ?? 0) + size);
  }
  const sorted = [...sizes].sort(([, a], [, b]) => b - a);
  const rest = sorted.slice(largest).reduce((sum, [, size]) => sum + size, 0);
  return [...sorted.slice(0, largest), ["everything else", rest] as const].map(
    ([name, size]) => `- ${name}: ${(size / megabyte).toFixed(1)} MB`,
  );
}

/** Files that are one thing. */
const groups: readonly (readonly [RegExp, string])[] = [
  [/^\/usr\/lib\/k3ts\/cache\//, "k3ts, its compile cache"],
  [/^\/usr\/lib\/k3ts\//, "k3ts, its program"],
  [/libnode\.so|^\/bin\/node$|\/usr\/share\/nodejs\//, "Node"],
  [/libicu/, "ICU (Node's language data)"],
  [/libcrypto|libssl/, "OpenSSL"],
  [/^\/usr\/lib\/cni\//, "CNI plugins"],
  [/xtables|ip6?tables/, "iptables"],
];
