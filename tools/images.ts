/**
 * Builds all images: `npm run images`, for what the engine runs on. `npm run images -- --platform
 * linux/amd64,linux/arm64,linux/arm/v7` builds those of a node for each of these, and one archive of all for each image.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { ListrTask } from "listr2";
import { version } from "../src/machinery/version.ts";
import { ensureBaseImage } from "./base-image.ts";
import { ensureImage, type Image, inputsLabel, isBuilt } from "./build-image.ts";
import { addonName, bundle } from "./bundle.ts";
import { withEmulation } from "./emulation.ts";
import { ensureEngine } from "./engine.ts";
import {
  imagesFor,
  loadBalancer,
  type PlatformImages,
  pauseNames,
  testDatabases,
  testImages,
  versionTag,
} from "./image-list.ts";
import { saveImage, writeOciLayout } from "./oci-layout.ts";
import { enginePlatform, type Platform, parsePlatforms } from "./platforms.ts";
import { run } from "./run.ts";
import { runTasks } from "./tasks.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Bundles the program alone. */
export const bundleTask: ListrTask = { title: "Bundle", task: makeBundle };

/** An engine, and in it the image that all others build on. */
const beginning: ListrTask[] = [
  {
    title: "Docker Engine",
    task: (_, task) => ensureEngine({ say: shownIn(task) }).then(() => {}),
  },
  { title: "Base image", task: (_, task) => ensureBaseImage({ say: shownIn(task) }) },
];

/** The steps that end with the images of `test/support/database.ts` in the engine. */
export function databaseImageTasks(): ListrTask[] {
  return [
    ...beginning,
    {
      title: "Databases for tests",
      task: async (_, task) => {
        // One after the other: they share their first stage.
        for (const image of testDatabases) await ensureImage(image, shownIn(task));
      },
    },
  ];
}

/**
 * The steps that end with all images for what the engine runs on in the engine; or, where platforms are named, with the images
 * of a node for each of these.
 */
export function imageTasks(wanted?: readonly Platform[]): ListrTask[] {
  const each = async (tasks: (images: PlatformImages, suffix: string) => ListrTask[]) =>
    (await imagesOf(wanted)).flatMap((images) => tasks(images, wanted ? `, ${images.platform.name}` : ""));
  return [
    ...beginning,
    {
      title: "Parts",
      task: async (_, task) =>
        task.newListr([...(await each(partTasks)), ...(wanted ? [] : helperTasks), bundleTask], {
          concurrent: wanted ? 3 : true,
        }),
    },
    {
      title: "Images",
      task: async (_, task) => task.newListr(await each(nodeTasks), { concurrent: wanted ? 2 : false }),
    },
    // What earlier builds made and nothing names any more.
    {
      title: "Old images",
      task: () =>
        run("docker", ["image", "prune", "-f", "--filter", `label=${inputsLabel}`]).then(
          () => {},
          (error: Error) => {
            // Somebody else tidies up at this moment; that will do.
            if (!error.message.includes("prune operation is already running")) throw error;
          },
        ),
    },
  ];
}

/** The step that writes `dist/images-oci/`: for each image of a node one archive of all these platforms. */
export function archiveTask(platforms: readonly Platform[]): ListrTask {
  return {
    title: "Archives",
    task: async (_, task) => {
      const scratch = mkdtempSync(join(tmpdir(), "k3ts-layers-"));
      try {
        const images = await imagesOf(platforms);
        for (const role of ["agent", "server"] as const) {
          const file = `dist/images-oci/${role}.tar`;
          task.output = `Writing ${file}`;
          const name = `k3ts/${role}:${versionTag}`;
          await writeArchive(
            file,
            [name],
            images.map((each) => ({ image: each[role], names: [`${name}-${each.platform.architecture}`] })),
            scratch,
          );
        }
      } finally {
        rmSync(scratch, { recursive: true, force: true });
      }
    },
  };
}

async function imagesOf(platforms?: readonly Platform[]): Promise<PlatformImages[]> {
  const own = await enginePlatform();
  return (platforms ?? [own]).map((platform) => imagesFor(platform, platform.name === own.name));
}

