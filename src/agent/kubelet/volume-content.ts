import {
  configMaps,
  type DownwardAPIVolumeFile,
  type KeyToPath,
  type Pod,
  secrets,
  type Volume,
  type VolumeProjection,
} from "../../api/generated/core-v1.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { ResourceType } from "../../machinery/object.ts";
import type { ProjectedFile } from "./atomic-writer.ts";
import { type EnvironmentSources, podField, resourceField } from "./environment.ts";
import { uidOf } from "./pod-facts.ts";
import type { ReferencedObjects, ServiceAccountToken } from "./referenced-objects.ts";

/** An object whose content went into a volume. */
export interface UsedObject {
  readonly type: ResourceType;
  readonly name: string;
  /** The version that was read; undefined: there was none (it is optional). */
  readonly version: string | undefined;
  /** Its content never changes. */
  readonly immutable: boolean;
}

/** What a volume has to hold now. */
export interface VolumeContent {
  readonly files: ReadonlyMap<string, ProjectedFile>;
  readonly uses: readonly UsedObject[];
  /** When a token in it has to be renewed; Infinity: never. */
  readonly renewAtMs: number;
}

const defaultTokenSeconds = 3600;
const tokenRetryMs = 60_000;

/** Whether a volume's files are made from the pod's own metadata. */
export function showsPod(volume: Volume): boolean {
  return volume.downwardAPI !== undefined || (volume.projected?.sources ?? []).some(({ downwardAPI }) => downwardAPI);
}

/** Makes the content of the volumes of one pod that come from the API: config maps, secrets, tokens, the pod itself. */
export class VolumeContents {
  readonly #objects: ReferencedObjects;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, ServiceAccountToken & { readonly refreshAtMs: number }>();

  constructor(objects: ReferencedObjects, clock: Clock) {
    this.#objects = objects;
    this.#clock = clock;
  }

  /** What the volume has to hold; undefined for a volume of another kind. Rejects when something it needs is missing. */
  async of(pod: Pod, volume: Volume, sources: EnvironmentSources): Promise<VolumeContent | undefined> {
    if (volume.configMap) {
      const { name = "", items, optional, defaultMode = 0o644 } = volume.configMap;
      return this.#configMap(pod, name, items, optional, defaultMode);
    }
    if (volume.secret) {
      const { secretName = "", items, optional, defaultMode = 0o644 } = volume.secret;
      return this.#secret(pod, secretName, items, optional, defaultMode);
    }
    if (volume.downwardAPI) {
      const { items = [], defaultMode = 0o644 } = volume.downwardAPI;
      return fixed(downwardFiles(pod, items, defaultMode, sources));
    }
    if (!volume.projected) return undefined;
    const files = new Map<string, ProjectedFile>();
    const uses: UsedObject[] = [];
    let renewAtMs = Number.POSITIVE_INFINITY;
    for (const source of volume.projected.sources ?? []) {
      const part = await this.#projection(pod, source, volume.projected.defaultMode ?? 0o644, sources);
      for (const [path, file] of part.files) files.set(path, file);
      uses.push(...part.uses);
      renewAtMs = Math.min(renewAtMs, part.renewAtMs);
    }
    return { files, uses, renewAtMs };
  }

