import { nodes, pods } from "../api/generated/core-v1.ts";
import { type KubeObject, keyOf, splitKey } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import type { NodeView } from "./node-lifecycle-plan.ts";
import { noteDisruption } from "./shared/disruption.ts";
import { isTerminating, type PodView } from "./shared/pod-facts.ts";
import { evictAtMs } from "./taint-eviction-plan.ts";

/** Deletes pods from nodes with NoExecute taints that they do not tolerate, or no longer. */
export const taintEvictionController: ControllerFactory = {
  // In Kubernetes, too, it acts as the controller that it was once a part of.
  name: "node-controller",
  create({ client, clock, informers, events }) {
    const nodeInformer = informers.of(nodes);
    const podInformer = informers.of(pods);
    podInformer.addIndex("node", (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []));
    const hasTaint = (node: NodeView | undefined) =>
      node?.spec?.taints?.some(({ effect }) => effect === "NoExecute") ?? false;

    const nodeTaints: Watch = {
      attach(enqueue) {
        const changed = (node: NodeView, old?: NodeView) => {
          if (!hasTaint(node) && !hasTaint(old)) return;
          if (old && JSON.stringify(old.spec?.taints) === JSON.stringify(node.spec?.taints)) return;
          for (const pod of podInformer.byIndex("node", node.metadata.name ?? "")) enqueue(keyOf(pod as KubeObject));
        };
        nodeInformer.on({ add: (node) => changed(node), update: changed });
      },
    };
    /** When pods were first found under taints that bear with them for a while, by uid. */
    const seenMs = new Map<string, number>();
    podInformer.on({ delete: (pod) => seenMs.delete(pod.metadata.uid ?? "") });
    const onTainted = (pod: PodView) => hasTaint(nodeInformer.get(pod.spec?.nodeName ?? ""));

    return {
      watches: [nodeTaints, watch(podInformer, (pod) => (onTainted(pod) ? [keyOf(pod as KubeObject)] : []))],
      async reconcile(key, signal) {
        const pod = podInformer.get(key);
        const node = nodeInformer.get(pod?.spec?.nodeName ?? "");
        if (!pod || !node || isTerminating(pod)) return undefined;
        const { uid } = pod.metadata;
        const sinceMs = seenMs.get(uid ?? "") ?? clock.now();
        const dueMs = evictAtMs(node.spec?.taints ?? [], pod.spec?.tolerations ?? [], sinceMs);
        if (dueMs === undefined) {
          seenMs.delete(uid ?? "");
          return undefined;
        }
        seenMs.set(uid ?? "", sinceMs);
        if (dueMs > clock.now()) return { requeueAfterMs: dueMs - clock.now() };
        const { namespace = "", name } = splitKey(key);
        events.event(pods, pod, "Normal", "TaintManagerEviction", `Marking for deletion Pod ${key}`);
        const why = { reason: "DeletionByTaintManager", message: "Taint manager: deleting due to NoExecute taint" };
        try {
          await noteDisruption(client, clock, pod, why, signal);
          await client.delete(pods, name, { namespace, ...(uid ? { preconditions: { uid } } : {}), signal });
        } catch (error) {
          if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
        }
        return undefined;
      },
    };
  },
};
