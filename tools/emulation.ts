import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { baseImage } from "./base-image.ts";
import { ensureImage, type Image } from "./build-image.ts";
import { enginePlatform, type Platform } from "./platforms.ts";

/** QEMU from Debian's packages, in an image: nothing is installed on the machine. */
const emulation: Image = {
  names: ["k3ts/emulation"],
  dockerfile: "images/emulation/Dockerfile",
  context: "images/emulation",
  inputs: ["images/emulation"],
  basedOn: [baseImage],
};

/**
 * Does some work while the engine's kernel runs programs of these platforms, and gives back its result. A privileged container
 * registers QEMU with the kernel, unless the machine has it registered itself, and takes it back when the work is done or this
 * process is gone. Throws what the work throws, and an error when the kernel takes no emulators.
 */
export async function withEmulation<T>(
  platforms: readonly Platform[],
  say: (line: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  const own = await enginePlatform();
  const foreign = platforms.filter(({ name }) => name !== own.name);
  if (foreign.length === 0) return work();
  await ensureImage(emulation, say);
  const names = foreign.map(({ name }) => name).join(" and ");
  say(`Programs of ${names} run by QEMU for a while: a container of k3ts/emulation has the kernel do it.`);
  const child = spawn(
    "docker",
    [
      "run",
      "--rm",
      "-i",
      "--privileged",
      "--network=none",
      "k3ts/emulation",
      ...foreign.map((one) => one.architecture),
    ],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => resolve());
    child.on("error", (error) => {
      errors += error.message;
      resolve();
    });
  });
  try {
    const ready = await new Promise<boolean>((resolve) => {
      createInterface(child.stdout).on("line", (line) => (line === "ready" ? resolve(true) : say(line)));
      void ended.then(() => resolve(false));
    });
    if (!ready)
      throw new Error(`Register QEMU for ${names} on the engine's machine: from here it fails: ${errors.trim()}`);
    return await work();
  } finally {
    child.stdin.on("error", () => {});
    child.stdin.end();
    await ended;
  }
}
