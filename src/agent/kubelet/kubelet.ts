import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { type Pod, pods } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { EventRecorder } from "../../client/events.ts";
import { createInformer } from "../../client/informer.ts";
import { isOlder } from "../../client/resource-version.ts";
import { type Clock, clusterClock as defaultClusterClock, ioClock as defaultIoClock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { type DeepReadonly, keyOf } from "../../machinery/object.ts";
import type { Cri } from "../containerd/cri.ts";
import { type DnsSettings, parseResolvConf } from "./dns-config.ts";
import { ImageCollector, usedPercent } from "./image-collector.ts";
import { ImageManager } from "./image-manager.ts";
import { KubeletServer } from "./kubelet-server.ts";
import { rotateLogs } from "./log-rotation.ts";
import { memoryCapacityBytes } from "./node-facts.ts";
import { whyNotResizable, whyUnfit } from "./node-fit.ts";
import { NodeRegistration } from "./node-registration.ts";
import { uidOf } from "./pod-facts.ts";
import { podDirectory, removePodDirectory } from "./pod-volumes.ts";
import { PodWorker } from "./pod-worker.ts";
import { ReferencedObjects } from "./referenced-objects.ts";
import { runtimeAnnotations, runtimeLabels } from "./runtime-config.ts";
import { isStatic, mirrorAnnotation, StaticPods } from "./static-pods.ts";
import { StatusWriter } from "./status-writer.ts";
import type { WorkerContext } from "./worker-context.ts";

export interface KubeletOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  readonly nodeExternalIps?: readonly string[];
  /** /var/lib/kubelet */
  readonly rootDir: string;
  /** Default /var/log/pods. */
  readonly logRoot?: string;
  /** Manifests of pods that run without the API server. */
  readonly staticPodDir?: string;
  readonly cri: Cri;
  /** Says when the runtime is back after it was gone. */
  readonly containerd?: { onRestart(callback: () => void): void };
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** Default /etc/resolv.conf. */
  readonly resolvConf?: string | undefined;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly taints?: readonly { readonly key: string; readonly value?: string | undefined; readonly effect: string }[];
  /** Default 110. */
  readonly maxPods?: number;
  /** "v1.36.2+k3ts1" */
  readonly version: string;
  readonly cniConfDir: string;
  /** Hears of all pods of this node, as the API has them, when any of them changes. */
  readonly onPods?: (pods: readonly DeepReadonly<Pod>[]) => void;
  readonly clusterClock?: Clock;
  readonly ioClock?: Clock;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
}

/** The node's agent. `handle` and `upgrade` serve its https port; callers are authenticated before. */
export interface Kubelet {
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
  /** Ends all loops; containers keep running. */
  stop(): Promise<void>;
}

const relistMs = 60_000;
/** Images are looked at every fifth time: every five minutes. */
const collectEvery = 5;

