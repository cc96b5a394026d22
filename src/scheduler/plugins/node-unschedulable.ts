import type { Plugin } from "../framework.ts";
import { tolerates } from "./taint-toleration.ts";

const taint = { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" };

/** Cordoned nodes take only pods that tolerate it. */
export const nodeUnschedulable: Plugin = {
  name: "NodeUnschedulable",
  retryOn: ["node-added", "node-taints"],
  start(pod) {
    if (tolerates(pod.spec?.tolerations, taint)) return undefined;
    return {
      filter: (node) =>
        node.node.spec?.unschedulable ? [{ reason: "node(s) were unschedulable", unresolvable: true }] : [],
    };
  },
};
