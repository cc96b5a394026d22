import { readFile, writeFile } from "node:fs/promises";

const root = "/proc/sys";

/**
 * Reads a kernel parameter. The path uses slashes ("net/ipv4/conf/eth0.1/rp_filter"), because interface names may hold
 * dots. Gives `undefined` when the kernel does not know it (a module that is not loaded, for example).
 */
export async function readSysctl(path: string): Promise<string | undefined> {
  try {
    return (await readFile(`${root}/${path}`, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Sets a kernel parameter unless it has that value already (some are read-only in a container and right as they are).
 * Throws an error that names the parameter, its present and its wanted value.
 */
export async function writeSysctl(path: string, value: string): Promise<void> {
  const present = await readSysctl(path);
  if (present === value) return;
  try {
    await writeFile(`${root}/${path}`, value);
  } catch (cause) {
    const from = present === undefined ? "it does not exist" : `it is "${present}"`;
    throw new Error(
      `set kernel parameter "${path.replaceAll("/", ".")}" to "${value}": ${from}: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
}
