import type { Plugin } from "../framework.ts";

/** A pod that names its node goes there or nowhere. */
export const nodeName: Plugin = {
  name: "NodeName",
  retryOn: ["node-added"],
  start(pod) {
    const wanted = pod.spec?.nodeName;
    if (!wanted) return undefined;
    return {
      filter: (node) =>
        node.name === wanted ? [] : [{ reason: "node(s) didn't match the requested node name", unresolvable: true }],
    };
  },
};
