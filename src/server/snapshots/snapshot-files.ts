import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { badRequest } from "../../machinery/status.ts";
import { beyondRetention, compressedExtension, isFileName, parseSnapshotName } from "./snapshot-name.ts";

/** A snapshot that lies on this server. */
export interface SnapshotFile {
  readonly name: string;
  /** "file:///var/lib/rancher/k3s/server/db/snapshots/…" */
  readonly location: string;
  readonly bytes: number;
  /** Milliseconds since the epoch. */
  readonly createdMs: number;
}

/** What a snapshot is called until it is whole. Servers may share a directory, so it is told whose it is. */
export function unfinishedName(nodeName: string, name: string): string {
  return `.unfinished@${nodeName}@${name}`;
}

/**
 * The directory of the snapshots. The default one is made; one that the user names has to be there (K3s' rule: a disk that
 * is not mounted is not written beside).
 * @throws 400 when it is not there
 */
export function snapshotDirectory(serverDirectory: string, named: string | undefined): string {
  if (!named) {
    const directory = join(serverDirectory, "db", "snapshots");
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return directory;
  }
  if (!statSync(named, { throwIfNoEntry: false })?.isDirectory())
    throw badRequest(`the directory of snapshots "${named}" is not there; make it, or leave --etcd-snapshot-dir out`);
  return named;
}

/** All snapshots of a directory, the oldest first. */
export function listSnapshots(directory: string): SnapshotFile[] {
  return fileNames(directory)
    .flatMap((name) => {
      const location = join(directory, name);
      const found = statSync(location, { throwIfNoEntry: false });
      // Servers that share the directory may have removed it meanwhile.
      if (!found) return [];
      const seconds = parseSnapshotName(name)?.createdAt ?? Math.floor(found.mtimeMs / 1000);
      return { name, location: `file://${location}`, bytes: found.size, createdMs: seconds * 1000 };
    })
    .sort((a, b) => a.createdMs - b.createdMs || (a.name < b.name ? -1 : 1));
}

/**
 * Removes snapshots by their names.
 * @returns the names of those that were there
 * @throws 400 when a name leads out of the directory, before anything is removed
 */
export function deleteSnapshots(directory: string, names: readonly string[]): string[] {
  const outside = names.find((name) => !isFileName(name));
  if (outside !== undefined)
    throw badRequest(`invalid snapshot name ${JSON.stringify(outside)}: path traversal not allowed`);
  const there = new Set(fileNames(directory));
  const found = [...new Set(names)].filter((name) => there.has(name));
  for (const name of found) rmSync(join(directory, name), { force: true });
  return found;
}

/** Removes what is more than the newest `retention` of the snapshots whose names begin with `base`. @returns their names */
export function pruneSnapshots(directory: string, base: string, retention: number): readonly string[] {
  const superfluous = beyondRetention(fileNames(directory), base, retention);
  // Servers that share the directory and a schedule remove the same ones at the same moment.
  for (const name of superfluous) rmSync(join(directory, name), { force: true });
  return superfluous;
}

/** The first second from `seconds` on that no snapshot of that name is of. */
export function freeSecond(directory: string, nameOf: (seconds: number) => string, seconds: number): number {
  const isTaken = (second: number) =>
    ["", compressedExtension].some((extension) => existsSync(join(directory, nameOf(second) + extension)));
  let free = seconds;
  while (isTaken(free)) free++;
  return free;
}

/** Removes what this node's snapshots that were cut off have left. */
export function removeUnfinished(directory: string, nodeName: string): void {
  for (const name of readdirSync(directory))
    if (name.startsWith(unfinishedName(nodeName, ""))) rmSync(join(directory, name), { force: true });
}

function fileNames(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
    .map(({ name }) => name);
}
