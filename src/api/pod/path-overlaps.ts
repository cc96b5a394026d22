/** Files of a volume that get in each other's way. */
import type { Volume, VolumeProjection } from "../generated/core-v1.ts";

interface Entry {
  readonly path: string;
  readonly source: string;
}

const quote = (text: string) => JSON.stringify(text);
const printed = ({ path, source }: Entry) => (source === "" ? quote(path) : `${quote(path)} (${source})`);

/** One path is the other, or a directory of it. */
function overlaps(a: Entry, b: Entry): boolean {
  if (a.path === "" || b.path === "") return false;
  return `${a.path}/`.startsWith(`${b.path}/`) || `${b.path}/`.startsWith(`${a.path}/`);
}

function collisions(entries: readonly Entry[]): string[] {
  const trimmed = entries.map(({ path, source }) => ({ path: path.replace(/\/+$/, ""), source }));
  return trimmed.flatMap((entry, index) =>
    trimmed
      .slice(0, index)
      .filter((other) => overlaps(entry, other))
      .map((other) => `${printed(entry)} with ${printed(other)}`),
  );
}

const paths = (items: readonly { path: string }[] | undefined, source = "") =>
  (items ?? []).map(({ path }) => ({ path, source }));

export function overlapWarnings(volumes: readonly Volume[]): string[] {
  return volumes.flatMap(({ name, configMap, secret, downwardAPI, projected }) => {
    const warn = (what: string, entries: readonly Entry[]) =>
      collisions(entries).map((text) => `volume ${quote(name)} (${what}): overlapping paths: ${text}`);
    if (!projected) {
      return [
        ...warn(`ConfigMap ${quote(configMap?.name ?? "")}`, paths(configMap?.items)),
        ...warn(`Secret ${quote(secret?.secretName ?? "")}`, paths(secret?.items)),
        ...warn("DownwardAPI", paths(downwardAPI?.items)),
      ];
    }
    const sources = projected.sources ?? [];
    const empty = sources.filter((source) => Object.keys(source).length === 0);
    return [
      ...empty.map(() => `volume ${quote(name)} (Projected) has no sources provided`),
      ...warn("Projected", sources.flatMap(projectedPaths)),
    ];
  });
}

function projectedPaths(source: VolumeProjection): Entry[] {
  const { configMap, secret, downwardAPI, serviceAccountToken } = source;
  if (configMap?.items) return paths(configMap.items, `ConfigMap ${quote(configMap.name ?? "")}`);
  if (secret?.items) return paths(secret.items, `Secret ${quote(secret.name ?? "")}`);
  if (downwardAPI?.items) return paths(downwardAPI.items, "DownwardAPI");
  return serviceAccountToken ? [{ path: serviceAccountToken.path, source: "ServiceAccountToken" }] : [];
}
