import { statfs } from "node:fs/promises";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { Cri } from "../containerd/cri.ts";

const highPercent = 85;
const lowPercent = 80;
/** An image that was just pulled or left is not taken away at once. */
const leastAgeMs = 120_000;

/** Used share of the file system that holds a path, in percent. */
export async function usedPercent(path: string): Promise<number> {
  const { blocks, bavail } = await statfs(path);
  return blocks === 0 ? 0 : ((blocks - bavail) / blocks) * 100;
}

export interface ImageCollectorOptions {
  readonly cri: Cri;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Used share of the images' disk, in percent. */
  readonly used: () => Promise<number>;
}

/** Removes images that no container uses when the disk runs full, the longest unused first. */
export class ImageCollector {
  readonly #options: ImageCollectorOptions;
  readonly #usedAtMs = new Map<string, number>();

  constructor(options: ImageCollectorOptions) {
    this.#options = options;
  }

  /** One look: notes what is in use, and collects when the disk is above 85 % until it is at 80 %. */
  async collect(): Promise<void> {
    const { cri, clock, logger, used } = this.#options;
    const nowMs = clock.now();
    const [images, containers] = await Promise.all([cri.listImages(), cri.listContainers()]);
    const inUse = new Set(
      containers.flatMap(({ imageId, imageRef, image }) => [imageId, imageRef, image?.image ?? ""]),
    );
    for (const image of images)
      if (inUse.has(image.id) || !this.#usedAtMs.has(image.id)) this.#usedAtMs.set(image.id, nowMs);
    const present = new Set(images.map(({ id }) => id));
    for (const id of this.#usedAtMs.keys()) if (!present.has(id)) this.#usedAtMs.delete(id);
    if ((await used()) < highPercent) return;
    const unused = images
      .filter(({ id, pinned }) => !pinned && !inUse.has(id) && nowMs - this.#usedAtMs.get(id)! >= leastAgeMs)
      .sort((a, b) => this.#usedAtMs.get(a.id)! - this.#usedAtMs.get(b.id)!);
    for (const { id, repoTags, size } of unused) {
      if ((await used()) <= lowPercent) return;
      logger.info({ image: repoTags[0] ?? id, bytes: size }, "Removing an unused image, the disk is running full");
      await cri.removeImage(id);
    }
  }
}
