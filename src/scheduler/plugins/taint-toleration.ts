import type { Taint, Toleration } from "../../api/generated/core-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { normalizeToMax, type Plugin } from "../framework.ts";

type Tainted = Pick<Taint, "key" | "value" | "effect">;

/** Does one of the tolerations cover the taint? (Kubernetes documentation, "Taints and Tolerations") */
export function tolerates(tolerations: DeepReadonly<Toleration[]> | undefined, taint: DeepReadonly<Tainted>): boolean {
  return (tolerations ?? []).some((toleration) => {
    if (toleration.effect && toleration.effect !== taint.effect) return false;
    if (toleration.key && toleration.key !== taint.key) return false;
    const operator = toleration.operator || "Equal";
    if (operator === "Exists") return true;
    if (!toleration.key) return false;
    if (operator === "Equal") return (toleration.value ?? "") === (taint.value ?? "");
    const [wanted, actual] = [Number(toleration.value), Number(taint.value)];
    if (Number.isNaN(wanted) || Number.isNaN(actual)) return false;
    return operator === "Lt" ? actual < wanted : operator === "Gt" && actual > wanted;
  });
}

/** Taints keep pods away that do not tolerate them; PreferNoSchedule only makes a node less liked. */
export const taintToleration: Plugin = {
  name: "TaintToleration",
  weight: 3,
  retryOn: ["node-added", "node-taints"],
  start(pod) {
    const tolerations = pod.spec?.tolerations;
    return {
      filter(node) {
        const untolerated = (node.node.spec?.taints ?? []).some(
          ({ effect, ...rest }) =>
            (effect === "NoSchedule" || effect === "NoExecute") && !tolerates(tolerations, { effect, ...rest }),
        );
        return untolerated ? [{ reason: "node(s) had untolerated taint(s)", unresolvable: true }] : [];
      },
      score: (node) =>
        (node.node.spec?.taints ?? []).filter(
          (taint) => taint.effect === "PreferNoSchedule" && !tolerates(tolerations, taint),
        ).length,
      normalize: (scores) => normalizeToMax(scores, true),
    };
  },
};
