import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { parse, stringify } from "yaml";

interface Named {
  name: string;
}

/** A kubeconfig file, as far as merging has to know it; everything else in it is kept as it is. */
export interface KubeconfigFile {
  apiVersion: string;
  kind: string;
  clusters: (Named & { cluster: { server?: string } & Record<string, unknown> })[];
  users: (Named & { user: Record<string, unknown> })[];
  contexts: (Named & { context: { cluster: string; user: string; namespace?: string } })[];
  "current-context"?: string;
  [key: string]: unknown;
}

/** Where kubectl reads its configuration: the first file of $KUBECONFIG, or ~/.kube/config. */
export function defaultKubeconfigPath(environment: NodeJS.ProcessEnv): string {
  return environment["KUBECONFIG"]?.split(delimiter).find(Boolean) ?? join(homedir(), ".kube", "config");
}

/** The node's kubeconfig as a client outside needs it: another name than `default`, and a URL that it can reach. */
export function adaptKubeconfig(text: string, name: string, server: string): KubeconfigFile {
  const file = parse(text) as KubeconfigFile;
  return {
    ...file,
    clusters: file.clusters.map(({ cluster }) => ({ name, cluster: { ...cluster, server } })),
    users: file.users.map(({ user }) => ({ name, user })),
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  };
}

/** Adds the entries of one kubeconfig to another, replacing those of the same names. */
export function mergeKubeconfig(into: KubeconfigFile, added: KubeconfigFile, switchContext: boolean): KubeconfigFile {
  const merge = <T extends Named>(old: T[] | null | undefined, fresh: T[]): T[] => [
    ...(old ?? []).filter(({ name }) => !fresh.some((entry) => entry.name === name)),
    ...fresh,
  ];
  const current = switchContext || !into["current-context"] ? added["current-context"] : into["current-context"];
  return {
    ...into,
    clusters: merge(into.clusters, added.clusters),
    users: merge(into.users, added.users),
    contexts: merge(into.contexts, added.contexts),
    ...(current ? { "current-context": current } : {}),
  };
}

/** Takes everything called `name` out again. */
export function removeFromKubeconfig(file: KubeconfigFile, name: string): KubeconfigFile {
  const without = <T extends Named>(entries: T[] | null | undefined): T[] =>
    (entries ?? []).filter((entry) => entry.name !== name);
  const { "current-context": current, ...rest } = file;
  return {
    ...rest,
    clusters: without(file.clusters),
    users: without(file.users),
    contexts: without(file.contexts),
    "current-context": current === name ? "" : (current ?? ""),
  } as KubeconfigFile;
}

const empty = (): KubeconfigFile => ({ apiVersion: "v1", kind: "Config", clusters: [], users: [], contexts: [] });

/** @throws when the file is there and is no kubeconfig: it is never overwritten then */
export function readKubeconfigFile(path: string): KubeconfigFile {
  if (!existsSync(path)) return empty();
  let parsed: unknown;
  try {
    parsed = parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`cannot parse kubeconfig "${path}": ${(error as Error).message}; mend or move it`);
  }
  if (parsed === null || parsed === undefined) return empty();
  if (typeof parsed !== "object" || Array.isArray(parsed))
    throw new Error(`"${path}" is not a kubeconfig; mend or move it`);
  return { ...empty(), ...(parsed as KubeconfigFile) };
}

/** Replaces the file in one step, readable by its owner only. */
export function writeKubeconfigFile(path: string, file: KubeconfigFile): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.k3ts-${process.pid}`;
  const handle = openSync(temporary, "w", 0o600);
  try {
    // Not `writeSync`: a disk that gets full takes a part of what that is given, and says nothing.
    writeFileSync(handle, stringify(file, { lineWidth: 0 }));
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(temporary, path);
}

export function printKubeconfig(file: KubeconfigFile): string {
  return stringify(file, { lineWidth: 0 });
}
