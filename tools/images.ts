/**
 * Builds all images: `npm run images`. What an image is made from is hashed into its label `k3ts.inputs`; an image whose
 * label fits is not built again.
 */
import { createHash } from "node:crypto";
import { chmodSync, existsSync, globSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ListrTask } from "listr2";
import { version } from "../src/machinery/version.ts";
import { baseImage, ensureBaseImage } from "./base-image.ts";
import { bundle } from "./bundle.ts";
import { ensureEngine } from "./engine.ts";
import { run, tryRun } from "./run.ts";
import { runTasks } from "./tasks.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const inputsLabel = "k3ts.inputs";
/** The tag of this version, as K3s' images have it: "+" is not allowed in one. */
const versionTag = version.replace("+", "-");
const pauseNames = ["k3ts/pause:3.6", "rancher/mirrored-pause:3.6"];

interface Image {
  names: string[];
  dockerfile: string;
  context: string;
  target?: string;
  /** Files and folders below the root that the result depends on. */
  inputs: string[];
  /** Images that it builds on: theirs changed, it changes. */
  basedOn: string[];
  arguments?: Record<string, string>;
}

const runtime: Image = {
  names: ["k3ts/runtime"],
  dockerfile: "images/runtime/Dockerfile",
  context: "images/runtime",
  target: "runtime",
  inputs: ["images/runtime"],
  basedOn: [baseImage],
};
const packages: Image = { ...runtime, names: ["k3ts/packages"], target: "packages" };
const pause: Image = {
  names: pauseNames,
  dockerfile: "images/pause/Dockerfile",
  context: "images/pause",
  inputs: ["images/pause"],
  basedOn: [baseImage],
};
const loadBalancer: Image = {
  names: ["k3ts/loadbalancer", `k3ts/loadbalancer:${versionTag}`],
  dockerfile: "images/loadbalancer/Dockerfile",
  context: "images/loadbalancer",
  inputs: ["images/loadbalancer"],
  basedOn: [baseImage],
};
const testWeb: Image = {
  // With a tag of its own: Kubernetes pulls what has none ("latest") even where it is present.
  names: ["k3ts/test-web:1.0", "k3ts/test-web"],
  dockerfile: "images/test-web/Dockerfile",
  context: "images/test-web",
  inputs: ["images/test-web"],
  basedOn: [baseImage],
};
const testEntry: Image = {
  names: ["k3ts/test-entry:1.0"],
  dockerfile: "images/test-entry/Dockerfile",
  context: "images/test-entry",
  inputs: ["images/test-entry"],
  basedOn: ["k3ts/test-web:1.0"],
};
/** Only tests use them. */
const testDatabases: Image[] = ["etcd", "postgres", "mariadb"].map((target) => ({
  names: [`k3ts/test-${target}:1.0`],
  dockerfile: "images/test-databases/Dockerfile",
  context: "images/test-databases",
  target,
  inputs: ["images/test-databases"],
  basedOn: [baseImage],
}));
const nodeInputs = ["dist/k3ts", "dist/native", "dist/images", "images/warm-cache.sh"];
const agent: Image = {
  names: ["k3ts/agent", `k3ts/agent:${versionTag}`],
  dockerfile: "Dockerfile.agent",
  context: ".",
  inputs: ["Dockerfile.agent", ...nodeInputs],
  basedOn: ["k3ts/runtime"],
  arguments: { VERSION: version },
};
const server: Image = {
  names: ["k3ts/server", `k3ts/server:${versionTag}`],
  dockerfile: "Dockerfile.server",
  context: ".",
  inputs: ["Dockerfile.server", ...nodeInputs],
  basedOn: ["k3ts/runtime", "k3ts/packages"],
  arguments: { VERSION: version },
};

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

/** The steps that end with all images in the engine. */
export function imageTasks(): ListrTask[] {
  return [
    ...beginning,
    {
      title: "Parts",
      task: (_, task) =>
        task.newListr(
          [
            {
              title: "Node programs",
              task: async (_, task) => {
                // One after the other: the second finds the first's stage in the builder's cache.
                await ensureImage(packages, shownIn(task));
                await ensureImage(runtime, shownIn(task));
              },
            },
            {
              title: "Pause image",
              task: async (_, task) => savePause(await ensureImage(pause, shownIn(task))),
            },
            {
              title: "Load balancer",
              task: async (_, task) => void (await ensureImage(loadBalancer, shownIn(task))),
            },
            {
              title: "Test images",
              task: async (_, task) => {
                await ensureImage(testWeb, shownIn(task));
                await ensureImage(testEntry, shownIn(task));
              },
            },
            bundleTask,
          ],
          { concurrent: true },
        ),
    },
    {
      title: "Agent image",
      task: async (_, task) => void (await ensureImage(agent, shownIn(task))),
    },
    {
      title: "Server image",
      task: async (_, task) => void (await ensureImage(server, shownIn(task))),
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

/** Builds an image unless it is there and made from the same. Says whether it was built. */
async function ensureImage(image: Image, say: (line: string) => void): Promise<boolean> {
  const inputs = await hashInputs(image);
  const labels = await Promise.all(image.names.map(inputsOf));
  if (labels.every((label) => label === inputs)) return false;
  await run(
    "docker",
    [
      "build",
      "--progress=plain",
      ...(image.target ? ["--target", image.target] : []),
      ...Object.entries(image.arguments ?? {}).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`]),
      ...["--label", `${inputsLabel}=${inputs}`],
      ...image.names.flatMap((name) => ["-t", name]),
      ...["-f", image.dockerfile, image.context],
    ],
    // A builder's lines are for watching, not for a log.
    { cwd: root, env: { DOCKER_BUILDKIT: "1" }, ...(process.stdout.isTTY ? { onLine: say } : {}) },
  );
  return true;
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
    .update(JSON.stringify(image.arguments ?? {}))
    .digest("hex")
    .slice(0, 32);
}

/** Keeps the pause image as an archive that goes into the node images: a node needs it before it can pull anything. */
async function savePause(built: boolean): Promise<void> {
  const directory = join(root, "dist/images");
  const archive = join(directory, "pause.tar");
  if (!built && existsSync(archive)) return;
  mkdirSync(directory, { recursive: true });
  await run("docker", ["save", "-o", archive, ...pauseNames]);
  // The engine keeps what it saves for itself; every node may read it.
  chmodSync(archive, 0o644);
}

if (import.meta.main) await runTasks(imageTasks());
