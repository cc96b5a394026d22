import { nodes, pods } from "../api/generated/core-v1.ts";
import { type KubeObject, keyOf, splitKey } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import { outOfServiceTaint, readiness } from "./node-lifecycle-plan.ts";
import { noteDisruption } from "./shared/disruption.ts";
import { isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";

/** A node that is not to be seen may only be late: its pods stay this long. */
const quarantineMs = 40_000;
/** Key of the one job that is about all pods: to keep the number of terminated ones in bounds. */
const surplusKey = "*";

/** The terminated pods to delete so that at most `threshold` stay: the oldest. */
export function surplusPods(pods: readonly PodView[], threshold: number): readonly PodView[] {
  const terminated = pods.filter(isTerminated);
  if (threshold <= 0 || terminated.length <= threshold) return [];
  const created = ({ metadata }: PodView) => metadata.creationTimestamp ?? "";
  terminated.sort((a, b) => (created(a) < created(b) ? -1 : created(a) > created(b) ? 1 : 0));
  return terminated.slice(0, terminated.length - threshold);
}

/** Deletes pods that nobody else will: of nodes that are gone, unscheduled but deleted, too many terminated. */
export const podGarbageCollector: ControllerFactory = {
  name: "pod-garbage-collector",
  create({ client, clock, informers, config }) {
    const nodeInformer = informers.of(nodes);
    const podInformer = informers.of(pods);
    podInformer.addIndex("node", (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []));
    const missingSince = new Map<string, number>();
    let terminated = 0;

    const nodeChanges: Watch = {
      attach(enqueue) {
        nodeInformer.on({
          update: (node, old) => {
            if (node.spec?.taints === old.spec?.taints && readiness(node) === readiness(old)) return;
            if (!node.spec?.taints?.some(({ key }) => key === outOfServiceTaint)) return;
            for (const pod of podInformer.byIndex("node", node.metadata.name ?? "")) enqueue(keyOf(pod as KubeObject));
          },
          delete: (node) => {
            for (const pod of podInformer.byIndex("node", node.metadata.name ?? "")) enqueue(keyOf(pod as KubeObject));
          },
        });
      },
    };
    const countTerminated: Watch = {
      attach(enqueue) {
        const count = (before: boolean, after: boolean) => {
          terminated += Number(after) - Number(before);
          if (after && terminated > config.terminatedPodThreshold) enqueue(surplusKey);
        };
        podInformer.on({
          add: (pod) => count(false, isTerminated(pod)),
          update: (pod, old) => count(isTerminated(old), isTerminated(pod)),
          delete: (pod) => count(isTerminated(pod), false),
        });
      },
    };
    /** Only pods that may need us: their node is not known, or they are being deleted. */
    const keysOfPod = (pod: PodView): string[] => {
      const node = pod.spec?.nodeName;
      const stray = node ? !nodeInformer.get(node) || isTerminating(pod) : isTerminating(pod);
      return stray ? [keyOf(pod as KubeObject)] : [];
    };

    const remove = async (
      pod: PodView,
      why: { readonly reason: string; readonly message: string } | undefined,
      signal: AbortSignal,
    ) => {
      const { name = "", namespace = "", uid } = pod.metadata;
      try {
        if (!isTerminated(pod)) {
          // Nobody else will say how it ended, and its owner wants to know.
          if (why) await noteDisruption(client, clock, pod, why, signal, { phase: "Failed" });
          else {
            const body = { metadata: { uid }, status: { phase: "Failed" } };
            await client.patch(pods, name, { type: "strategic", body }, { namespace, subresource: "status", signal });
          }
        }
        await client.delete(pods, name, {
          namespace,
          gracePeriodSeconds: 0,
          ...(uid ? { preconditions: { uid } } : {}),
          signal,
        });
      } catch (error) {
        if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
      }
    };
    const isNodeGone = async (name: string, signal: AbortSignal): Promise<boolean> => {
      try {
        await client.get(nodes, name, { signal });
        return false;
      } catch (error) {
        if (error instanceof StatusError && error.code === 404) return true;
        throw error;
      }
    };

    return {
      watches: [nodeChanges, countTerminated, watch(podInformer, keysOfPod)],
      async reconcile(key, signal) {
        if (key === surplusKey) {
          for (const pod of surplusPods(podInformer.list(), config.terminatedPodThreshold))
            await remove(pod, undefined, signal);
          return undefined;
        }
        const pod = podInformer.get(splitKey(key).namespace ? key : "");
        if (!pod) return undefined;
        const nodeName = pod.spec?.nodeName;
        if (!nodeName) {
          if (isTerminating(pod)) await remove(pod, undefined, signal);
          return undefined;
        }
        const node = nodeInformer.get(nodeName);
        if (node) {
          missingSince.delete(nodeName);
          const outOfService = node.spec?.taints?.some((taint) => taint.key === outOfServiceTaint);
          if (isTerminating(pod) && outOfService && readiness(node) !== "True") {
            await remove(pod, { reason: "DeletionByPodGC", message: "PodGC: node is out of service" }, signal);
          }
          return undefined;
        }
        const sinceMs = missingSince.get(nodeName) ?? clock.now();
        missingSince.set(nodeName, sinceMs);
        const leftMs = sinceMs + quarantineMs - clock.now();
        if (leftMs > 0) return { requeueAfterMs: leftMs };
        if (!(await isNodeGone(nodeName, signal))) return { requeueAfterMs: quarantineMs };
        await remove(pod, { reason: "DeletionByPodGC", message: "PodGC: node no longer exists" }, signal);
        if (podInformer.byIndex("node", nodeName).length <= 1) missingSince.delete(nodeName);
        return undefined;
      },
    };
  },
};
