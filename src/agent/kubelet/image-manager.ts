import type { Pod } from "../../api/generated/core-v1.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Cri } from "../containerd/cri.ts";
import type { Image, PodSandboxConfig } from "../containerd/cri-messages.ts";
import { defaultPullPolicy, normalizeImageName, registryOf } from "../containerd/image-name.ts";
import type { AnyContainer } from "./pod-facts.ts";
import type { ReferencedObjects } from "./referenced-objects.ts";

/** An image that a container cannot have now. `reason` is the container's waiting reason. */
export class ImageError extends Error {
  readonly reason: "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName";
  /** When it is worth trying again. */
  readonly retryAtMs: number;
  constructor(reason: ImageError["reason"], message: string, retryAtMs: number) {
    super(message);
    this.reason = reason;
    this.retryAtMs = retryAtMs;
  }
}

export type ReportEvent = (severity: "Normal" | "Warning", reason: string, message: string) => void;

const firstBackoffMs = 10_000;
const largestBackoffMs = 300_000;

interface Credentials {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
  readonly serverAddress?: string;
  readonly identityToken?: string;
}

/** Credentials for a registry in the data of a pull secret (both forms that Docker's tools write). */
export function credentialsIn(type: string, data: Readonly<Record<string, string>>, registry: string): Credentials[] {
  const key = type === "kubernetes.io/dockercfg" ? ".dockercfg" : ".dockerconfigjson";
  if (!data[key]) return [];
  const parsed = JSON.parse(Buffer.from(data[key], "base64").toString());
  const auths: Record<string, { username?: string; password?: string; auth?: string; identitytoken?: string }> =
    type === "kubernetes.io/dockercfg" ? parsed : (parsed.auths ?? {});
  return Object.entries(auths)
    .filter(([server]) => {
      const host = server.replace(/^https?:\/\//, "").split("/")[0]!;
      return host === registry || (registry === "docker.io" && /^(index\.|registry-1\.)?docker\.io$/.test(host));
    })
    .map(([, { username, password, auth, identitytoken }]) => ({
      ...(username ? { username } : {}),
      ...(password ? { password } : {}),
      ...(auth ? { auth } : {}),
      ...(identitytoken ? { identityToken: identitytoken } : {}),
    }));
}

/** Gets images for containers, by their pull policy, with growing waits after failures. */
export class ImageManager {
  readonly #cri: Cri;
  readonly #objects: ReferencedObjects;
  readonly #clock: Clock;
  readonly #failures = new Map<string, { delayMs: number; untilMs: number; message: string }>();
  /** Images are pulled one after another, so that a burst of pods does not fight for the network. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(cri: Cri, objects: ReferencedObjects, clock: Clock) {
    this.#cri = cri;
    this.#objects = objects;
    this.#clock = clock;
  }

  /** The image of a container or a volume, pulled if its policy asks for it. Throws {@link ImageError}. */
  async ensure(
    pod: Pod,
    wanted: Pick<AnyContainer, "image" | "imagePullPolicy">,
    sandbox: PodSandboxConfig,
    report: ReportEvent,
    signal: AbortSignal,
  ): Promise<Image> {
    const name = wanted.image ?? "";
    const nowMs = this.#clock.now();
    let full: string;
    try {
      full = normalizeImageName(name);
    } catch (error) {
      const message = `Failed to apply default image tag "${name}": ${(error as Error).message}`;
      report("Warning", "InspectFailed", message);
      throw new ImageError("InvalidImageName", message, nowMs + largestBackoffMs);
    }
    const policy = wanted.imagePullPolicy ?? defaultPullPolicy(name);
    const present = await this.#cri.imageStatus(full);
    if (present && policy !== "Always") {
      report("Normal", "Pulled", `Container image "${name}" already present on machine`);
      return present;
    }
    if (policy === "Never") {
      const message = `Container image "${name}" is not present with pull policy of Never`;
      report("Warning", "ErrImageNeverPull", message);
      throw new ImageError("ErrImageNeverPull", message, nowMs + firstBackoffMs);
    }
    const key = `${pod.metadata.uid}/${name}`;
    const failed = this.#failures.get(key);
    if (failed && nowMs < failed.untilMs) {
      report("Normal", "BackOff", `Back-off pulling image "${name}"`);
      throw new ImageError("ImagePullBackOff", `Back-off pulling image "${name}": ${failed.message}`, failed.untilMs);
    }
    report("Normal", "Pulling", `Pulling image "${name}"`);
    const startedMs = this.#clock.now();
    try {
      const turn = this.#queue.then(() => this.#pull(pod, full, sandbox, signal));
      this.#queue = turn.catch(() => {});
      await turn;
      const image = await this.#cri.imageStatus(full);
      if (!image) throw new Error(`image "${full}" is missing after its pull`);
      const tookMs = this.#clock.now() - startedMs;
      this.#failures.delete(key);
      report(
        "Normal",
        "Pulled",
        `Successfully pulled image "${name}" in ${tookMs}ms (${tookMs}ms including waiting). Image size: ${image.size} bytes.`,
      );
      return image;
    } catch (error) {
      if (signal.aborted) throw error;
      const delayMs = Math.min(largestBackoffMs, failed ? failed.delayMs * 2 : firstBackoffMs);
      const message = (error as Error).message;
      const untilMs = this.#clock.now() + delayMs;
      this.#failures.set(key, { delayMs, untilMs, message });
      report("Warning", "Failed", `Failed to pull image "${name}": ${message}`);
      report("Warning", "Failed", "Error: ErrImagePull");
      throw new ImageError("ErrImagePull", message, untilMs);
    }
  }

  /** Forgets a pod's failures. */
  forget(uid: string): void {
    for (const key of this.#failures.keys()) if (key.startsWith(`${uid}/`)) this.#failures.delete(key);
  }

  async #pull(pod: Pod, image: string, sandboxConfig: PodSandboxConfig, signal: AbortSignal): Promise<void> {
    const namespace = pod.metadata.namespace ?? "";
    const credentials: (Credentials | undefined)[] = [];
    for (const { name } of pod.spec!.imagePullSecrets ?? []) {
      const secret = name ? await this.#objects.secret(namespace, name) : undefined;
      if (secret?.data) credentials.push(...credentialsIn(secret.type ?? "", secret.data, registryOf(image)));
    }
    credentials.push(undefined);
    let failure: unknown;
    for (const auth of credentials) {
      try {
        await this.#cri.pullImage({ image: { image }, ...(auth ? { auth } : {}), sandboxConfig }, signal);
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        failure ??= error;
      }
    }
    throw failure;
  }
}
