import { run } from "./run.ts";

/** One of the architectures that images are built for, with its names in the places where it is spoken of. */
export interface Platform {
  /** As Docker and registries write it. */
  name: string;
  /** As Docker's TARGETARCH, and in tags. */
  architecture: string;
  debian: string;
  /** What names of GNU's tools begin with. */
  gnu: string;
  node: string;
}

export const platforms: readonly Platform[] = [
  { name: "linux/amd64", architecture: "amd64", debian: "amd64", gnu: "x86_64-linux-gnu", node: "x64" },
  { name: "linux/arm64", architecture: "arm64", debian: "arm64", gnu: "aarch64-linux-gnu", node: "arm64" },
  { name: "linux/arm/v7", architecture: "arm", debian: "armhf", gnu: "arm-linux-gnueabihf", node: "arm" },
];

/** The platforms that a list of names with commas means, each once. Throws an error that names one that is unknown. */
export function parsePlatforms(text: string): Platform[] {
  const wanted = new Set<Platform>();
  for (const name of text.split(",").map((name) => name.trim())) {
    const found = platforms.find(
      (platform) => platform.name === name || (name === "linux/arm64/v8" && platform.architecture === "arm64"),
    );
    if (!found)
      throw new Error(`Unknown platform "${name}"; there are ${platforms.map(({ name }) => name).join(", ")}.`);
    wanted.add(found);
  }
  return [...wanted];
}

/** What the engine runs without emulation. Throws when no image is built for that. */
export async function enginePlatform(): Promise<Platform> {
  const architecture = await run("docker", ["version", "--format", "{{.Server.Arch}}"]);
  const found = platforms.find((platform) => platform.architecture === architecture);
  if (!found) {
    throw new Error(
      `Use a Docker Engine on ${platforms.map(({ name }) => name).join(", ")}: this one runs on "${architecture}", for which there are no images.`,
    );
  }
  return found;
}
