import { leases } from "../api/generated/coordination-v1.ts";
import { type Node, nodes, pods } from "../api/generated/core-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import type { ControllerFactory, Watch } from "./controller.ts";
import { heartbeatOf, type NodeView, planTaints, readiness, unknownConditions } from "./node-lifecycle-plan.ts";
import { mutable } from "./shared/owned.ts";
import { isReady, isTerminated, type PodView, podCondition } from "./shared/pod-facts.ts";

const leaseNamespace = "kube-node-lease";

/** When a heartbeat was last seen to change, by our own clock: nodes' clocks are not trusted. */
interface Heartbeat {
  readonly value: string;
  readonly seenMs: number;
}

/** Declares nodes unreachable whose heartbeats stop, taints nodes by their conditions, and marks their pods. */
export const nodeLifecycleController: ControllerFactory = {
  name: "node-controller",
  create({ client, clock, informers, events, config, logger }) {
    const nodeInformer = informers.of(nodes);
    const leaseInformer = informers.of(leases);
    const podInformer = informers.of(pods);
    podInformer.addIndex("node", (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []));
    const heartbeats = new Map<string, Heartbeat>();

    const heartbeat = (node: NodeView): Heartbeat => {
      const name = node.metadata.name ?? "";
      const value = heartbeatOf(node, leaseInformer.get(`${leaseNamespace}/${name}`)?.spec?.renewTime);
      const known = heartbeats.get(name);
      if (known?.value === value) return known;
      const next = { value, seenMs: clock.now() };
      heartbeats.set(name, next);
      return next;
    };

    /** Every node is silent: then it is us who are cut off, and nothing is evicted. */
    const nobodyIsReady = () => nodeInformer.list().every((node) => readiness(node) !== "True");

    const nodeChanges: Watch = {
      attach(enqueue) {
        const changed = (node: NodeView, old?: NodeView) => {
          heartbeat(node);
          enqueue(node.metadata.name ?? "");
          // Whether anything may be evicted depends on all nodes together.
          if (old && readiness(old) !== readiness(node)) {
            for (const other of nodeInformer.list())
              if (readiness(other) !== "True") enqueue(other.metadata.name ?? "");
          }
        };
        nodeInformer.on({
          add: (node) => changed(node),
          update: changed,
          delete: (node) => {
            heartbeats.delete(node.metadata.name ?? "");
            events.event(
              nodes,
              node,
              "Normal",
              "RemovingNode",
              `Node ${node.metadata.name} event: Removing Node ${node.metadata.name} from Controller`,
            );
          },
        });
      },
    };
    const leaseChanges: Watch = {
      attach() {
        // Renewals only move the time; the node's key is due anyway when its grace is over.
        const renewed = ({
          metadata,
        }: {
          readonly metadata: { readonly namespace?: string; readonly name?: string };
        }) => {
          if (metadata.namespace !== leaseNamespace) return;
          const node = nodeInformer.get(metadata.name ?? "");
          if (node) heartbeat(node);
        };
        leaseInformer.on({ add: renewed, update: renewed });
      },
    };
    const podChanges: Watch = {
      attach(enqueue) {
        podInformer.on({
          update: (pod, old) => {
            if (!isReady(pod) || isReady(old) === isReady(pod)) return;
            const node = nodeInformer.get(pod.spec?.nodeName ?? "");
            if (node && readiness(node) !== "True") enqueue(pod.spec?.nodeName ?? "");
          },
        });
      },
    };

    const markPods = async (node: NodeView, signal: AbortSignal) => {
      for (const pod of podInformer.byIndex("node", node.metadata.name ?? "")) {
        if (!isReady(pod) || isTerminated(pod)) continue;
        await markNotReady(pod, signal);
        events.event(pods, pod, "Warning", "NodeNotReady", "Node is not ready");
      }
    };
    const markNotReady = async (pod: PodView, signal: AbortSignal) => {
      const { name = "", namespace = "" } = pod.metadata;
      const lastTransitionTime = formatTime(clock.now());
      const condition = { ...podCondition(pod, "Ready"), type: "Ready", status: "False", lastTransitionTime };
      const body = { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } };
      await client.patch(pods, name, { type: "strategic", body }, { namespace, subresource: "status", signal });
    };

    return {
      watches: [nodeChanges, leaseChanges, podChanges],
      async reconcile(name, signal) {
        let node: NodeView | undefined = nodeInformer.get(name);
        if (!node) return undefined;
        // While heartbeats are refused, silence is ours: nodes have all of their time again from then on.
        const silentSinceMs = Math.max(heartbeat(node).seenMs, config.heartbeatsRefusedMs?.() ?? 0);
        const leftMs = silentSinceMs + config.nodeMonitorGracePeriodMs - clock.now();
        if (leftMs <= 0) {
          const conditions = unknownConditions(node, clock.now());
          if (conditions) {
            logger.warn({ node: name }, "Node sent no heartbeat for too long; its state is unknown");
            events.event(nodes, node, "Normal", "NodeNotReady", `Node ${name} status is now: NodeNotReady`);
            const next = mutable<Node>(node);
            next.status = { ...next.status, conditions };
            node = await client.update(nodes, next, { subresource: "status", signal });
            // What we wrote ourselves is no sign of life.
            const renewTime = leaseInformer.get(`${leaseNamespace}/${name}`)?.spec?.renewTime;
            heartbeats.set(name, {
              value: heartbeatOf(node, renewTime),
              seenMs: clock.now() - config.nodeMonitorGracePeriodMs,
            });
          }
        }
        const taints = planTaints(node, !nobodyIsReady(), clock.now());
        if (taints) {
          const { uid, resourceVersion } = node.metadata;
          const body = { metadata: { uid, resourceVersion }, spec: { taints } };
          node = await client.patch(nodes, name, { type: "merge", body }, { signal });
        }
        if (readiness(node) !== "True" && node.status?.conditions?.some(({ type }) => type === "Ready")) {
          await markPods(node, signal);
        }
        return leftMs > 0 ? { requeueAfterMs: leftMs } : undefined;
      },
    };
  },
};
