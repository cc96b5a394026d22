import { constants } from "node:fs";
import { chmod, type FileHandle, lstat, mkdir, open, realpath, rm, writeFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { run } from "../host/command.ts";
import { umount } from "../host/mount.ts";

/** A handle that only names a file; opening it has no effect on devices and pipes. Node has no name for it. */
const O_PATH = 0o10000000;

/** A subPath that is refused; its text is for the pod's events. */
export class SubPathError extends Error {}

/**
 * Binds what `subPath` names inside the volume at `root` to `target`, and returns `target`. Containers that share the
 * volume may change it at any moment, so the path is walked one component at a time, from handle to handle, without
 * following links, and the file that was reached is bound through its handle. Links that stay inside the volume are
 * resolved before; one that appears afterwards is refused. A missing directory is made. Throws {@link SubPathError}.
 */
export async function bindSubPath(root: string, subPath: string, target: string): Promise<string> {
  const handle = await openInside(root, subPath);
  try {
    const isDirectory = (await handle.stat()).isDirectory();
    await umount(target, { lazy: true });
    await rm(target, { recursive: true, force: true });
    await mkdir(isDirectory ? target : dirname(target), { recursive: true, mode: 0o750 });
    if (!isDirectory) await writeFile(target, "");
    // Of our process: "self" would be the one that mounts.
    const source = `/proc/${process.pid}/fd/${handle.fd}`;
    await run("mount", ["--no-canonicalize", "-o", "bind", "--", source, target]);
    return target;
  } finally {
    await handle.close();
  }
}

/** Opens (O_PATH) what a relative path names inside `root`, making missing directories. Throws {@link SubPathError}. */
export async function openInside(root: string, path: string): Promise<FileHandle> {
  if (path.startsWith("/") || path.split("/").includes(".."))
    throw new SubPathError(`subPath "${path}" must be relative and must not contain ".."`);
  const base = await realpath(root);
  const { present, missing } = await resolved(base, path);
  const outside = relative(base, present);
  if (outside === ".." || outside.startsWith("../"))
    throw new SubPathError(`subPath "${path}" leads out of its volume`);
  let handle = await open(base, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  // With the group that is inherited, where there is one (fsGroup).
  const mode = (await handle.stat()).mode & 0o2777;
  const components = [...outside.split("/"), ...missing].filter((name) => name !== "");
  for (const name of components) {
    const parent = handle;
    // The path of a directory's handle leads to that very directory, wherever it has been moved to.
    const child = `/proc/self/fd/${parent.fd}/${name}`;
    let made = false;
    try {
      if (missing.length > 0) made = await makeMissing(child);
      handle = await open(child, O_PATH | constants.O_NOFOLLOW);
    } finally {
      await parent.close();
    }
    if ((await handle.stat()).isSymbolicLink()) {
      await handle.close();
      throw new SubPathError(`subPath "${path}" was changed to a link while it was resolved`);
    }
    // As open as the volume, whatever this process's mask keeps back: its users are not root.
    if (made) await chmod(`/proc/self/fd/${handle.fd}`, mode);
  }
  return handle;
}

/** Makes a directory; false when something is there already. */
async function makeMissing(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  }
}

/** The part of a path that is there, with its links resolved, and the names that are not there yet. */
async function resolved(base: string, path: string): Promise<{ present: string; missing: string[] }> {
  let present = resolve(base, path);
  const missing: string[] = [];
  while (present !== base && !(await lstat(present).catch(() => undefined))) {
    missing.unshift(present.slice(present.lastIndexOf("/") + 1));
    present = dirname(present);
  }
  return { present: await realpath(present), missing };
}
