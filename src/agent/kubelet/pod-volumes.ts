import { chmod, chown, lstat, mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Pod, Volume, VolumeMount } from "../../api/generated/core-v1.ts";
import type { Clock } from "../../machinery/clock.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { Mount } from "../containerd/cri-messages.ts";
import { findMount, mount, umountTree } from "../host/mount.ts";
import { type ProjectedFile, writeAtomically } from "./atomic-writer.ts";
import { type EnvironmentSources, expand } from "./environment.ts";
import { checkHostPath, ownByGroup } from "./host-path.ts";
import type { AnyContainer } from "./pod-facts.ts";
import type { ReferencedObjects } from "./referenced-objects.ts";
import { bindSubPath } from "./sub-path.ts";
import { showsPod, type UsedObject, type VolumeContent, VolumeContents } from "./volume-content.ts";

export interface PodVolumesOptions {
  /** /var/lib/kubelet */
  readonly rootDir: string;
  readonly objects: ReferencedObjects;
  readonly clock: Clock;
  /** Something that a volume shows has changed: {@link PodVolumes.prepare} has something to do. */
  onChange(): void;
  /** A volume that is set up could not be brought up to date; what it shows stays. */
  onRefreshFailure(error: VolumeError): void;
}

/** After this a volume that could not be brought up to date is tried again. */
const refreshRetryMs = 60_000;

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

/** A volume whose content comes from the API. */
interface LiveVolume {
  /** Versions of what was written into it, by object. */
  readonly versions: Map<string, string | undefined>;
  /** The pod's labels and annotations that it shows; "" when it shows none. */
  pod: string;
  /** When it has to be made again; 0: now. */
  dueAtMs: number;
}

/** The volumes of one pod: set up before its containers, kept up to date, taken down after them. */
export class PodVolumes {
  readonly #options: PodVolumesOptions;
  readonly #directory: string;
  readonly #contents: VolumeContents;
  readonly #paths = new Map<string, string>();
  readonly #readOnly = new Set<string>();
  readonly #live = new Map<string, LiveVolume>();
  /** Ends what is followed, by object. */
  readonly #followed = new Map<string, () => void>();

  constructor(uid: string, options: PodVolumesOptions) {
    this.#options = options;
    this.#directory = podDirectory(options.rootDir, uid);
    this.#contents = new VolumeContents(options.objects, options.clock);
  }