/** Starts the kubelet's loops and returns at once; the node registers itself as soon as the API answers. */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const { client, cri, nodeName, rootDir } = options;
  const logger = options.logger.child({ component: "kubelet" });
  const clusterClock = options.clusterClock ?? defaultClusterClock;
  const ioClock = options.ioClock ?? defaultIoClock;
  const stopping = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stopping.signal]) : stopping.signal;
  const logRoot = options.logRoot ?? "/var/log/pods";
  await mkdir(join(rootDir, "pods"), { recursive: true, mode: 0o750 });
  await mkdir(logRoot, { recursive: true });

  const registration = new NodeRegistration({
    client,
    cri,
    nodeName,
    nodeIps: options.nodeIps,
    nodeExternalIps: options.nodeExternalIps ?? [],
    labels: options.labels ?? {},
    annotations: options.annotations ?? {},
    taints: options.taints ?? [],
    maxPods: options.maxPods ?? 110,
    version: options.version,
    rootDir,
    cniConfDir: options.cniConfDir,
    clock: clusterClock,
    logger,
    signal,
  });
  const objects = new ReferencedObjects(client, ioClock);
  const workers = new Map<string, PodWorker>();
  const othersThan = (pod: Pod) =>
    [...workers.values()]
      .filter((worker) => worker.uid !== uidOf(pod) && !worker.ended && worker.observed.sandboxes.length > 0)
      .map((worker) => worker.granted);
  const context: WorkerContext = {
    client,
    cri,
    images: new ImageManager(cri, objects, clusterClock),
    objects,
    statuses: new StatusWriter({
      client,
      clock: ioClock,
      logger,
      standIn: (pod) => (isStatic(pod) ? (informer.get(keyOf(pod)) as Pod | undefined) : pod),
    }),
    events: new EventRecorder({ client, component: "kubelet", host: nodeName, clock: clusterClock, logger }),
    nodeName,
    hostIps: options.nodeIps,
    rootDir,
    logRoot,
    dns: () => dnsSettings(options),
    memoryCapacityBytes: await memoryCapacityBytes(),
    allocatable: () => registration.allocatable,
    clusterClock,
    ioClock,
    logger,
    admit: (pod) => whyUnfit(pod, othersThan(pod), registration.allocatable),
    fit: (pod) => whyNotResizable(pod, othersThan(pod), registration.allocatable),
    onFinished: (uid) => {
      workers.delete(uid);
      void removePodDirectory(podDirectory(rootDir, uid)).catch((error: Error) =>
        logger.warn({ uid, error: error.message }, "Pod directory could not be removed"),
      );
    },
  };

  const informer = createInformer(client, pods, {
    fieldSelector: `spec.nodeName=${nodeName}`,
    clock: ioClock,
    logger,
  });
  const staticPods = options.staticPodDir
    ? new StaticPods({
        directory: options.staticPodDir,
        client,
        nodeName,
        context,
        workers,
        informer,
        clock: ioClock,
        logger,
      })
    : undefined;
  const see = (pod: Pod, isSetBack = false): void => {
    // A mirror pod shows a static pod in the API; the static pod's own worker runs it.
    const mirrored = pod.metadata.annotations?.[mirrorAnnotation];
    if (isSetBack) context.statuses.forget(mirrored ?? uidOf(pod));
    if (mirrored) {
      workers.get(mirrored)?.wake();
      staticPods?.checkMirror(pod);
      return;
    }
    const known = workers.get(uidOf(pod));
    if (known && !isSetBack) known.update(pod);
    else {
      // What the pod has come to since the snapshot, its end even, is not so any more: as after a restart of the agent, a
      // new worker takes over what runs.
      known?.stop();
      workers.set(uidOf(pod), new PodWorker(pod, context));
    }
  };
  informer.on({
    add: (pod) => see(pod as Pod),
    update: (pod, old) => see(pod as Pod, isOlder(pod, old)),
    delete: (pod) => {
      workers.get(uidOf(pod as Pod))?.remove();
      if (pod.metadata.annotations?.[mirrorAnnotation]) staticPods?.mirrorAll();
    },
  });

  const { onPods } = options;
  if (onPods) {
    const changed = () => onPods(informer.list());
    informer.on({ add: changed, update: changed, delete: changed });
  }

  const wakeAll = () => {
    for (const worker of workers.values()) if (!worker.ended) worker.wake();
    void registration.report();
  };
  options.containerd?.onRestart(wakeAll);

  void registration
    .run()
    .catch((error: Error) => logger.error({ error: error.message }, "Registration of the node ended"));
  void informer.start(signal);
  void followEvents(cri, workers, ioClock, logger, signal);
  void keepHouse().catch(() => {});

  async function keepHouse(): Promise<void> {
    await staticPods?.start(signal);
    await informer.synced(signal);
    staticPods?.mirrorAll();
    const states = new Map<string, string>();
    const used = async () => usedPercent((await cri.imageFsInfo()).imageFilesystems[0]?.fsId?.mountpoint ?? rootDir);
    const collector = new ImageCollector({ cri, clock: ioClock, logger, used });
    for (let round = 0; !signal.aborted; round++) {
      try {
        if (round % collectEvery === 0) await collector.collect();
        await relist(cri, workers, states);
        await removeOrphans({ cri, workers, rootDir, logRoot, logger });
        await rotateLogs({ cri, logRoot, workers: workers.values(), logger });
      } catch (error) {
        logger.warn({ error: (error as Error).message }, "Housekeeping failed");
      }
      await ioClock.sleep(relistMs, signal);
    }
  }

  const server = new KubeletServer({ cri, workers, logRoot, nodeName, clock: ioClock, logger });
  return {
    handle: (request, response) => server.handle(request, response),
    upgrade: (request, socket, head) => server.upgrade(request, socket, head),
    async stop() {
      stopping.abort();
      for (const worker of workers.values()) worker.stop();
    },
  };
}

