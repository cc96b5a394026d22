import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, normalize, sep } from "node:path";

export interface ProjectedFile {
  readonly data: Buffer;
  readonly mode: number;
  /** Owner, when it is not root. */
  readonly uid?: number | undefined;
}

const dataLink = "..data";

function checkPath(path: string): void {
  const clean = normalize(path);
  if (path === "" || path.startsWith("/") || clean.split(sep).includes("..") || path.startsWith(".."))
    throw new Error(`file path "${path}" must be relative and must not contain ".."`);
}

async function unchanged(directory: string, files: ReadonlyMap<string, ProjectedFile>): Promise<boolean> {
  const present: string[] = [];
  const walk = async (relative: string): Promise<void> => {
    for (const entry of await readdir(join(directory, relative), { withFileTypes: true })) {
      const path = relative === "" ? entry.name : `${relative}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else present.push(path);
    }
  };
  await walk("");
  if (present.length !== files.size) return false;
  for (const [path, { data, mode, uid = 0 }] of files) {
    const full = join(directory, path);
    const info = await stat(full).catch(() => undefined);
    if (!info || (info.mode & 0o777) !== (mode & 0o777) || info.uid !== uid) return false;
    if (!(await readFile(full)).equals(data)) return false;
  }
  return true;
}

/**
 * Makes `target` show exactly these files, switching from the old set to the new one in a single step, so that a reader
 * never sees a mixture: files are written to a new directory, and the link `..data` is moved to it. The names that users
 * see are links through `..data`. Returns whether anything changed. Paths use "/" and must stay below `target`.
 */
export async function writeAtomically(
  target: string,
  files: ReadonlyMap<string, ProjectedFile>,
  gid?: number,
): Promise<boolean> {
  for (const path of files.keys()) checkPath(path);
  const clean = new Map([...files].map(([path, file]) => [normalize(path), file]));
  const oldName = await readlink(join(target, dataLink)).catch(() => undefined);
  const oldDirectory = oldName && join(target, oldName);
  if (oldDirectory && (await unchanged(oldDirectory, clean).catch(() => false))) return false;

  const fresh = await mkdtemp(join(target, "..data_"));
  await chmod(fresh, 0o755);
  for (const [path, { data, mode, uid }] of clean) {
    const full = join(fresh, path);
    await mkdir(dirname(full), { recursive: true, mode: 0o755 });
    await writeFile(full, data);
    if (gid !== undefined || uid !== undefined) await chown(full, uid ?? 0, gid ?? 0);
    // After chown, and apart from writeFile: the process' umask must not take bits away.
    await chmod(full, mode);
  }
  const link = join(target, "..data_tmp");
  await rm(link, { force: true });
  await symlink(fresh.slice(target.length + 1), link);
  await rename(link, join(target, dataLink));

  const visible = new Set([...clean.keys()].map((path) => path.split("/")[0]!));
  for (const name of visible) {
    const path = join(target, name);
    if ((await readlink(path).catch(() => undefined)) === `${dataLink}/${name}`) continue;
    await rm(path, { recursive: true, force: true });
    await symlink(`${dataLink}/${name}`, path);
  }
  for (const name of await readdir(target)) {
    if (name === dataLink || visible.has(name) || join(target, name) === fresh) continue;
    await rm(join(target, name), { recursive: true, force: true });
  }
  return true;
}
