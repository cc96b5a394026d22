import { chmod, chown, lstat, mkdir, open, readdir, realpath, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type {
  DownwardAPIVolumeFile,
  HostPathVolumeSource,
  KeyToPath,
  Pod,
  Volume,
  VolumeMount,
  VolumeProjection,
} from "../../api/generated/core-v1.ts";
import type { Clock } from "../../machinery/clock.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { Mount } from "../containerd/cri-messages.ts";
import { findMount, mount, umountTree } from "../host/mount.ts";
import { type ProjectedFile, writeAtomically } from "./atomic-writer.ts";
import { type EnvironmentSources, expand, podField, resourceField } from "./environment.ts";
import { type AnyContainer, uidOf } from "./pod-facts.ts";
import type { ReferencedObjects, ServiceAccountToken } from "./referenced-objects.ts";

export interface PodVolumesOptions {
  /** /var/lib/kubelet */
  readonly rootDir: string;
  readonly objects: ReferencedObjects;
  readonly clock: Clock;
}

/** How long changes of ConfigMaps and Secrets take to reach volumes at most. */
const refreshMs = 60_000;
const defaultTokenSeconds = 3600;

/** A volume that cannot be set up; its event is FailedMount. */
export class VolumeError extends Error {}

const pluginDirs = {
  emptyDir: "kubernetes.io~empty-dir",
  configMap: "kubernetes.io~configmap",
  secret: "kubernetes.io~secret",
  projected: "kubernetes.io~projected",
  downwardAPI: "kubernetes.io~downward-api",
} as const;

/** The directory of a pod below the kubelet's root. */
export function podDirectory(rootDir: string, uid: string): string {
  return join(rootDir, "pods", uid);
}

/** The volumes of one pod: set up before its containers, kept fresh, taken down after them. */
export class PodVolumes {
  readonly #options: PodVolumesOptions;
  readonly #directory: string;
  readonly #paths = new Map<string, string>();
  readonly #readOnly = new Set<string>();
  readonly #tokens = new Map<string, ServiceAccountToken & { refreshAtMs: number }>();
  #refreshAtMs = 0;
  #stale = false;

  constructor(uid: string, options: PodVolumesOptions) {
    this.#options = options;
    this.#directory = podDirectory(options.rootDir, uid);
  }

  /** When {@link prepare} has something to refresh; Infinity: never. */
  get refreshAtMs(): number {
    return this.#refreshAtMs;
  }

  /** The pod has changed: what its volumes show of it, and what it refers to, is looked at again with {@link prepare}. */
  invalidate(): void {
    this.#stale = true;
  }

  /** Sets up what is not there yet and refreshes what came from the API. Throws {@link VolumeError}. */
  async prepare(pod: Pod, sources: EnvironmentSources): Promise<void> {
    const nowMs = this.#options.clock.now();
    if (!this.#stale && this.#paths.size > 0 && nowMs < this.#refreshAtMs) return;
    this.#stale = false;
    let refreshAtMs = Number.POSITIVE_INFINITY;
    for (const volume of pod.spec!.volumes ?? []) {
      try {
        const dynamic = await this.#setUp(pod, volume, sources);
        if (dynamic) refreshAtMs = Math.min(refreshAtMs, nowMs + refreshMs);
      } catch (error) {
        throw new VolumeError(`MountVolume.SetUp failed for volume "${volume.name}" : ${(error as Error).message}`);
      }
    }
    for (const { refreshAtMs: atMs } of this.#tokens.values()) refreshAtMs = Math.min(refreshAtMs, atMs);
    this.#refreshAtMs = refreshAtMs;
  }

  /** Where a volume is on the node. */
  path(name: string): string {
    const path = this.#paths.get(name);
    if (path === undefined) throw new VolumeError(`volume "${name}" is not set up`);
    return path;
  }

  /** The mounts of a container. `environment` serves subPathExpr. */
  async mounts(pod: Pod, container: AnyContainer, environment: ReadonlyMap<string, string>): Promise<Mount[]> {
    const result: Mount[] = [];
    for (const volumeMount of container.volumeMounts ?? []) {
      const volume = pod.spec!.volumes?.find(({ name }) => name === volumeMount.name);
      if (!volume) throw new VolumeError(`volume "${volumeMount.name}" is not defined in the pod`);
      result.push({
        containerPath: volumeMount.mountPath.startsWith("/") ? volumeMount.mountPath : `/${volumeMount.mountPath}`,
        hostPath: await this.#source(this.path(volumeMount.name), volumeMount, environment),
        readonly: volumeMount.readOnly === true || this.#readOnly.has(volumeMount.name),
        propagation: propagationOf(volumeMount),
        recursiveReadOnly: volumeMount.recursiveReadOnly === "Enabled",
      });
    }
    return result;
  }

  /** Unmounts and removes everything below the pod's directory. */
  async tearDown(): Promise<void> {
    await removePodDirectory(this.#directory);
    this.#paths.clear();
    this.#tokens.clear();
  }

  async #source(root: string, volumeMount: VolumeMount, environment: ReadonlyMap<string, string>): Promise<string> {
    const subPath = volumeMount.subPathExpr ? expand(volumeMount.subPathExpr, environment) : volumeMount.subPath;
    if (!subPath) return root;
    if (subPath.startsWith("/") || subPath.split("/").includes(".."))
      throw new VolumeError(`subPath "${subPath}" must be relative and must not contain ".."`);
    const base = await realpath(root);
    const wanted = join(base, subPath);
    if (!(await lstat(wanted).catch(() => undefined))) {
      // The parent must not lead out of the volume through a link that a container planted.
      let parent = dirname(wanted);
      while (!(await lstat(parent).catch(() => undefined))) parent = dirname(parent);
      inside(base, await realpath(parent), subPath);
      const { mode } = await stat(base);
      // As open as the volume, whatever this process's mask keeps back: its users are not root.
      const made = await mkdir(wanted, { recursive: true });
      for (let path = wanted; made && path.startsWith(made); path = dirname(path)) await chmod(path, mode & 0o777);
    }
    const resolved = await realpath(wanted);
    inside(base, resolved, subPath);
    return resolved;
  }

  /** Sets one volume up; true when its content has to be refreshed. */
  async #setUp(pod: Pod, volume: Volume, sources: EnvironmentSources): Promise<boolean> {
    const gid = pod.spec!.securityContext?.fsGroup;
    const at = (plugin: keyof typeof pluginDirs) => {
      const path = join(this.#directory, "volumes", pluginDirs[plugin], volume.name);
      this.#paths.set(volume.name, path);
      return path;
    };
    if (volume.emptyDir) {
      const path = join(this.#directory, "volumes", pluginDirs.emptyDir, volume.name);
      if (this.#paths.has(volume.name)) return false;
      await emptyDirectory(path, volume.emptyDir.medium ?? "", volume.emptyDir.sizeLimit, gid);
      this.#paths.set(volume.name, path);
      return false;
    }
    if (volume.hostPath) {
      await checkHostPath(volume.hostPath);
      this.#paths.set(volume.name, volume.hostPath.path);
      return false;
    }
    if (volume.persistentVolumeClaim) {
      if (this.#paths.has(volume.name)) return false;
      const { claimName, readOnly } = volume.persistentVolumeClaim;
      const { metadata, spec } = await this.#options.objects.volumeOfClaim(pod.metadata.namespace ?? "", claimName);
      const source = spec?.hostPath ?? spec?.local;
      if (!source)
        throw new Error(
          `persistentvolume "${metadata.name}" is neither hostPath nor local; other kinds are not supported`,
        );
      if (spec?.hostPath) await checkHostPath(spec.hostPath);
      else if (!(await stat(source.path).catch(() => undefined)))
        throw new Error(`path "${source.path}" does not exist`);
      if (gid !== undefined && !spec?.hostPath) await ownByGroup(source.path, gid);
      this.#paths.set(volume.name, source.path);
      if (readOnly) this.#readOnly.add(volume.name);
      return false;
    }
    const write = async (plugin: keyof typeof pluginDirs, files: Map<string, ProjectedFile>, inMemory: boolean) => {
      const path = at(plugin);
      this.#readOnly.add(volume.name);
      await mkdir(path, { recursive: true, mode: 0o755 });
      if (inMemory && !(await findMount(path)))
        await mount({ type: "tmpfs", source: "tmpfs", target: path, options: ["noexec,nosuid,nodev"] });
      const withGroup =
        gid === undefined
          ? files
          : new Map([...files].map(([name, file]) => [name, { ...file, mode: file.mode | 0o440 }]));
      await writeAtomically(path, withGroup, gid);
    };
    if (volume.configMap) {
      const { name = "", items, optional, defaultMode = 0o644 } = volume.configMap;
      await write("configMap", await this.#configMapFiles(pod, name, items, optional, defaultMode), false);
      return true;
    }
    if (volume.secret) {
      const { secretName = "", items, optional, defaultMode = 0o644 } = volume.secret;
      await write("secret", await this.#secretFiles(pod, secretName, items, optional, defaultMode), true);
      return true;
    }
    if (volume.downwardAPI) {
      const { items = [], defaultMode = 0o644 } = volume.downwardAPI;
      await write("downwardAPI", downwardFiles(pod, items, defaultMode, sources), false);
      return true;
    }
    if (volume.projected) {
      const files = new Map<string, ProjectedFile>();
      let dynamic = false;
      for (const source of volume.projected.sources ?? []) {
        const part = await this.#projection(pod, source, volume.projected.defaultMode ?? 0o644, sources);
        for (const [path, file] of part) files.set(path, file);
        if (!source.serviceAccountToken) dynamic = true;
      }
      await write("projected", files, true);
      return dynamic;
    }
    const kind = Object.keys(volume).find((key) => key !== "name") ?? "none";
    if (kind === "none") {
      await emptyDirectory(at("emptyDir"), "", undefined, gid);
      return false;
    }
    throw new Error(`volumes of type ${kind} are not supported on this node`);
  }

  async #configMapFiles(pod: Pod, name: string, items: KeyToPath[] | undefined, optional = false, mode = 0o644) {
    const object = await this.#options.objects.configMap(pod.metadata.namespace ?? "", name);
    if (!object && !optional) throw new Error(`configmap "${name}" not found`);
    const data = new Map<string, Buffer>();
    for (const [key, value] of Object.entries(object?.data ?? {})) data.set(key, Buffer.from(value));
    for (const [key, value] of Object.entries(object?.binaryData ?? {})) data.set(key, Buffer.from(value, "base64"));
    return select(data, items, mode, optional, `configmap "${name}"`);
  }

  async #secretFiles(pod: Pod, name: string, items: KeyToPath[] | undefined, optional = false, mode = 0o644) {
    const object = await this.#options.objects.secret(pod.metadata.namespace ?? "", name);
    if (!object && !optional) throw new Error(`secret "${name}" not found`);
    const data = new Map(Object.entries(object?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")]));
    return select(data, items, mode, optional, `secret "${name}"`);
  }

  async #projection(
    pod: Pod,
    source: VolumeProjection,
    mode: number,
    sources: EnvironmentSources,
  ): Promise<Map<string, ProjectedFile>> {
    if (source.configMap)
      return this.#configMapFiles(
        pod,
        source.configMap.name ?? "",
        source.configMap.items,
        source.configMap.optional,
        mode,
      );
    if (source.secret)
      return this.#secretFiles(pod, source.secret.name ?? "", source.secret.items, source.secret.optional, mode);
    if (source.downwardAPI) return downwardFiles(pod, source.downwardAPI.items ?? [], mode, sources);
    if (source.serviceAccountToken) {
      const { audience, expirationSeconds = defaultTokenSeconds, path } = source.serviceAccountToken;
      const { token } = await this.#token(pod, audience, expirationSeconds);
      const { securityContext, containers } = pod.spec!;
      // Only its own user may read a token: with a group by group, with one user for all containers by that user.
      const users = new Set(
        containers.map((container) => container.securityContext?.runAsUser ?? securityContext?.runAsUser),
      );
      const user = users.size === 1 ? [...users][0] : undefined;
      const tokenMode = securityContext?.fsGroup !== undefined || user !== undefined ? 0o600 : mode;
      return new Map([
        [path, { data: Buffer.from(token), mode: tokenMode, ...(user === undefined ? {} : { uid: user }) }],
      ]);
    }
    const kind = Object.keys(source)[0] ?? "unknown";
    throw new Error(`projected sources of type ${kind} are not supported on this node`);
  }

  /** A token that is at most at 80 % of its life. */
  async #token(pod: Pod, audience: string | undefined, seconds: number): Promise<ServiceAccountToken> {
    const key = `${audience ?? ""}/${seconds}`;
    const nowMs = this.#options.clock.now();
    const known = this.#tokens.get(key);
    if (known && nowMs < known.refreshAtMs) return known;
    try {
      const { namespace = "", name = "" } = pod.metadata;
      const owner = { namespace, name, uid: uidOf(pod), serviceAccount: pod.spec!.serviceAccountName || "default" };
      const fresh = await this.#options.objects.token(owner, audience, seconds);
      const refreshAtMs = nowMs + (fresh.expiresAtMs - nowMs) * 0.8;
      this.#tokens.set(key, { ...fresh, refreshAtMs });
      return fresh;
    } catch (error) {
      // The old one still works for a while: better than taking it from a running pod.
      if (!known || nowMs > known.expiresAtMs) throw error;
      this.#tokens.set(key, { ...known, refreshAtMs: nowMs + refreshMs });
      return known;
    }
  }
}

function inside(base: string, path: string, subPath: string): void {
  if (path !== base && !path.startsWith(`${base}/`))
    throw new VolumeError(`subPath "${subPath}" leads out of its volume`);
}

function propagationOf({ mountPropagation }: VolumeMount): Mount["propagation"] {
  if (mountPropagation === "Bidirectional") return "PROPAGATION_BIDIRECTIONAL";
  if (mountPropagation === "HostToContainer") return "PROPAGATION_HOST_TO_CONTAINER";
  return "PROPAGATION_PRIVATE";
}

function select(
  data: ReadonlyMap<string, Buffer>,
  items: readonly KeyToPath[] | undefined,
  mode: number,
  optional: boolean,
  what: string,
): Map<string, ProjectedFile> {
  if (!items || items.length === 0) return new Map([...data].map(([key, value]) => [key, { data: value, mode }]));
  const result = new Map<string, ProjectedFile>();
  for (const item of items) {
    const value = data.get(item.key);
    if (value) result.set(item.path, { data: value, mode: item.mode ?? mode });
    else if (!optional) throw new Error(`${what} references non-existent key: ${item.key}`);
  }
  return result;
}

function downwardFiles(
  pod: Pod,
  items: readonly DownwardAPIVolumeFile[],
  mode: number,
  sources: EnvironmentSources,
): Map<string, ProjectedFile> {
  const first = pod.spec!.containers[0]!;
  return new Map(
    items.map((item) => {
      const text = item.fieldRef
        ? podField(pod, item.fieldRef.fieldPath, sources)
        : resourceField(pod, first, item.resourceFieldRef!, sources.allocatable);
      return [item.path, { data: Buffer.from(text), mode: item.mode ?? mode }];
    }),
  );
}

async function emptyDirectory(path: string, medium: string, sizeLimit: string | undefined, gid: number | undefined) {
  if (medium !== "" && medium !== "Memory") throw new Error(`storage medium "${medium}" is not supported`);
  await mkdir(path, { recursive: true });
  if (medium === "Memory" && !(await findMount(path))) {
    const options = sizeLimit ? [`size=${parseQuantity(sizeLimit).toUnits()}`] : [];
    await mount({ type: "tmpfs", source: "tmpfs", target: path, options });
  }
  if (gid !== undefined) await chown(path, 0, gid);
  await chmod(path, gid === undefined ? 0o777 : 0o2777);
}

/** Gives a tree to a group: it may read and write, and what is made in it stays the group's. */
async function ownByGroup(path: string, gid: number): Promise<void> {
  const info = await lstat(path);
  if (info.isSymbolicLink()) return;
  if (info.gid !== gid) await chown(path, info.uid, gid);
  await chmod(path, (info.mode & 0o7777) | (info.isDirectory() ? 0o2770 : 0o660));
  if (info.isDirectory()) for (const name of await readdir(path)) await ownByGroup(join(path, name), gid);
}

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

/** Unmounts what is mounted below a pod's directory and removes it. Content of mounts is never touched. */
export async function removePodDirectory(directory: string): Promise<void> {
  if (!(await lstat(directory).catch(() => undefined))) return;
  await umountTree(directory, { lazy: true });
  await rm(directory, { recursive: true, force: true });
}
