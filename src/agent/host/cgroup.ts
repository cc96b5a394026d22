import { access, constants, mkdir, readFile, statfs, writeFile } from "node:fs/promises";

/** `v1` includes the hybrid layout, in which every controller lives in a hierarchy of its own. */
export type CgroupVersion = "v1" | "v2";

const cgroup2Magic = 0x63677270;
const defaultRoot = "/sys/fs/cgroup";

/** Which cgroup layout is mounted; `undefined` when none is. */
export async function cgroupVersion(root = defaultRoot): Promise<CgroupVersion | undefined> {
  try {
    if ((await statfs(root)).type === cgroup2Magic) return "v2";
    await access(`${root}/memory/cgroup.procs`, constants.R_OK);
    return "v1";
  } catch {
    return undefined;
  }
}

/** Whether new groups can be made: the mount is writable for this process. */
export async function cgroupWritable(version: CgroupVersion, root = defaultRoot): Promise<boolean> {
  try {
    await access(version === "v2" ? `${root}/cgroup.procs` : `${root}/memory/cgroup.procs`, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Controllers that can be used for pods: v2 reads cgroup.controllers, v1 the enabled rows of /proc/cgroups. */
export async function cgroupControllers(version: CgroupVersion, root = defaultRoot): Promise<string[]> {
  if (version === "v2") return words(await readFile(`${root}/cgroup.controllers`, "utf8"));
  const rows = (await readFile("/proc/cgroups", "utf8")).split("\n").filter((row) => row && !row.startsWith("#"));
  return rows
    .map((row) => row.split("\t"))
    .filter((row) => row[3] === "1")
    .map((row) => row[0]!);
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

/**
 * Prepares a cgroup v2 container's root for pods. A group that holds processes cannot hand controllers to its children,
 * and a container's processes start in what it sees as the root; so they move to `/init`, and every controller is
 * enabled for the children. Does nothing on v1, on a real machine's root (which is exempt from that rule), and when a
 * process outside the root calls it. Safe to call again.
 */
export async function prepareCgroupRoot(root = defaultRoot, selfCgroup = "/proc/self/cgroup"): Promise<void> {
  if ((await cgroupVersion(root)) !== "v2") return;
  const own = (await readFile(selfCgroup, "utf8"))
    .split("\n")
    .find((line) => line.startsWith("0::"))
    ?.slice(3);
  if (own !== "/" && own !== "/init") return;
  await evacuate(root);
  await enableControllers(root);
}

/** Moves every process of the root group into its child `init`. Exported for the test; see {@link prepareCgroupRoot}. */
export async function evacuate(root: string): Promise<void> {
  // The root of the whole machine has no cgroup.type and may keep its processes.
  if (!(await exists(`${root}/cgroup.type`))) return;
  await mkdir(`${root}/init`, { recursive: true });
  // A process that forks while its siblings are moved leaves a new one behind: repeat until none is there.
  for (let round = 0; round < 20; round++) {
    const pids = words(await readFile(`${root}/cgroup.procs`, "utf8"));
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        await writeFile(`${root}/init/cgroup.procs`, pid);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
  }
  throw new Error(`move processes from cgroup "${root}" to "${root}/init": new ones keep appearing`);
}

async function enableControllers(root: string): Promise<void> {
  const available = words(await readFile(`${root}/cgroup.controllers`, "utf8"));
  const enabled = new Set(words(await readFile(`${root}/cgroup.subtree_control`, "utf8")));
  const missing = available.filter((controller) => !enabled.has(controller));
  if (missing.length) await writeFile(`${root}/cgroup.subtree_control`, missing.map((name) => `+${name}`).join(" "));
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
