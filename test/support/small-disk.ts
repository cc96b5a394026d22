import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { TestContext } from "node:test";

/** A file system of its own, that a test can fill or hold up. */
export interface SmallDisk {
  /** Where it is mounted. */
  readonly path: string;
  /** Holds up whoever writes to it, as a disk does that does not answer, until {@link thaw}. ext4 only. */
  freeze(): void;
  thaw(): void;
  /** Makes it read-only, which succeeds only while nobody has a file open to write it. */
  makeReadOnly(): void;
  /** Makes the kernel take it for broken, upon which it turns read-only whoever uses it. ext4 only. */
  breakDown(): void;
}

function command(program: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr}`);
}

/** Why {@link mountSmallDisk} cannot work here; undefined when it can. */
export function noSmallDisk(kind: "tmpfs" | "ext4"): string | undefined {
  if (process.getuid?.() !== 0) return "only root can mount a file system";
  const directory = mkdtempSync(join(tmpdir(), "k3ts-disk-"));
  try {
    mountOn(kind, directory, 8);
    spawnSync("umount", [join(directory, "mounted")]);
    return undefined;
  } catch (error) {
    return `no ${kind} can be mounted here: ${(error as Error).message}`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function mountOn(kind: "tmpfs" | "ext4", directory: string, megabytes: number): string {
  const path = join(directory, "mounted");
  mkdirSync(path);
  if (kind === "tmpfs") {
    command("mount", "-t", "tmpfs", "-o", `size=${megabytes}m`, "k3ts-test", path);
    return path;
  }
  const image = join(directory, "image");
  command("truncate", "-s", `${megabytes}M`, image);
  command("mkfs.ext4", "-q", image);
  command("mount", "-o", "loop,errors=remount-ro", image, path);
  return path;
}

/** Mounts an empty file system until the test ends. Whoever uses it has to have ended by then. */
export function mountSmallDisk(t: TestContext, kind: "tmpfs" | "ext4", megabytes: number): SmallDisk {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-disk-"));
  const path = mountOn(kind, directory, megabytes);
  let frozen = false;
  const thaw = () => {
    if (frozen) command("fsfreeze", "-u", path);
    frozen = false;
  };
  const remove = () => {
    process.off("exit", remove);
    thaw();
    // A server that was killed may take a moment to let go of its files.
    spawnSync("umount", ["-l", path]);
    rmSync(directory, { recursive: true, force: true });
  };
  process.once("exit", remove);
  t.after(remove);
  return {
    path,
    freeze: () => {
      command("fsfreeze", "-f", path);
      frozen = true;
    },
    thaw,
    makeReadOnly: () => command("mount", "-o", "remount,ro", path),
    breakDown: () => {
      const { stdout } = spawnSync("findmnt", ["-n", "-o", "SOURCE", path], { encoding: "utf8" });
      writeFileSync(`/sys/fs/ext4/${basename(stdout.trim())}/trigger_fs_error`, "test");
    },
  };
}