/** What no node runs, but its cluster or its tests do. */
const helperTasks: ListrTask[] = [
  {
    title: "Load balancer",
    task: async (_, task) => void (await ensureImage(loadBalancer, shownIn(task))),
  },
  {
    title: "Test images",
    task: async (_, task) => {
      for (const image of testImages) await ensureImage(image, shownIn(task));
    },
  },
];

/** Everything that a platform's images of a node are made from, but the bundle. */
function partTasks(images: PlatformImages, suffix: string): ListrTask[] {
  const { platform } = images;
  return [
    {
      title: `Node programs${suffix}`,
      task: async (_, task) => {
        // One after the other: the second finds the first's stage in the builder's cache.
        for (const image of images.runtimes) await ensureImage(image, shownIn(task));
      },
    },
    {
      title: `Pause image${suffix}`,
      task: async (_, task) => savePause(images, await ensureImage(images.pause, shownIn(task))),
    },
    {
      title: `SQLite's addon${suffix}`,
      enabled: () => !existsSync(join(root, `node_modules/better-sqlite3/prebuilds/linux-${platform.node}.node`)),
      task: async (_, task) => saveAddon(images, await ensureImage(images.sqliteAddon, shownIn(task))),
    },
  ];
}

function nodeTasks(images: PlatformImages, suffix: string): ListrTask[] {
  const build = (image: Image): ListrTask["task"] => {
    return async (_, task) => {
      if (await isBuilt(image)) return;
      // They compile the program on the platform's own Node: the one step that runs another architecture's code.
      await withEmulation([images.platform], shownIn(task), () => ensureImage(image, shownIn(task)));
    };
  };
  return [
    { title: `Agent image${suffix}`, task: build(images.agent) },
    { title: `Server image${suffix}`, task: build(images.server) },
  ];
}

/** Shows lines as what the task does at the moment. */
function shownIn(task: { output: string }): (line: string) => void {
  return (line) => {
    if (line.trim() !== "") task.output = line;
  };
}

async function makeBundle(): Promise<void> {
  await run(process.execPath, ["tools/generate.ts"], { cwd: root });
  await bundle();
}

/** Keeps the pause image as an archive that goes into the node images: a node needs it before it can pull anything. */
async function savePause({ platform, pause }: PlatformImages, built: boolean): Promise<void> {
  const file = `dist/images/${platform.architecture}/pause.tar`;
  if (!built && existsSync(join(root, file))) return;
  const scratch = mkdtempSync(join(tmpdir(), "k3ts-layers-"));
  try {
    await writeArchive(file, pauseNames, [{ image: pause, names: pauseNames }], scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Puts the addon where the bundle's other ones are. */
async function saveAddon({ platform, sqliteAddon }: PlatformImages, built: boolean): Promise<void> {
  const directory = join(root, "dist/native", platform.architecture);
  if (!built && existsSync(join(directory, addonName))) return;
  mkdirSync(directory, { recursive: true });
  const container = await run("docker", ["create", sqliteAddon.names[0]!, "no command"]);
  try {
    await run("docker", ["cp", `${container}:/${addonName}`, directory]);
  } finally {
    await run("docker", ["rm", container]);
  }
}

/** Writes an archive below the root from images in the engine; `scratch` is for what several archives have in common. */
async function writeArchive(
  file: string,
  names: readonly string[],
  images: readonly { image: Image; names: readonly string[] }[],
  scratch: string,
): Promise<void> {
  const saved = images.map(({ names }, at) => ({ saved: mkdtempSync(join(scratch, `image-${at}-`)), names }));
  for (const [at, { image }] of images.entries()) await saveImage(image.names[0]!, saved[at]!.saved);
  await writeOciLayout({
    file: join(root, file),
    names,
    images: saved,
    scratch,
    annotations: { "org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "Apache-2.0" },
  });
}

if (import.meta.main) {
  let platforms: Platform[] | undefined;
  try {
    const { platform } = parseArgs({ options: { platform: { type: "string" } } }).values;
    if (platform !== undefined) platforms = parsePlatforms(platform);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(64);
  }
  await runTasks(platforms ? [...imageTasks(platforms), archiveTask(platforms)] : imageTasks());
}
