import type Docker from "dockerode";

/**
 * Pulls what is missing.
 * @param signal gives it up
 * @throws when an image is neither here nor to be had
 */
export async function requireImages(docker: Docker, images: readonly string[], signal?: AbortSignal): Promise<void> {
  for (const image of new Set(images)) {
    const present = await docker
      .getImage(image)
      .inspect()
      .then(
        () => true,
        () => false,
      );
    if (present) continue;
    try {
      const stream = await docker.pull(image, { abortSignal: signal });
      await new Promise<void>((resolve, reject) => {
        docker.modem.followProgress(stream, (error) => (error ? reject(error) : resolve()));
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw new Error(
        `image "${image}" is not here and cannot be pulled (${(error as Error).message}); build it with \`npm run images\``,
      );
    }
  }
}
