import { maxScore, type Plugin } from "../framework.ts";

const mebibyte = 1024 * 1024;
const leastBytes = 23 * mebibyte;
const mostBytesPerContainer = 1000 * mebibyte;

/** "busybox" is "docker.io/library/busybox:latest" in a node's list. */
function normalized(image: string): string {
  return image.includes(":", image.lastIndexOf("/") + 1) || image.includes("@") ? image : `${image}:latest`;
}

/** A node that has the images already is better, the more the larger they are; rare images count less. */
export const imageLocality: Plugin = {
  name: "ImageLocality",
  weight: 1,
  retryOn: [],
  start(pod, { nodes }) {
    const images = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].map(({ image }) =>
      normalized(image ?? ""),
    );
    const sizesOf = (node: (typeof nodes)[number]) =>
      new Map(
        (node.node.status?.images ?? []).flatMap(({ names, sizeBytes }) =>
          (names ?? []).map((name) => [name, sizeBytes ?? 0] as const),
        ),
      );
    const sizes = new Map(nodes.map((node) => [node.name, sizesOf(node)]));
    const spread = new Map(
      images.map((image) => [image, nodes.filter((node) => sizes.get(node.name)?.has(image)).length / nodes.length]),
    );
    if (![...spread.values()].some((share) => share > 0)) return undefined;
    return {
      score(node) {
        const known = sizes.get(node.name);
        const bytes = images.reduce((sum, image) => sum + (known?.get(image) ?? 0) * (spread.get(image) ?? 0), 0);
        const most = mostBytesPerContainer * images.length;
        const counted = Math.max(leastBytes, Math.min(most, bytes));
        return Math.floor((maxScore * (counted - leastBytes)) / (most - leastBytes));
      },
    };
  },
};
