import { readFile } from "node:fs/promises";
import { run } from "./command.ts";

/** One line of /proc/self/mountinfo. */
export interface MountEntry {
  readonly id: number;
  readonly parentId: number;
  /** Path inside the mounted file system that forms the root of this mount. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  /** "shared:1", "master:2", "unbindable"; empty for a private mount. */
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** Spaces, tabs, newlines and backslashes stand as octal escapes in mountinfo. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Parses the text of a mountinfo file (proc_pid_mountinfo(5)). */
export function parseMountInfo(text: string): MountEntry[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [id, parentId, , root, target, options, ...rest] = line.split(" ");
      const dash = rest.indexOf("-");
      const [type, source, superOptions] = rest.slice(dash + 1);
      return {
        id: Number(id),
        parentId: Number(parentId),
        root: unescapeOctal(root!),
        target: unescapeOctal(target!),
        options: options!.split(","),
        propagation: rest.slice(0, dash),
        type: type!,
        source: unescapeOctal(source!),
        superOptions: superOptions!.split(","),
      };
    });
}

/** What is mounted in this process' mount namespace, in the kernel's order. */
export async function listMounts(): Promise<MountEntry[]> {
  return parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
}

/** The topmost mount at exactly this path, if there is one. */
export async function findMount(target: string): Promise<MountEntry | undefined> {
  return (await listMounts()).findLast((entry) => entry.target === target);
}

export interface MountRequest {
  /** "tmpfs", "overlay", …; absent for bind mounts. */
  readonly type?: string;
  readonly source: string;
  readonly target: string;
  /** "ro", "size=64m", "bind", "rbind", "rslave", … */
  readonly options?: readonly string[];
}

/** Mounts; throws `CommandError`. */
export async function mount({ type, source, target, options = [] }: MountRequest): Promise<void> {
  const args = [
    ...(type ? ["-t", type] : []),
    ...(options.length ? ["-o", options.join(",")] : []),
    "--",
    source,
    target,
  ];
  await run("mount", args);
}

/** Makes `source` visible at `target`; a read-only bind takes the second step that the kernel asks for. */
export async function bindMount(
  source: string,
  target: string,
  { recursive = true, readOnly = false }: { recursive?: boolean; readOnly?: boolean } = {},
): Promise<void> {
  await mount({ source, target, options: [recursive ? "rbind" : "bind"] });
  if (!readOnly) return;
  try {
    await run("mount", ["-o", "remount,bind,ro", "--", target]);
  } catch (error) {
    await umount(target);
    throw error;
  }
}

/** Takes the topmost mount at `target` away; a path that is no mount point is left alone. `lazy` detaches a busy one. */
export async function umount(target: string, { lazy = false }: { lazy?: boolean } = {}): Promise<void> {
  if (!(await findMount(target))) return;
  await run("umount", [...(lazy ? ["-l"] : []), "--", target]);
}

/** Takes away every mount at or below `path`, the deepest and newest first. */
export async function umountTree(path: string, options: { lazy?: boolean } = {}): Promise<void> {
  const targets = (await listMounts())
    .map((entry) => entry.target)
    .filter((target) => target === path || target.startsWith(`${path}/`));
  for (const target of targets.reverse()) await umount(target, options);
}

/**
 * Lets mounts made below `path` travel to and from containers (mount propagation needs a shared parent). Does nothing
 * when it is shared already.
 */
export async function makeShared(path: string): Promise<void> {
  const entry = await findMount(path);
  if (entry?.propagation.some((tag) => tag.startsWith("shared:"))) return;
  await run("mount", ["--make-rshared", path]);
}
