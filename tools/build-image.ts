import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Platform } from "./platforms.ts";
import { run, tryRun } from "./run.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** What an image is made from is hashed into this label; an image whose label fits is not built again. */
export const inputsLabel = "k3ts.inputs";

export interface Image {
  names: string[];
  /** What it is for; without it, what the engine runs. */
  platform?: Platform;
  dockerfile: string;
  context: string;
  target?: string;
  /** Further folders that its Dockerfile copies from, by the names that it has for them. */
  contexts?: Record<string, string>;
  /** Files and folders below the root that the result depends on. */
  inputs: string[];
  /** Images that it builds on: theirs changed, it changes. */
  basedOn: string[];
  arguments?: Record<string, string>;
}

/** Whether the image is there and made from what it would be made from now. */
export async function isBuilt(image: Image): Promise<boolean> {
  return holds(image, await hashInputs(image));
}

/** Builds an image unless it is there and made from the same. Says whether it was built. Throws when that fails. */
export async function ensureImage(image: Image, say: (line: string) => void): Promise<boolean> {
  const inputs = await hashInputs(image);
  if (await holds(image, inputs)) return false;
  const named = (option: string, values: Record<string, string> = {}) =>
    Object.entries(values).flatMap(([name, value]) => [option, `${name}=${value}`]);
  await run(
    "docker",
    [
      "build",
      "--progress=plain",
      ...(image.platform ? ["--platform", image.platform.name] : []),
      ...(image.target ? ["--target", image.target] : []),
      ...named("--build-arg", image.arguments),
      ...named("--build-context", image.contexts),
      ...["--label", `${inputsLabel}=${inputs}`],
      ...image.names.flatMap((name) => ["-t", name]),
      ...["-f", image.dockerfile, image.context],
    ],
    // A builder's lines are for watching, not for a log.
    { cwd: root, env: { DOCKER_BUILDKIT: "1" }, ...(process.stdout.isTTY ? { onLine: say } : {}) },
  );
  return true;
}

async function holds(image: Image, inputs: string): Promise<boolean> {
  const labels = await Promise.all(image.names.map(inputsOf));
  return labels.every((label) => label === inputs);
}

async function inputsOf(name: string): Promise<string | undefined> {
  const { code, stdout } = await tryRun("docker", [
    "image",
    "inspect",
    "--format",
    `{{or (index .Config.Labels "${inputsLabel}") .Id}}`,
    name,
  ]);
  return code === 0 ? stdout.trim() : undefined;
}

async function hashInputs(image: Image): Promise<string> {
  const hash = createHash("sha256");
  for (const input of image.inputs) {
    const path = join(root, input);
    if (!existsSync(path)) throw new Error(`Build "${input}" first: ${image.names[0]} is made from it.`);
    const files = statSync(path).isDirectory() ? globSync("**/*", { cwd: path }).sort() : [""];
    for (const file of files) {
      const full = join(path, file);
      if (statSync(full).isFile()) hash.update(`${input}/${file}\n`).update(readFileSync(full));
    }
  }
  for (const name of image.basedOn) hash.update(`${await inputsOf(name)}\n`);
  return hash
    .update(JSON.stringify([image.arguments ?? {}, image.platform?.name]))
    .digest("hex")
    .slice(0, 32);
}