  /** When {@link prepare} has something to do though nothing changes; Infinity: never. */
  get refreshAtMs(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...[...this.#live.values()].map(({ dueAtMs }) => dueAtMs));
  }

  /** Sets up what is not there yet, and brings up to date what has changed. Throws {@link VolumeError}. */
  async prepare(pod: Pod, sources: EnvironmentSources): Promise<void> {
    for (const volume of pod.spec!.volumes ?? []) {
      try {
        if (!this.#paths.has(volume.name)) await this.#setUp(pod, volume, sources);
        else if (this.#isDue(pod, volume)) await this.#refresh(pod, volume, sources);
      } catch (error) {
        throw new VolumeError(`MountVolume.SetUp failed for volume "${volume.name}" : ${(error as Error).message}`);
      }
    }
  }

  /** Where a volume is on the node. */
  path(name: string): string {
    const path = this.#paths.get(name);
    if (path === undefined) throw new VolumeError(`volume "${name}" is not set up`);
    return path;
  }

  /** The mounts of a container. `environment` serves subPathExpr; `images` has the ids of the images of volumes, by volume. */
  async mounts(
    pod: Pod,
    container: AnyContainer,
    environment: ReadonlyMap<string, string>,
    images: ReadonlyMap<string, string>,
  ): Promise<Mount[]> {
    const result: Mount[] = [];
    for (const [index, volumeMount] of (container.volumeMounts ?? []).entries()) {
      const { name, mountPath } = volumeMount;
      if (!pod.spec!.volumes?.some((volume) => volume.name === name))
        throw new VolumeError(`volume "${name}" is not defined in the pod`);
      const subPath = volumeMount.subPathExpr ? expand(volumeMount.subPathExpr, environment) : volumeMount.subPath;
      const image = images.get(name);
      if (image !== undefined) {
        // The runtime mounts the image itself, read-only whatever the pod says.
        result.push({
          containerPath: mountPath,
          readonly: true,
          image: { image },
          ...(subPath ? { imageSubPath: subPath } : {}),
        });
        continue;
      }
      const target = join(this.#directory, "volume-subpaths", name, container.name, String(index));
      result.push({
        containerPath: mountPath.startsWith("/") ? mountPath : `/${mountPath}`,
        hostPath: subPath ? await this.#subPath(this.path(name), subPath, target) : this.path(name),
        readonly: volumeMount.readOnly === true || this.#readOnly.has(name),
        propagation: propagationOf(volumeMount),
        recursiveReadOnly: volumeMount.recursiveReadOnly === "Enabled",
      });
    }
    return result;
  }

  /** Hears of no changes any more; what is set up stays. */
  close(): void {
    for (const end of this.#followed.values()) end();
    this.#followed.clear();
  }

  /** Unmounts and removes everything below the pod's directory. */
  async tearDown(): Promise<void> {
    this.close();
    await removePodDirectory(this.#directory);
    this.#paths.clear();
    this.#live.clear();
  }

  async #subPath(root: string, subPath: string, target: string): Promise<string> {
    try {
      return await bindSubPath(root, subPath, target);
    } catch (error) {
      throw new VolumeError((error as Error).message);
    }
  }

  #isDue(pod: Pod, volume: Volume): boolean {
    const live = this.#live.get(volume.name);
    return live !== undefined && (this.#options.clock.now() >= live.dueAtMs || live.pod !== shown(pod, volume));
  }

  /** What a running pod shows already is better than nothing: a failure is told, and tried again later. */
  async #refresh(pod: Pod, volume: Volume, sources: EnvironmentSources): Promise<void> {
    const { clock, onRefreshFailure } = this.#options;
    try {
      const content = await this.#contents.of(pod, volume, sources);
      if (content) await this.#write(pod, volume, content);
    } catch (error) {
      const live = this.#live.get(volume.name)!;
      live.dueAtMs = clock.now() + refreshRetryMs;
      live.pod = shown(pod, volume);
      const text = `MountVolume.SetUp failed for volume "${volume.name}" : ${(error as Error).message}`;
      onRefreshFailure(new VolumeError(text));
    }
  }

  async #setUp(pod: Pod, volume: Volume, sources: EnvironmentSources): Promise<void> {
    const gid = pod.spec!.securityContext?.fsGroup;
    if (volume.hostPath) {
      await checkHostPath(volume.hostPath);
      this.#paths.set(volume.name, volume.hostPath.path);
      return;
    }
    if (volume.image) {
      // Nothing of it is on the node's file system.
      this.#paths.set(volume.name, "");
      return;
    }
    if (volume.persistentVolumeClaim) return this.#claim(pod, volume.name, volume.persistentVolumeClaim, gid);
    const content = await this.#contents.of(pod, volume, sources);
    if (content) return this.#write(pod, volume, content);
    const kind = Object.keys(volume).find((key) => key !== "name") ?? "none";
    if (kind !== "emptyDir" && kind !== "none")
      throw new Error(`volumes of type ${kind} are not supported on this node`);
    const path = this.#place(volume.name, "emptyDir");
    await emptyDirectory(path, volume.emptyDir?.medium ?? "", volume.emptyDir?.sizeLimit, gid);
    this.#paths.set(volume.name, path);
  }

  async #claim(
    pod: Pod,
    name: string,
    { claimName, readOnly }: NonNullable<Volume["persistentVolumeClaim"]>,
    gid: number | undefined,
  ): Promise<void> {
    const { metadata, spec } = await this.#options.objects.volumeOfClaim(pod.metadata.namespace ?? "", claimName);
    const source = spec?.hostPath ?? spec?.local;
    if (!source)
      throw new Error(
        `persistentvolume "${metadata.name}" is neither hostPath nor local; other kinds are not supported`,
      );
    if (spec?.hostPath) await checkHostPath(spec.hostPath);
    else if (!(await stat(source.path).catch(() => undefined))) throw new Error(`path "${source.path}" does not exist`);
    if (gid !== undefined && !spec?.hostPath) await ownByGroup(source.path, gid);
    this.#paths.set(name, source.path);
    if (readOnly) this.#readOnly.add(name);
  }

  #place(name: string, plugin: keyof typeof pluginDirs): string {
    return join(this.#directory, "volumes", pluginDirs[plugin], name);
  }

  async #write(pod: Pod, volume: Volume, { files, uses, renewAtMs }: VolumeContent): Promise<void> {
    const plugin = (["configMap", "secret", "downwardAPI"] as const).find((key) => volume[key]) ?? "projected";
    const path = this.#place(volume.name, plugin);
    const gid = pod.spec!.securityContext?.fsGroup;
    await mkdir(path, { recursive: true, mode: 0o755 });
    const inMemory = plugin === "secret" || plugin === "projected";
    if (inMemory && !(await findMount(path)))
      await mount({ type: "tmpfs", source: "tmpfs", target: path, options: ["noexec,nosuid,nodev"] });
    await writeAtomically(path, gid === undefined ? files : readableByGroup(files), gid);
    this.#paths.set(volume.name, path);
    this.#readOnly.add(volume.name);
    const versions = new Map(uses.map((use) => [keyOf(use), use.version]));
    this.#live.set(volume.name, { versions, pod: shown(pod, volume), dueAtMs: renewAtMs });
    for (const use of uses) if (!use.immutable) this.#follow(pod.metadata.namespace ?? "", use);
  }

  #follow(namespace: string, use: UsedObject): void {
    const key = keyOf(use);
    if (this.#followed.has(key)) return;
    const listener = (version: string | undefined) => {
      const stale = [...this.#live.values()].filter(
        ({ versions }) => versions.has(key) && versions.get(key) !== version,
      );
      for (const live of stale) live.dueAtMs = 0;
      if (stale.length > 0) this.#options.onChange();
    };
    this.#followed.set(key, this.#options.objects.follow(use.type, namespace, use.name, listener));
  }
}

const keyOf = ({ type, name }: UsedObject): string => `${type.resource}/${name}`;

/** What a volume shows of the pod itself and can change. */
function shown({ metadata }: Pod, volume: Volume): string {
  return showsPod(volume) ? JSON.stringify([metadata.labels, metadata.annotations]) : "";
}

function readableByGroup(files: ReadonlyMap<string, ProjectedFile>): Map<string, ProjectedFile> {
  return new Map([...files].map(([name, file]) => [name, { ...file, mode: file.mode | 0o440 }]));
}

function propagationOf({ mountPropagation }: VolumeMount): Mount["propagation"] {
  if (mountPropagation === "Bidirectional") return "PROPAGATION_BIDIRECTIONAL";
  if (mountPropagation === "HostToContainer") return "PROPAGATION_HOST_TO_CONTAINER";
  return "PROPAGATION_PRIVATE";
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

/** Unmounts what is mounted below a pod's directory and removes it. Content of mounts is never touched. */
export async function removePodDirectory(directory: string): Promise<void> {
  if (!(await lstat(directory).catch(() => undefined))) return;
  await umountTree(directory, { lazy: true });
  await rm(directory, { recursive: true, force: true });
}
