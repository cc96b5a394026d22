import { chmod, chown, lstat, mkdir, open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { HostPathVolumeSource } from "../../api/generated/core-v1.ts";

/** Checks (or makes) what a hostPath volume of this type wants to find. */
export async function checkHostPath({ path, type = "" }: HostPathVolumeSource): Promise<void> {
  let info = await stat(path).catch(() => undefined);
  if (!info && type === "DirectoryOrCreate") await mkdir(path, { recursive: true, mode: 0o755 });
  if (!info && type === "FileOrCreate") await (await open(path, "a", 0o644)).close();
  // Without a type the runtime makes a directory of what is missing.
  if (!info && type === "") await mkdir(path, { recursive: true, mode: 0o755 });
  info ??= await stat(path).catch(() => undefined);
  const fits: Record<string, (of: NonNullable<typeof info>) => boolean> = {
    "": () => true,
    Directory: (of) => of.isDirectory(),
    DirectoryOrCreate: (of) => of.isDirectory(),
    File: (of) => of.isFile(),
    FileOrCreate: (of) => of.isFile(),
    Socket: (of) => of.isSocket(),
    CharDevice: (of) => of.isCharacterDevice(),
    BlockDevice: (of) => of.isBlockDevice(),
  };
  const check = fits[type];
  if (!check) throw new Error(`hostPath type "${type}" is not known`);
  if (!info || !check(info)) throw new Error(`hostPath type check failed: ${path} is not a ${wordOf(type)}`);
}

function wordOf(type: string): string {
  return (
    {
      Socket: "socket file",
      CharDevice: "character device",
      BlockDevice: "block device",
      File: "file",
      FileOrCreate: "file",
    }[type] ?? "directory"
  );
}

/** Gives a tree to a group: it may read and write, and what is made in it stays the group's. */
export async function ownByGroup(path: string, gid: number): Promise<void> {
  const info = await lstat(path);
  if (info.isSymbolicLink()) return;
  if (info.gid !== gid) await chown(path, info.uid, gid);
  await chmod(path, (info.mode & 0o7777) | (info.isDirectory() ? 0o2770 : 0o660));
  if (info.isDirectory()) for (const name of await readdir(path)) await ownByGroup(join(path, name), gid);
}
