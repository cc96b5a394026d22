/** A snapshot's file by its name, `<base>-<node>-<unix time>[.zip]` (K3s' form). */
export interface SnapshotName {
  readonly name: string;
  /** Seconds since the epoch. */
  readonly createdAt: number;
  readonly compressed: boolean;
}

export const compressedExtension = ".zip";

export function snapshotName(base: string, nodeName: string, seconds: number): string {
  return `${base}-${nodeName}-${seconds}`;
}

/** Undefined for a file that does not end with a time. */
export function parseSnapshotName(name: string): SnapshotName | undefined {
  const [, seconds, extension] = /-(\d{1,12})(\.zip)?$/.exec(name) ?? [];
  if (seconds === undefined) return undefined;
  return { name, createdAt: Number(seconds), compressed: extension !== undefined };
}

/**
 * Of the files in a directory, the snapshots whose names begin with `base` that are more than the newest `retention`; none
 * when that is 0. Files that no snapshot is called like stay, whatever they begin with.
 */
export function beyondRetention(names: readonly string[], base: string, retention: number): readonly string[] {
  if (retention < 1) return [];
  return names
    .flatMap((name) => (name.startsWith(base) ? (parseSnapshotName(name) ?? []) : []))
    .sort((a, b) => b.createdAt - a.createdAt || (a.name < b.name ? 1 : -1))
    .slice(retention)
    .map(({ name }) => name);
}

/** Whether a name stays in its directory. */
export function isFileName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
}
