import { nodes } from "../api/generated/core-v1.ts";
import { type ControllerFactory, watch } from "./controller.ts";

const annotation = "node.alpha.kubernetes.io/ttl";
/** For how many seconds kubelets may keep what pods mount, by the size of the cluster. */
const steps = [
  [100, 0],
  [500, 15],
  [1000, 30],
  [2000, 60],
] as const;

function ttlFor(nodeCount: number): number {
  return steps.find(([most]) => nodeCount <= most)?.[1] ?? 300;
}

/** Tells nodes how long they may keep Secrets and ConfigMaps without asking anew. */
export const nodeTtlController: ControllerFactory = {
  name: "ttl-controller",
  create({ client, informers }) {
    const informer = informers.of(nodes);
    return {
      watches: [
        watch(
          informer,
          ({ metadata }) => [metadata.name ?? ""],
          ({ metadata }, old) => !old || metadata.annotations?.[annotation] !== old.metadata.annotations?.[annotation],
        ),
      ],
      async reconcile(key, signal) {
        const node = informer.get(key);
        const wanted = String(ttlFor(informer.list().length));
        if (!node || node.metadata.deletionTimestamp || node.metadata.annotations?.[annotation] === wanted)
          return undefined;
        const body = { metadata: { annotations: { [annotation]: wanted } } };
        await client.patch(nodes, key, { type: "strategic", body }, { signal });
        return undefined;
      },
    };
  },
};