/** The node's resolvers for pods. Loopback addresses of the node mean nothing inside a pod. */
async function dnsSettings(options: KubeletOptions): Promise<DnsSettings> {
  const text = await readFile(options.resolvConf || "/etc/resolv.conf", "utf8").catch(() => "");
  const host = parseResolvConf(text);
  const reachable = host.servers.filter((server) => !server.startsWith("127.") && server !== "::1");
  return {
    clusterDns: options.clusterDns,
    clusterDomain: options.clusterDomain,
    // The cluster's DNS asks the node's resolvers, from the node.
    host: { ...host, servers: reachable.length > 0 ? reachable : options.clusterDns },
  };
}

/** Lets the runtime's events wake the workers. They only hasten: what is missed, the relist finds. */
async function followEvents(
  cri: Cri,
  workers: ReadonlyMap<string, PodWorker>,
  clock: Clock,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  let first = true;
  while (!signal.aborted) {
    try {
      const events = cri.containerEvents(signal);
      if (!first) for (const worker of workers.values()) worker.wake();
      first = false;
      for await (const event of events) {
        const uid = event.podSandboxStatus?.metadata?.uid;
        const worker = uid ? workers.get(uid) : undefined;
        if (worker) worker.wake();
      }
    } catch (error) {
      if (!signal.aborted) logger.debug({ error: (error as Error).message }, "Container events ended");
    }
    await clock.sleep(1000, signal).catch(() => {});
  }
}

/** Compares what the runtime has with what was seen a minute ago, and wakes the pods that changed. */
async function relist(cri: Cri, workers: ReadonlyMap<string, PodWorker>, states: Map<string, string>): Promise<void> {
  const [sandboxes, containers] = await Promise.all([cri.listPodSandboxes(), cri.listContainers()]);
  const now = new Map<string, string[]>();
  for (const item of [...sandboxes, ...containers]) {
    const uid = item.labels[runtimeLabels.podUid];
    if (uid) now.set(uid, [...(now.get(uid) ?? []), `${item.id}=${item.state}`]);
  }
  for (const [uid, items] of now) {
    const text = items.sort().join(",");
    if (states.get(uid) !== undefined && states.get(uid) !== text) workers.get(uid)?.wake();
    states.set(uid, text);
  }
  for (const uid of [...states.keys()])
    if (!now.has(uid)) {
      states.delete(uid);
      workers.get(uid)?.wake();
    }
}

/** Removes what is left of pods that the API does not know any more. */
async function removeOrphans(options: {
  cri: Cri;
  workers: ReadonlyMap<string, PodWorker>;
  rootDir: string;
  logRoot: string;
  logger: Logger;
}): Promise<void> {
  const { cri, workers, rootDir, logRoot, logger } = options;
  const isOrphan = (labels: Readonly<Record<string, string>>) => {
    const uid = labels[runtimeLabels.podUid];
    return uid !== undefined && !workers.has(uid);
  };
  for (const container of await cri.listContainers()) {
    if (!isOrphan(container.labels)) continue;
    logger.info(
      { container: container.id, pod: container.labels[runtimeLabels.podName] },
      "Removing a container of a pod that is gone",
    );
    const graceSeconds = Number(container.annotations[runtimeAnnotations.gracePeriod] ?? 30);
    if (container.state === "CONTAINER_RUNNING") await cri.stopContainer(container.id, graceSeconds);
    await cri.removeContainer(container.id);
  }
  for (const sandbox of await cri.listPodSandboxes()) {
    if (!isOrphan(sandbox.labels)) continue;
    await cri.stopPodSandbox(sandbox.id);
    await cri.removePodSandbox(sandbox.id);
  }
  for (const uid of await readdir(join(rootDir, "pods")))
    if (!workers.has(uid)) await removePodDirectory(podDirectory(rootDir, uid));
  for (const name of await readdir(logRoot)) {
    const uid = name.slice(name.lastIndexOf("_") + 1);
    if (!workers.has(uid)) await rm(join(logRoot, name), { recursive: true, force: true });
  }
}
