import { leases } from "../../src/api/generated/coordination-v1.ts";
import { type Container, type Node, nodes, type Pod, pods } from "../../src/api/generated/core-v1.ts";
import type { Client } from "../../src/client/client.ts";
import { createInformer } from "../../src/client/informer.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { type DeepReadonly, keyOf } from "../../src/machinery/object.ts";
import { StatusError } from "../../src/machinery/status.ts";

export interface HollowNodesOptions {
  readonly names: readonly string[];
  readonly signal: AbortSignal;
  /** How a bound pod comes to be: default Running and Ready at once. */
  readonly status?: (pod: DeepReadonly<Pod>) => Pod["status"];
  /** Whether they bind pods themselves; false: a scheduler does. Default true. */
  readonly bind?: boolean;
  /** How often each renews its lease, so that a node controller takes it for alive. Default: never. */
  readonly renewEveryMs?: number;
}

/** A node as a kubelet registers it. */
export function readyNode(name: string, more: Partial<Node["spec"]> = {}): Node {
  const at = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  return {
    metadata: { name, labels: { "kubernetes.io/hostname": name } },
    spec: { ...more },
    status: {
      conditions: [
        { type: "Ready", status: "True", reason: "KubeletReady", lastHeartbeatTime: at, lastTransitionTime: at },
      ],
      allocatable: { cpu: "64", memory: "64Gi", pods: "500" },
      capacity: { cpu: "64", memory: "64Gi", pods: "500" },
    },
  };
}

/** Nodes without containers: binds pods in turn (those pinned to a node there), runs them in name only, ends them. */
export async function startHollowNodes(client: Client, options: HollowNodesOptions): Promise<void> {
  const { names, signal, status = runningStatus, bind = true, renewEveryMs } = options;
  for (const [index, name] of names.entries()) {
    const node = readyNode(name);
    node.status = { ...node.status, addresses: [{ type: "InternalIP", address: `192.0.2.${index + 1}` }] };
    await client.create(nodes, node);
    // A patch, since controllers write to new nodes too.
    const body = { status: node.status };
    await client.patch(nodes, name, { type: "merge", body }, { subresource: "status" });
    if (renewEveryMs !== undefined) await keepLease(client, name, renewEveryMs, signal);
  }
  const informer = createInformer(client, pods, { clock: ioClock, logger: silentLogger });
  let next = 0;
  const handle = async (pod: DeepReadonly<Pod>) => {
    const { name = "", namespace = "", uid = "", resourceVersion = "" } = pod.metadata;
    // Each status follows from the state that was seen: over a newer one, such as a test's own, it must not be written.
    const seen = { uid, resourceVersion };
    if (pod.metadata.deletionTimestamp) {
      // What others hold on to is seen to have ended.
      if (pod.metadata.finalizers?.length && pod.status?.phase === "Running") {
        const { phase, containerStatuses } = endedStatus(pod, 137);
        const body = { metadata: seen, status: { phase, containerStatuses } };
        await client.patch(pods, name, { type: "merge", body }, { namespace, subresource: "status" });
      }
      await client.delete(pods, name, { namespace, gracePeriodSeconds: 0, preconditions: { uid } });
    } else if (!pod.spec?.nodeName) {
      if (!bind) return;
      const terms =
        pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
      const pinned = terms[0]?.matchFields?.[0]?.values?.[0];
      const target = { kind: "Node", apiVersion: "v1", name: pinned ?? names[next++ % names.length]! };
      const binding = { apiVersion: "v1", kind: "Binding", metadata: { name, namespace }, target };
      await client.createSubresource(pods, name, "binding", binding, { namespace });
    } else if (pod.status?.phase === "Pending") {
      const body = { metadata: seen, status: status(pod) };
      await client.patch(pods, name, { type: "merge", body }, { namespace, subresource: "status" });
    }
  };
  const act = (pod: DeepReadonly<Pod>) => {
    handle(pod).catch((error) => {
      // The pod has moved on meanwhile; its next state comes as another event.
      if (signal.aborted) return;
      if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return;
      const key = keyOf(pod as Pod);
      console.error(`hollow node: ${key}: ${error.message}`);
      // A connection that broke, or a server that was too slow: no event would tell of the pod again.
      const again = () => {
        const present = informer.get(key);
        if (present && !signal.aborted) act(present);
      };
      setTimeout(again, 1000).unref();
    });
  };
  informer.on({ add: act, update: act });
  void informer.start(signal);
  await informer.synced(signal);
}

async function keepLease(client: Client, name: string, everyMs: number, signal: AbortSignal): Promise<void> {
  const namespace = "kube-node-lease";
  const renewTime = () => new Date().toISOString().replace("Z", "000Z");
  const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime: renewTime() };
  await client.create(leases, { metadata: { name, namespace }, spec }, { namespace });
  const renew = () => {
    const body = { spec: { renewTime: renewTime() } };
    // A lease that was not renewed this time is renewed the next.
    client.patch(leases, name, { type: "merge", body }, { namespace }).catch(() => {});
  };
  const timer = setInterval(renew, everyMs);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}

let addresses = 0;

/** A pod whose containers run and are ready. */
export function runningStatus(pod: DeepReadonly<Pod>): NonNullable<Pod["status"]> {
  const number = ++addresses;
  const ip = `10.42.${Math.floor(number / 250) % 250}.${(number % 250) + 1}`;
  const at = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const condition = (type: string) => ({ type, status: "True", lastTransitionTime: at });
  return {
    phase: "Running",
    hostIP: "192.0.2.1",
    podIP: ip,
    podIPs: [{ ip }],
    startTime: at,
    conditions: [condition("Ready"), condition("ContainersReady"), condition("Initialized"), condition("PodScheduled")],
    containerStatuses: (pod.spec?.containers ?? []).map((container) => ({
      ...containerOf(container, pod),
      ready: true,
      started: true,
      state: { running: { startedAt: at } },
    })),
  };
}

/** A pod whose containers have all ended with this code. */
export function endedStatus(pod: DeepReadonly<Pod>, exitCode: number): NonNullable<Pod["status"]> {
  const running = runningStatus(pod);
  const at = running.startTime!;
  const reason = exitCode === 0 ? "Completed" : "Error";
  return {
    ...running,
    phase: exitCode === 0 ? "Succeeded" : "Failed",
    conditions: (running.conditions ?? []).map((condition) =>
      condition.type.endsWith("Ready") ? { ...condition, status: "False", reason: "PodCompleted" } : condition,
    ),
    containerStatuses: (pod.spec?.containers ?? []).map((container) => ({
      ...containerOf(container, pod),
      ready: false,
      started: false,
      state: { terminated: { exitCode, reason, startedAt: at, finishedAt: at } },
    })),
  };
}

function containerOf({ name, image = "" }: DeepReadonly<Container>, pod: DeepReadonly<Pod>) {
  return { name, image, imageID: image, restartCount: 0, containerID: `hollow://${pod.metadata.uid}-${name}` };
}
