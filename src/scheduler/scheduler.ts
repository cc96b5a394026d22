import { randomInt } from "node:crypto";
import {
  type Binding,
  type Node,
  namespaces,
  nodes,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from "../api/generated/core-v1.ts";
import { storageClasses } from "../api/generated/storage-v1.ts";
import type { Client } from "../client/client.ts";
import { EventRecorder } from "../client/events.ts";
import { createInformer } from "../client/informer.ts";
import { type Clock, formatTime } from "../machinery/clock.ts";
import { deepEqual } from "../machinery/equality.ts";
import type { Logger } from "../machinery/log.ts";
import { type DeepReadonly, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { Cache, isFinished } from "./cache.ts";
import { type Decision, decide } from "./decide.ts";
import type { ClusterChange, Plugin, Snapshot } from "./framework.ts";
import type { NodeState } from "./node-state.ts";
import { Nominations, priorityOf } from "./nominations.ts";
import type { PendingPod } from "./pending-pod.ts";
import { defaultPlugins } from "./plugins/list.ts";
import type { VolumeLookups } from "./plugins/volume-binding.ts";
import { asksForLess } from "./pod-resources.ts";
import { findPreemption } from "./preemption.ts";
import { SchedulingQueue } from "./queue.ts";
import { VolumeBinder } from "./volume-binder.ts";

export interface SchedulerOptions {
  /** As system:kube-scheduler. */
  readonly client: Client;
  /** Cluster time. */
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Chooses among equally good nodes; default: at random. */
  readonly pick?: (count: number) => number;
}

export interface Scheduler {
  /** Resolves once it has seen the whole state and schedules. */
  readonly synced: Promise<void>;
  stop(): Promise<void>;
}

const schedulerName = "default-scheduler";

/** Watches for pods without a node and binds each to one. */
export function startScheduler(options: SchedulerOptions): Scheduler {
  const scheduler = new DefaultScheduler(options);
  return { synced: scheduler.synced, stop: () => scheduler.stop() };
}

class DefaultScheduler {
  readonly #options: SchedulerOptions;
  readonly #cache = new Cache();
  readonly #queue: SchedulingQueue;
  readonly #nominations = new Nominations();
  readonly #plugins: readonly Plugin[];
  readonly #events: EventRecorder;
  readonly #volumes: VolumeBinder;
  readonly #stopping = new AbortController();
  /** Bindings on their way: the loop does not wait for them. */
  readonly #binding = new Set<Promise<void>>();
  readonly synced: Promise<void>;
  readonly #finished: Promise<void>;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const { client, clock, logger } = options;
    this.#queue = new SchedulingQueue(clock);
    this.#events = new EventRecorder({ client, component: schedulerName, clock, logger });
    const signal = AbortSignal.any([options.signal, this.#stopping.signal]);
    const podInformer = createInformer<Pod>(client, pods, { clock, logger });
    const nodeInformer = createInformer<Node>(client, nodes, { clock, logger });
    const namespaceInformer = createInformer(client, namespaces, { clock, logger });
    const claimInformer = createInformer(client, persistentVolumeClaims, { clock, logger });
    const volumeInformer = createInformer(client, persistentVolumes, { clock, logger });
    const classInformer = createInformer(client, storageClasses, { clock, logger });
    const volumes: VolumeLookups = {
      claim: (key) => claimInformer.get(key),
      volume: (name) => volumeInformer.get(name),
      volumes: () => volumeInformer.list(),
      storageClass: (name) => classInformer.get(name),
    };
    this.#volumes = new VolumeBinder({ client, clock, lookups: volumes, signal });
    for (const informer of [claimInformer, volumeInformer, classInformer]) {
      const changed = () => {
        this.#queue.changed("volumes");
        this.#volumes.changed();
      };
      informer.on({ add: changed, update: changed, delete: changed });
    }
    this.#plugins = defaultPlugins((name) => namespaceInformer.get(name)?.metadata.labels ?? {}, volumes);

    nodeInformer.on({
      add: (node) => {
        this.#cache.setNode(node);
        this.#queue.changed("node-added");
      },
      update: (node, old) => {
        this.#cache.setNode(node);
        for (const change of nodeChanges(node, old)) this.#queue.changed(change);
      },
      delete: (node) => this.#cache.removeNode(node.metadata.name!),
    });
    podInformer.on({
      add: (pod) => this.#podSeen(pod, undefined),
      update: (pod, old) => this.#podSeen(pod, old),
      delete: (pod) => {
        this.#queue.remove(keyOf(pod));
        this.#nominations.remove(keyOf(pod));
        this.#cache.removePod(pod);
        if (pod.spec?.nodeName) this.#queue.changed("pod-deleted");
      },
    });
    namespaceInformer.on({ update: () => this.#queue.changed("namespace") });

    const informers = [podInformer, nodeInformer, namespaceInformer, claimInformer, volumeInformer, classInformer];
    const following = informers.map((informer) => informer.start(signal));
    this.synced = Promise.all(informers.map((informer) => informer.synced(signal))).then(() => {});
    this.synced.catch(() => {});
    signal.addEventListener("abort", () => this.#queue.close(), { once: true });
    this.#finished = this.synced
      .then(
        () => this.#run(),
        () => {},
      )
      .then(async () => {
        await Promise.all([...following, ...this.#binding]);
      });
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the scheduler is stopping"));
    this.#queue.close();
    await this.#finished;
    await this.#events.flush();
  }

  #podSeen(pod: PendingPod, old: PendingPod | undefined): void {
    const key = keyOf(pod);
    if (pod.spec?.nodeName || isFinished(pod)) {
      this.#queue.remove(key);
      this.#nominations.remove(key);
      const wasCounted = this.#cache.isPlaced(key);
      this.#cache.setPod(pod);
      if (isFinished(pod)) this.#queue.changed("pod-deleted");
      else if (!old?.spec?.nodeName) this.#queue.changed("pod-added");
      // Room that a resize gives back is as good as a deleted pod's.
      else if (wasCounted && asksForLess(pod, old)) this.#queue.changed("pod-deleted");
      else if (wasCounted && !deepEqual(pod.metadata.labels, old.metadata.labels)) this.#queue.changed("pod-updated");
      return;
    }
    if ((pod.spec?.schedulerName ?? schedulerName) !== schedulerName) return;
    if (pod.metadata.deletionTimestamp) {
      this.#queue.remove(key);
      this.#nominations.remove(key);
      return;
    }
    // Said by an earlier run of this scheduler.
    if (!old && pod.status?.nominatedNodeName) this.#nominations.set(pod, pod.status.nominatedNodeName);
    const gate = this.#plugins.map((plugin) => plugin.gate?.(pod)).find(Boolean);
    this.#queue.set(pod, gate);
    if (gate !== undefined) this.#follow(this.#setCondition(pod, "SchedulingGated", gate));
  }

  async #run(): Promise<void> {
    for (;;) {
      const pod = await this.#queue.take();
      if (!pod) return;
      try {
        this.#schedule(pod);
      } catch (error) {
        this.#options.logger.error({ pod: keyOf(pod), err: error }, "Scheduling a pod failed, trying again");
        this.#queue.retry(keyOf(pod));
      }
      // Long queues must not keep everything else waiting.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #schedule(pod: PendingPod): void {
    // A pod may be here again although its binding is under way.
    if (this.#cache.isPlaced(keyOf(pod))) return;
    const snapshot = this.#nominations.applyTo(this.#cache.snapshot(), pod);
    const decision = decide(pod, this.#plugins, snapshot, this.#options.pick ?? ((count) => randomInt(count)));
    if (!decision.node) {
      this.#follow(this.#reject(pod, decision, snapshot));
      return;
    }
    this.#nominations.remove(keyOf(pod));
    this.#cache.setPod(pod, decision.node.name);
    this.#follow(this.#bind(pod, decision.node));
  }

  #follow(work: Promise<void>): void {
    const tracked = work.finally(() => this.#binding.delete(tracked));
    this.#binding.add(tracked);
  }

  async #bind(pod: PendingPod, chosen: NodeState): Promise<void> {
    const node = chosen.name;
    const { name = "", namespace, uid } = pod.metadata;
    const binding: Binding = {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name, ...(namespace ? { namespace } : {}), ...(uid ? { uid } : {}) },
      target: { kind: "Node", name: node },
    };
    try {
      await this.#bindVolumes(pod, chosen);
      await this.#options.client.createSubresource(pods, name, "binding", binding, {
        ...(namespace ? { namespace } : {}),
      });
      this.#events.event(pods, pod, "Normal", "Scheduled", `Successfully assigned ${keyOf(pod)} to ${node}`);
    } catch (error) {
      this.#cache.removePod(pod);
      if (error instanceof StatusError && error.code === 404) return;
      this.#options.logger.warn({ pod: keyOf(pod), node, err: error }, "Binding a pod failed, trying again");
      this.#queue.retry(keyOf(pod));
    }
  }

  async #bindVolumes(pod: PendingPod, node: NodeState): Promise<void> {
    try {
      await this.#volumes.bind(pod, node);
    } catch (error) {
      const text = `running PreBind plugin "VolumeBinding": ${(error as Error).message}`;
      this.#events.event(pods, pod, "Warning", "FailedScheduling", text);
      throw new Error(text, { cause: error });
    }
  }

  async #reject(pod: PendingPod, decision: Extract<Decision, { node: undefined }>, snapshot: Snapshot): Promise<void> {
    const key = keyOf(pod);
    const retryOn = new Set<ClusterChange>([...decision.rejectedBy].flatMap(({ retryOn }) => retryOn));
    this.#queue.reject(key, retryOn);
    const isComing = this.#hasRoomComing(pod, snapshot);
    const preemption = isComing ? undefined : findPreemption(pod, this.#plugins, snapshot, decision.resolvable);
    const why = isComing
      ? "preemption: not eligible due to a terminating pod on the nominated node."
      : preemptionMessage(this.#cache.nodeCount, decision.resolvable.length);
    const message = preemption ? decision.message : `${decision.message} ${why}`;
    this.#events.event(pods, pod, "Warning", "FailedScheduling", message);
    await this.#setCondition(pod, "Unschedulable", message);
    if (preemption) await this.#preempt(pod, preemption.node.name, preemption.victims);
  }

  /** Are pods on their way out of the node that was promised to this one? */
  #hasRoomComing(pod: PendingPod, snapshot: Snapshot): boolean {
    const promised = this.#nominations.nodeOf(pod);
    const node = promised === undefined ? undefined : snapshot.nodes.find(({ name }) => name === promised);
    const isGoing = (other: PendingPod) => other.metadata.deletionTimestamp && priorityOf(other) < priorityOf(pod);
    return node?.pods.some(isGoing) ?? false;
  }

  /** Makes room: what is deleted lets the pod be tried again when it is gone. */
  async #preempt(pod: PendingPod, node: string, victims: readonly PendingPod[]): Promise<void> {
    const { client, logger } = this.#options;
    this.#nominations.set(pod, node);
    for (const outdone of this.#nominations.outdoneBy(pod, node)) {
      this.#nominations.remove(keyOf(outdone));
      await this.#patchStatus(outdone, { nominatedNodeName: null });
    }
    await this.#patchStatus(pod, { nominatedNodeName: node });
    for (const victim of victims) {
      if (victim.metadata.deletionTimestamp) continue;
      const { name = "", namespace = "", uid } = victim.metadata;
      await this.#patchStatus(victim, {
        conditions: [
          {
            type: "DisruptionTarget",
            status: "True",
            reason: "PreemptionByScheduler",
            message: `${schedulerName}: preempting to accommodate a higher priority pod`,
            lastTransitionTime: formatTime(this.#options.clock.now()),
          },
        ],
      });
      try {
        await client.delete(pods, name, { namespace, ...(uid ? { preconditions: { uid } } : {}) });
        this.#events.event(
          pods,
          victim,
          "Normal",
          "Preempted",
          `Preempted by pod ${pod.metadata.uid ?? keyOf(pod)} on node ${node}`,
        );
      } catch (error) {
        if (!(error instanceof StatusError && error.code === 404))
          logger.warn({ pod: keyOf(victim), err: error }, "Preempting a pod failed");
      }
    }
  }

  /** Says in the pod's status why it waits; writes nothing when it says so already. */
  async #setCondition(pod: PendingPod, reason: string, message: string): Promise<void> {
    const current = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
    if (current?.status === "False" && current.reason === reason && current.message === message) return;
    const condition = {
      type: "PodScheduled",
      status: "False",
      reason,
      message,
      lastTransitionTime:
        current?.status === "False" ? current.lastTransitionTime : formatTime(this.#options.clock.now()),
    };
    await this.#patchStatus(pod, { conditions: [condition] });
  }

  async #patchStatus(pod: PendingPod, status: object): Promise<void> {
    const { name = "", namespace = "" } = pod.metadata;
    try {
      await this.#options.client.patch(
        pods,
        name,
        { type: "strategic", body: { status } },
        { namespace, subresource: "status" },
      );
    } catch (error) {
      if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return;
      this.#options.logger.warn({ pod: keyOf(pod), err: error }, "Writing a pod's scheduling status failed");
    }
  }
}

function preemptionMessage(nodeCount: number, resolvable: number): string {
  const helpless = nodeCount - resolvable;
  const parts = [
    ...(resolvable > 0 ? [`${resolvable} No preemption victims found for incoming pod`] : []),
    ...(helpless > 0 ? [`${helpless} Preemption is not helpful for scheduling`] : []),
  ];
  return parts.length === 0 ? "" : `preemption: 0/${nodeCount} nodes are available: ${parts.sort().join(", ")}.`;
}

/** What of a node changed that can matter to pods that wait. */
function nodeChanges(node: DeepReadonly<Node>, old: DeepReadonly<Node>): ClusterChange[] {
  return [
    ...(deepEqual(node.metadata.labels, old.metadata.labels) ? [] : ["node-labels" as const]),
    ...(deepEqual(node.spec?.taints, old.spec?.taints) && node.spec?.unschedulable === old.spec?.unschedulable
      ? []
      : ["node-taints" as const]),
    ...(deepEqual(node.status?.allocatable, old.status?.allocatable) ? [] : ["node-resources" as const]),
  ];
}
