import { type Node, nodes } from "../../api/generated/core-v1.ts";
import type { AdmissionPlugin } from "../request.ts";
import { isAbout } from "./kinds.ts";

const notReady = { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" };

/** A new node takes no pods before something says that it is ready. */
export const taintNodesByCondition: AdmissionPlugin = {
  name: "TaintNodesByCondition",
  async admit(attributes) {
    if (!isAbout(attributes, nodes, "CREATE")) return;
    const node: Node = attributes.object;
    const spec = node.spec ?? {};
    node.spec = spec;
    if (spec.taints?.some((taint) => taint.key === notReady.key && taint.effect === notReady.effect)) return;
    spec.taints = [...(spec.taints ?? []), { ...notReady }];
  },
};