  async #configMap(
    pod: Pod,
    name: string,
    items: KeyToPath[] | undefined,
    optional = false,
    mode = 0o644,
  ): Promise<VolumeContent> {
    const object = await this.#objects.configMap(pod.metadata.namespace ?? "", name);
    if (!object && !optional) throw new Error(`configmap "${name}" not found`);
    const data = new Map<string, Buffer>();
    for (const [key, value] of Object.entries(object?.data ?? {})) data.set(key, Buffer.from(value));
    for (const [key, value] of Object.entries(object?.binaryData ?? {})) data.set(key, Buffer.from(value, "base64"));
    const files = select(data, items, mode, optional, `configmap "${name}"`);
    return { ...fixed(files), uses: [used(configMaps, name, object)] };
  }

  async #secret(
    pod: Pod,
    name: string,
    items: KeyToPath[] | undefined,
    optional = false,
    mode = 0o644,
  ): Promise<VolumeContent> {
    const object = await this.#objects.secret(pod.metadata.namespace ?? "", name);
    if (!object && !optional) throw new Error(`secret "${name}" not found`);
    const data = new Map(Object.entries(object?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")]));
    const files = select(data, items, mode, optional, `secret "${name}"`);
    return { ...fixed(files), uses: [used(secrets, name, object)] };
  }

  async #projection(
    pod: Pod,
    source: VolumeProjection,
    mode: number,
    sources: EnvironmentSources,
  ): Promise<VolumeContent> {
    const { configMap, secret, downwardAPI, serviceAccountToken } = source;
    if (configMap) return this.#configMap(pod, configMap.name ?? "", configMap.items, configMap.optional, mode);
    if (secret) return this.#secret(pod, secret.name ?? "", secret.items, secret.optional, mode);
    if (downwardAPI) return fixed(downwardFiles(pod, downwardAPI.items ?? [], mode, sources));
    if (serviceAccountToken) {
      const { audience, expirationSeconds = defaultTokenSeconds, path } = serviceAccountToken;
      const { token, refreshAtMs } = await this.#token(pod, audience, expirationSeconds);
      const file = { data: Buffer.from(token), ...tokenOwner(pod, mode) };
      return { files: new Map([[path, file]]), uses: [], renewAtMs: refreshAtMs };
    }
    const kind = Object.keys(source)[0] ?? "unknown";
    throw new Error(`projected sources of type ${kind} are not supported on this node`);
  }

  /** A token that is at most at 80 % of its life. */
  async #token(
    pod: Pod,
    audience: string | undefined,
    seconds: number,
  ): Promise<ServiceAccountToken & { refreshAtMs: number }> {
    const key = `${audience ?? ""}/${seconds}`;
    const nowMs = this.#clock.now();
    const known = this.#tokens.get(key);
    if (known && nowMs < known.refreshAtMs) return known;
    try {
      const { namespace = "", name = "" } = pod.metadata;
      const owner = { namespace, name, uid: uidOf(pod), serviceAccount: pod.spec!.serviceAccountName || "default" };
      const fresh = await this.#objects.token(owner, audience, seconds);
      const refreshAtMs = nowMs + (fresh.expiresAtMs - nowMs) * 0.8;
      const kept = { ...fresh, refreshAtMs };
      this.#tokens.set(key, kept);
      return kept;
    } catch (error) {
      // The old one still works for a while: better than taking it from a running pod.
      if (!known || nowMs > known.expiresAtMs) throw error;
      const kept = { ...known, refreshAtMs: nowMs + tokenRetryMs };
      this.#tokens.set(key, kept);
      return kept;
    }
  }
}

const fixed = (files: ReadonlyMap<string, ProjectedFile>): VolumeContent => ({
  files,
  uses: [],
  renewAtMs: Number.POSITIVE_INFINITY,
});

function used(
  type: ResourceType,
  name: string,
  object: { metadata: { resourceVersion?: string }; immutable?: boolean } | undefined,
): UsedObject {
  return { type, name, version: object?.metadata.resourceVersion, immutable: object?.immutable === true };
}

/** Only its own user may read a token: with a group by group, with one user for all containers by that user. */
function tokenOwner(pod: Pod, mode: number): Pick<ProjectedFile, "mode" | "uid"> {
  const { securityContext, containers } = pod.spec!;
  const users = new Set(
    containers.map((container) => container.securityContext?.runAsUser ?? securityContext?.runAsUser),
  );
  const user = users.size === 1 ? [...users][0] : undefined;
  const alone = securityContext?.fsGroup !== undefined || user !== undefined;
  return { mode: alone ? 0o600 : mode, ...(user === undefined ? {} : { uid: user }) };
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
