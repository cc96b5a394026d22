import { createHash } from "node:crypto";
import { watch } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Pod, pods } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Informer } from "../../client/informer.ts";
import { type Clock, formatTime, type Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { keyOf } from "../../machinery/object.ts";
import { StatusError } from "../../machinery/status.ts";
import { uidOf } from "./pod-facts.ts";
import { PodWorker } from "./pod-worker.ts";
import type { WorkerContext } from "./worker-context.ts";

export const mirrorAnnotation = "kubernetes.io/config.mirror";
const sourceAnnotation = "kubernetes.io/config.source";
const hashAnnotation = "kubernetes.io/config.hash";

/** Whether a pod came from a file on this node. */
export function isStatic(pod: Pod): boolean {
  return pod.metadata.annotations?.[sourceAnnotation] === "file";
}

/** The pod that a manifest describes, on this node; its uid follows from its content. */
export function staticPodOf(manifest: Pod, path: string, nodeName: string, nowMs: number): Pod {
  const uid = createHash("md5")
    .update(JSON.stringify([nodeName, path, manifest]))
    .digest("hex");
  const { name = "", namespace = "default", annotations } = manifest.metadata ?? {};
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...manifest.metadata,
      name: `${name}-${nodeName}`,
      namespace,
      uid,
      annotations: {
        ...annotations,
        [hashAnnotation]: uid,
        [sourceAnnotation]: "file",
        "kubernetes.io/config.seen": formatTime(nowMs),
      },
    },
    spec: {
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
      dnsPolicy: "ClusterFirst",
      enableServiceLinks: true,
      schedulerName: "default-scheduler",
      securityContext: {},
      ...manifest.spec!,
      nodeName,
      tolerations: [...(manifest.spec!.tolerations ?? []), { operator: "Exists", effect: "NoExecute" }],
    },
  };
}

interface StaticPodsOptions {
  readonly directory: string;
  readonly client: Client;
  readonly nodeName: string;
  readonly context: WorkerContext;
  readonly workers: Map<string, PodWorker>;
  readonly informer: Informer<Pod>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Runs the pods whose manifests lie in a directory, and shows each in the API through a mirror. */
export class StaticPods {
  readonly #options: StaticPodsOptions;
  /** By uid. */
  #wanted = new Map<string, Pod>();
  #timer: Timer | undefined;
  /** One after the other: an older look at the directory must not come after a newer one. */
  #reading: Promise<void> = Promise.resolve();

  constructor(options: StaticPodsOptions) {
    this.#options = options;
  }

  /** Reads the directory and follows it until the signal aborts. */
  async start(signal: AbortSignal): Promise<void> {
    const { directory, clock } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const watcher = watch(directory, () => {
      // An editor writes a file in several steps.
      this.#timer?.cancel();
      this.#timer = clock.after(200, () => void this.#read());
    });
    watcher.on("error", () => {});
    signal.addEventListener("abort", () => watcher.close(), { once: true });
    await this.#read();
  }

  /** A mirror was seen: one that is outdated or being deleted is replaced. */
  checkMirror(mirror: Pod): void {
    const wanted = this.#wanted.get(mirror.metadata.annotations?.[mirrorAnnotation] ?? "");
    if (wanted && !mirror.metadata.deletionTimestamp) return;
    const { name = "", namespace = "", uid = "" } = mirror.metadata;
    this.#options.client
      .delete(pods, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } })
      .catch((error: Error) => this.#unlessGone(error, name));
  }

  /** Makes the mirrors that are missing. */
  mirrorAll(): void {
    for (const pod of this.#wanted.values()) void this.#mirror(pod);
  }

  #unlessGone(error: Error, name: string): void {
    if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return;
    this.#options.logger.warn({ pod: name, error: error.message }, "Mirror pod could not be removed");
  }

  async #mirror(pod: Pod): Promise<void> {
    const { client, informer, logger } = this.#options;
    const { uid: _, ...metadata } = pod.metadata;
    if (!informer.hasSynced || informer.get(keyOf(pod))) return;
    const annotations = { ...metadata.annotations, [mirrorAnnotation]: uidOf(pod) };
    try {
      await client.create(
        pods,
        { ...pod, metadata: { ...metadata, annotations } },
        { namespace: metadata.namespace ?? "" },
      );
    } catch (error) {
      if (error instanceof StatusError && error.reason === "AlreadyExists") return;
      logger.warn({ pod: keyOf(pod), error: (error as Error).message }, "Mirror pod could not be created");
    }
  }

  #read(): Promise<void> {
    this.#reading = this.#reading.then(() => this.#readNow());
    return this.#reading;
  }

  /** Names of the directory's files; undefined when it cannot be read. One that is gone holds none. */
  async #names(): Promise<string[] | undefined> {
    const { directory, logger } = this.#options;
    try {
      return (await readdir(directory)).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      logger.error({ path: directory, error: (error as Error).message }, "Static pod manifests could not be read");
      return undefined;
    }
  }

  async #readNow(): Promise<void> {
    const { directory, nodeName, logger, clock, workers, context, informer } = this.#options;
    const found = new Map<string, Pod>();
    const names = await this.#names();
    if (!names) return;
    for (const name of names) {
      if (name.startsWith(".") || !/\.(ya?ml|json|manifest)$/.test(name)) continue;
      const path = join(directory, name);
      try {
        const { parse } = await import("yaml");
        const manifest = parse(await readFile(path, "utf8")) as Pod | null;
        if (manifest?.kind !== "Pod" || !manifest.metadata?.name || !manifest.spec?.containers?.length)
          throw new Error("want a Pod with a name and containers");
        const pod = staticPodOf(manifest, path, nodeName, clock.now());
        found.set(uidOf(pod), pod);
      } catch (error) {
        logger.error({ path, error: (error as Error).message }, "Static pod manifest could not be read");
      }
    }
    for (const [uid, pod] of this.#wanted)
      if (!found.has(uid)) {
        workers.get(uid)?.remove();
        const mirror = informer.get(keyOf(pod)) as Pod | undefined;
        this.#wanted.delete(uid);
        if (mirror) this.checkMirror(mirror);
      }
    for (const [uid, pod] of found) {
      if (this.#wanted.has(uid)) continue;
      this.#wanted.set(uid, pod);
      if (!workers.has(uid)) workers.set(uid, new PodWorker(pod, context));
      void this.#mirror(pod);
    }
  }
}
